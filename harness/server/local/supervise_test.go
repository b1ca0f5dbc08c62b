//go:build unix

package local_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/local"
)

func TestStopLeavesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, sharedCache())
	pid := postmaster(s)
	require.NoError(t, syscall.Kill(pid, 0))
	require.True(t, s.Owned)
	require.True(t, s.Superuser)
	require.Positive(t, s.Ready)

	conn, err := connect(t, s)
	require.NoError(t, err)
	var listen, memory string
	require.NoError(t, conn.QueryRow(t.Context(), `select current_setting('listen_addresses'), current_setting('dynamic_shared_memory_type')`).Scan(&listen, &memory))
	require.Empty(t, listen)
	require.Equal(t, "mmap", memory) // no /dev/shm/PostgreSQL.* to be left behind

	require.NoError(t, s.Stop(t.Context())) // with a client connected
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	require.True(t, isGone(s.Where), s.Where)
	require.NoError(t, s.Stop(t.Context()))
	require.Error(t, conn.Ping(t.Context()))
}

func TestKilledLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			process, said := startChild(t, sharedCache())
			s := said()
			require.NoError(t, syscall.Kill(s.PID, 0))
			require.NoError(t, process.Signal(sig))
			requireGone(t, s.PID, s.Dir)
		})
	}
}

// The supervisor outlives signals that would end it, long enough to clean up.
func TestSupervisorTerminated(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("finds the supervisor in /proc")
	}
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			s := start(t, sharedCache())
			pid := postmaster(s)
			parent := parentOf(t, pid)
			require.NoError(t, syscall.Kill(parent, sig))
			requireGone(t, pid, s.Where)
			require.ErrorContains(t, s.Stop(t.Context()), "had ended before it was stopped")
		})
	}
}

// A process that is killed at any moment of a start leaves nothing either, once an initdb that it was in the middle of has finished.
func TestKilledWhileStarting(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("finds the processes in /proc")
	}
	for _, after := range []time.Duration{0, 10, 20, 40, 80, 160, 320, 640} {
		t.Run(fmt.Sprintf("%dms", after), func(t *testing.T) {
			t.Parallel()
			mark := fmt.Sprintf("interlock.mark%d", time.Now().UnixNano())
			process, _ := startChild(t, server.Config{CacheDir: t.TempDir(), Settings: map[string]string{mark: "x"}})
			dirs := map[string]bool{}
			for deadline := time.Now().Add(after * time.Millisecond); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				privateDirs(mark, dirs)
			}
			require.NoError(t, process.Kill())
			process.Wait()
			privateDirs(mark, dirs)
			for dir := range dirs {
				require.Eventually(t, func() bool { return isGone(dir) }, 20*time.Second, 5*time.Millisecond, dir)
				require.Eventually(t, func() bool { return !mentioned(dir) }, 20*time.Second, 5*time.Millisecond, dir)
			}
		})
	}
}

func TestCrashIsReported(t *testing.T) {
	t.Parallel()
	s := start(t, sharedCache())
	pid := postmaster(s)
	require.NoError(t, syscall.Kill(pid, syscall.SIGQUIT))
	requireGone(t, pid, s.Where)
	err := s.Stop(t.Context())
	require.ErrorContains(t, err, "had ended before it was stopped")
	require.ErrorContains(t, err, "received immediate shutdown request")
	require.Equal(t, err, s.Stop(t.Context()))
}

func TestBadSetting(t *testing.T) {
	t.Parallel()
	mark := fmt.Sprintf("interlock.mark%d", time.Now().UnixNano())
	config := sharedCache()
	config.Settings = map[string]string{"shared_buffers": "plenty", mark: "x"}
	_, err := local.Provider{}.Start(t.Context(), config)
	require.ErrorContains(t, err, `invalid value for parameter "shared_buffers": "plenty"`)
	require.ErrorContains(t, err, "the server ended at once")
	require.False(t, mentioned(mark))
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{0, 10, 30, 50, 200, 300} {
		t.Run(fmt.Sprintf("%dms", after), func(t *testing.T) {
			t.Parallel()
			mark := fmt.Sprintf("interlock.mark%d", time.Now().UnixNano())
			ctx, cancel := context.WithTimeout(t.Context(), after*time.Millisecond)
			defer cancel()
			s, err := local.Provider{}.Start(ctx, server.Config{CacheDir: t.TempDir(), Settings: map[string]string{mark: "x"}})
			if err == nil { // a fast machine
				require.NoError(t, s.Stop(t.Context()))
			} else {
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
			require.False(t, mentioned(mark))
		})
	}
}

// Settings of the user are stronger than ours.
func TestSettings(t *testing.T) {
	t.Parallel()
	config := sharedCache()
	config.Settings = map[string]string{"max_connections": "17", "max_wal_size": "99MB", "port": "1"}
	s := startFor(t, config)
	conn, err := connect(t, s)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var connections, wal string
	require.NoError(t, conn.QueryRow(t.Context(), `select current_setting('max_connections'), current_setting('max_wal_size')`).Scan(&connections, &wal))
	require.Equal(t, "17", connections)
	require.Equal(t, "99MB", wal)
}

func TestLongTMPDIR(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 50))
	require.NoError(t, os.Mkdir(long, 0o700))
	t.Setenv("TMPDIR", long)
	s := startFor(t, sharedCache())
	require.Less(t, len(s.Where)+len("/.s.PGSQL.5432"), 104)
}

// What the environment says to libpq is not for our connections, nor for the server.
func TestEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"PGHOST": "nowhere.invalid", "PGPORT": "1", "PGUSER": "nobody", "PGDATABASE": "none", "PGSSLMODE": "verify-full", "PGTZ": "Asia/Tokyo",
		"PGOPTIONS": "-c search_path=nowhere", "PGDATA": "/nowhere", "PGTARGETSESSIONATTRS": "standby", "LC_ALL": "tlh_QO", "TZ": "Asia/Tokyo",
	} {
		t.Setenv(name, value)
	}
	s := startFor(t, sharedCache())
	conn, err := connect(t, s)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var path, zone string
	require.NoError(t, conn.QueryRow(t.Context(), `select current_setting('search_path'), current_setting('timezone')`).Scan(&path, &zone))
	require.Equal(t, `"$user", public`, path)
	require.Equal(t, "UTC", zone)
}

// privateDirs adds the private directories of the supervisors whose command mentions mark.
func privateDirs(mark string, dirs map[string]bool) {
	for _, command := range commands() {
		if len(command) > 4 && command[1] == "-c" && command[3] == "interlock" && strings.Contains(strings.Join(command[5:], " "), mark) {
			dirs[command[4]] = true
		}
	}
}

// mentioned says whether a word is in the command of any process.
func mentioned(word string) bool {
	for _, command := range commands() {
		if strings.Contains(strings.Join(command, " "), word) {
			return true
		}
	}
	return false
}

// commands returns the command lines of all processes; none where there is no /proc.
func commands() [][]string {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var all [][]string
	for _, file := range files {
		if content, err := os.ReadFile(file); err == nil && len(content) > 0 {
			all = append(all, strings.Split(strings.TrimSuffix(string(content), "\x00"), "\x00"))
		}
	}
	return all
}

func parentOf(t *testing.T, pid int) int {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(content), ") ") // pid (name) state parent …
	parent, err := strconv.Atoi(strings.Fields(rest)[1])
	require.NoError(t, err)
	return parent
}

func connect(t testing.TB, s *server.Server) (*pgx.Conn, error) {
	t.Helper()
	return pgx.ConnectConfig(t.Context(), s.Config("postgres", "test"))
}
