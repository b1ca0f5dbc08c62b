//go:build unix

package local_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/local"
)

// childVariable makes the test program one that starts a server, says so, and stays until it is killed. Its value is the configuration.
const childVariable = "INTERLOCK_LOCAL_TEST_CHILD"

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		child(text)
	}
	goleak.VerifyTestMain(m)
}

// started is what a child says.
type started struct {
	Dir  string
	PID  int
	Fail string
}

func child(text string) {
	var config struct {
		CacheDir string
		Settings map[string]string
	}
	err := json.Unmarshal([]byte(text), &config)
	if err == nil {
		var s *server.Server
		s, err = local.Provider{}.Start(context.Background(), server.Config{CacheDir: config.CacheDir, Settings: config.Settings})
		if err == nil {
			json.NewEncoder(os.Stdout).Encode(started{Dir: s.Where, PID: postmaster(s)})
			select {}
		}
	}
	json.NewEncoder(os.Stdout).Encode(started{Fail: err.Error()})
	os.Exit(1)
}

// startChild runs this program as a child, which ends with the test at the latest. said waits for what it says.
func startChild(t *testing.T, config server.Config) (process *os.Process, said func() started) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	text, err := json.Marshal(map[string]any{"CacheDir": config.CacheDir, "Settings": config.Settings})
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd.Process, func() started {
		var s started
		line, err := bufio.NewReader(out).ReadBytes('\n')
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(line, &s))
		require.Empty(t, s.Fail)
		return s
	}
}

// postmaster returns the process of a running server; 0 when it has none.
func postmaster(s *server.Server) int {
	content, err := os.ReadFile(filepath.Join(s.Where, "data", "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(content), "\n")
	pid, _ := strconv.Atoi(line)
	return pid
}

// requireGone waits for the end of a process and of its directory.
func requireGone(t *testing.T, pid int, dir string) {
	t.Helper()
	require.NotZero(t, pid)
	require.NotEmpty(t, dir)
	require.Eventually(t, func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH }, 2*time.Second, 2*time.Millisecond, "postmaster %d", pid)
	require.Eventually(t, func() bool { return isGone(dir) }, 2*time.Second, 2*time.Millisecond, dir)
}

func isGone(path string) bool {
	_, err := os.Lstat(path)
	return os.IsNotExist(err)
}

// sharedCache is where the tests that are not about it have their clusters.
func sharedCache() server.Config { return server.Config{} }

func start(t testing.TB, config server.Config) *server.Server {
	t.Helper()
	s, err := local.Provider{}.Start(t.Context(), config)
	require.NoError(t, err)
	return s
}

// startFor starts a server that the end of the test stops.
func startFor(t testing.TB, config server.Config) *server.Server {
	t.Helper()
	s := start(t, config)
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	return s
}
