//go:build unix

package embedded_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
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

const rounds = 7

// BenchmarkOwnStart compares the library's own start, with its binaries unpacked, with ours of the same binaries. The library does not run as
// root, so it runs in a process of its own.
func BenchmarkOwnStart(b *testing.B) {
	dir, err := fromNPM()
	require.NoError(b, err)
	for b.Loop() {
		var ours []time.Duration
		for range rounds {
			s, err := embedded.Provider{}.Start(b.Context(), server.Config{Version: 16, CacheDir: dir})
			require.NoError(b, err)
			ours = append(ours, s.Ready)
			require.NoError(b, s.Stop(b.Context()))
		}
		theirs := measureOwn(b, dir)
		b.ReportMetric(milliseconds(ours), "ours-ms")
		b.ReportMetric(milliseconds(theirs), "own-ms")
		b.ReportMetric(milliseconds(theirs)/milliseconds(ours), "ratio")
		b.ReportMetric(0, "ns/op")
	}
}

func milliseconds(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2].Microseconds()) / 1000
}

// measureOwn runs this program again, as nobody if we are root.
func measureOwn(b *testing.B, cacheDir string) (times []time.Duration) {
	b.Helper()
	binaries, err := filepath.Glob(filepath.Join(cacheDir, "postgres", "16.[0-9]*"))
	require.NoError(b, err)
	require.Len(b, binaries, 1)
	// A copy of the program, where nobody can reach it.
	self, err := os.Executable()
	require.NoError(b, err)
	content, err := os.ReadFile(self)
	require.NoError(b, err)
	program := filepath.Join(cacheDir, "own.test")
	require.NoError(b, os.WriteFile(program, content, 0o755))
	var out bytes.Buffer
	cmd := exec.Command(program)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), ownStartVariable+"="+binaries[0], "HOME=/nonexistent")
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if os.Geteuid() == 0 {
		nobody, err := user.Lookup("nobody")
		require.NoError(b, err)
		uid, err := strconv.Atoi(nobody.Uid)
		require.NoError(b, err)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	require.NoError(b, cmd.Run())
	require.NoError(b, json.Unmarshal(out.Bytes(), &times))
	return times
}

// ownStarts is what the program does when it is run again.
func ownStarts(binaries string) {
	times, err := func() (times []time.Duration, err error) {
		work, err := os.MkdirTemp("", "interlock-own-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(work)
		for i := range rounds {
			free, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			port := free.Addr().(*net.TCPAddr).Port
			free.Close()
			p := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().Version(embeddedpostgres.V16).Port(uint32(port)).
				BinariesPath(binaries).RuntimePath(filepath.Join(work, strconv.Itoa(i))).
				StartParameters(map[string]string{"unix_socket_directories": ""}).Logger(io.Discard))
			begin := time.Now()
			if err := p.Start(); err != nil {
				return nil, err
			}
			times = append(times, time.Since(begin))
			if err := p.Stop(); err != nil {
				return nil, err
			}
		}
		return times, nil
	}()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(times)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
