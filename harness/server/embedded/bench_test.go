//go:build unix

package embedded_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/embedded"
)

// ownStartVariable makes the test program one that measures the library's own start; its value is where the binaries are.
const ownStartVariable = "INTERLOCK_EMBEDDED_TEST_OWN_START"

// BenchmarkOwnStart compares the library's own start, with its binaries unpacked, with ours of the same binaries, in turns. The library runs
// initdb each time, onto disk; ours has the cluster in its cache. The library does not run as root, so it runs in a process of its own.
func BenchmarkOwnStart(b *testing.B) {
	dir, err := fromNPM()
	require.NoError(b, err)
	program := ownProgram(b, dir)
	var ours, own []time.Duration
	for b.Loop() {
		s, err := embedded.Provider{}.Start(b.Context(), server.Config{Version: 16, CacheDir: dir})
		require.NoError(b, err)
		ours = append(ours, s.Ready)
		require.NoError(b, s.Stop(b.Context()))
		own = append(own, measureOwn(b, program, dir))
	}
	b.ReportMetric(milliseconds(ours), "ours-ms")
	b.ReportMetric(milliseconds(own), "own-ms")
	b.ReportMetric(milliseconds(own)/milliseconds(ours), "ratio")
	b.ReportMetric(0, "ns/op")
}

func milliseconds(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2].Microseconds()) / 1000
}

// ownProgram copies this program to where every user can reach it.
func ownProgram(b *testing.B, dir string) string {
	b.Helper()
	self, err := os.Executable()
	require.NoError(b, err)
	content, err := os.ReadFile(self)
	require.NoError(b, err)
	program := filepath.Join(dir, "own.test")
	require.NoError(b, os.WriteFile(program, content, 0o755))
	return program
}

// measureOwn runs the program, as nobody if we are root, for one start.
func measureOwn(b *testing.B, program, cacheDir string) time.Duration {
	b.Helper()
	binaries, err := filepath.Glob(filepath.Join(cacheDir, "postgres", "16.[0-9]*"))
	require.NoError(b, err)
	require.Len(b, binaries, 1)
	work := cache(b)
	defer os.RemoveAll(work)
	cmd := exec.Command(program)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), ownStartVariable+"="+binaries[0], "HOME="+work, "TMPDIR="+work)
	cmd.Stderr = os.Stderr
	if os.Geteuid() == 0 {
		nobody, err := user.Lookup("nobody")
		require.NoError(b, err)
		uid, err := strconv.Atoi(nobody.Uid)
		require.NoError(b, err)
		require.NoError(b, os.Chown(work, uid, uid))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	out, err := cmd.Output()
	require.NoError(b, err)
	took, err := time.ParseDuration(strings.TrimSpace(string(out)))
	require.NoError(b, err)
	return took
}

// ownStart is what the program does when it is run again.
func ownStart(binaries string) {
	took, err := func() (took time.Duration, err error) {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := free.Addr().(*net.TCPAddr).Port
		free.Close()
		p := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().Version(embeddedpostgres.V16).Port(uint32(port)).
			BinariesPath(binaries).RuntimePath(filepath.Join(os.TempDir(), "own")).
			StartParameters(map[string]string{"unix_socket_directories": ""}).Logger(io.Discard))
		begin := time.Now()
		if err := p.Start(); err != nil {
			return 0, err
		}
		took = time.Since(begin)
		return took, p.Stop()
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(took)
	os.Exit(0)
}
