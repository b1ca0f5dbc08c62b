//go:build unix

package load_test

import (
	"fmt"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/dsn"
	"github.com/interlock-pg/interlock/harness/server/local"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// ownServer is a server that a test may stop and start.
type ownServer struct {
	dir, bin string
	as       *syscall.Credential
}

// newOwnServer makes a cluster and starts a server that commits as one in production does, for the time of the test.
func newOwnServer(t *testing.T, settings ...string) *ownServer {
	t.Helper()
	servertest.Server(t) // which downloads one where none is installed
	found, err := local.Find(t.Context(), servertest.Config())
	require.NoError(t, err)
	s := &ownServer{}
	for _, in := range found {
		if v := servertest.Config().Version; s.bin == "" && (v == 0 || v == in.Major) {
			s.bin = in.BinDir
		}
	}
	require.NotEmpty(t, s.bin)
	s.dir, err = os.MkdirTemp("/tmp", "loadtest-") // a short path, for the socket
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(s.dir)) })
	if os.Geteuid() == 0 {
		s.as = unprivileged(t)
		require.NoError(t, os.Chown(s.dir, int(s.as.Uid), int(s.as.Gid)))
	}
	s.run(t, "initdb", "-D", s.data(), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync")
	conf, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = fmt.Fprintf(conf, "\nlisten_addresses = ''\nunix_socket_directories = '%s'\nfsync = off\nsynchronous_commit = on\ndynamic_shared_memory_type = mmap\n%s\n",
		s.dir, strings.Join(settings, "\n"))
	require.NoError(t, err)
	require.NoError(t, conf.Close())
	s.start(t)
	t.Cleanup(func() { s.stop(t, "immediate") })
	return s
}

func unprivileged(t *testing.T) *syscall.Credential {
	for _, name := range []string{"postgres", "nobody"} {
		if found, err := osuser.Lookup(name); err == nil {
			uid, err1 := strconv.ParseUint(found.Uid, 10, 32)
			gid, err2 := strconv.ParseUint(found.Gid, 10, 32)
			if err1 == nil && err2 == nil {
				return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
			}
		}
	}
	t.Skip("Postgres does not run as root, and there is no user postgres or nobody")
	return nil
}

func (s *ownServer) data() string { return filepath.Join(s.dir, "data") }

func (s *ownServer) run(t *testing.T, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", []string{"LC_ALL=C", "TZ=UTC", "PATH=" + os.Getenv("PATH")}, &syscall.SysProcAttr{Setsid: true, Credential: s.as}
	out, err := cmd.CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		t.Errorf("%s %v: %v\n%s\n%s", program, args, err, out, log)
	}
}

func (s *ownServer) start(t *testing.T) {
	s.run(t, "pg_ctl", "start", "-w", "-t", "60", "-D", s.data(), "-l", filepath.Join(s.dir, "log"))
}

// stop stops it: fast, which ends sessions, or immediate, which is a crash.
func (s *ownServer) stop(t *testing.T, mode string) {
	s.run(t, "pg_ctl", "stop", "-w", "-t", "60", "-m", mode, "-D", s.data())
}

func (s *ownServer) dsn() string {
	return fmt.Sprintf("host=%s user=postgres dbname=postgres connect_timeout=2", s.dir)
}

// open connects to it as to a user's server.
func (s *ownServer) open(t *testing.T) *server.Server {
	t.Helper()
	srv, err := dsn.Provider{}.Start(t.Context(), server.Config{DSN: s.dsn()})
	require.NoError(t, err)
	return srv
}

// databases returns the databases of ours that are on it.
func (s *ownServer) databases(t *testing.T) (names []string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.dsn())
	require.NoError(t, err)
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), `select datname::text from pg_database where datname like 'interlock%'`)
	require.NoError(t, err)
	names, err = pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return names
}

// signal sends a signal to the server and all its processes.
func (s *ownServer) signal(t *testing.T, sig syscall.Signal) {
	content, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		t.Error(err)
		return
	}
	first, _, _ := strings.Cut(string(content), "\n")
	postmaster, _ := strconv.Atoi(first)
	pids := []int{postmaster}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		content, _ := os.ReadFile(file)
		_, rest, _ := strings.Cut(string(content), ") ") // pid (name) state parent …
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == first {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && err != syscall.ESRCH {
			t.Error(err)
		}
	}
}
