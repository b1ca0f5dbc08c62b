//go:build unix

package servertest

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

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server/local"
)

// Cluster is a server that a test may stop and start. It has the role postgres, and is reached through a socket in its directory.
type Cluster struct {
	Dir string
	bin string
	as  *syscall.Credential
}

// NewCluster makes a cluster, with lines of postgresql.conf, and starts a server that commits as one in production does, for the time of the test.
func NewCluster(t *testing.T, settings ...string) *Cluster {
	t.Helper()
	Server(t) // which downloads one where none is installed
	found, err := local.Find(t.Context(), Config())
	require.NoError(t, err)
	c := &Cluster{}
	for _, in := range found {
		if v := Config().Version; c.bin == "" && (v == 0 || v == in.Major) {
			c.bin = in.BinDir
		}
	}
	require.NotEmpty(t, c.bin)
	if os.Geteuid() == 0 {
		c.as = unprivileged(t)
	}
	c.place(t)
	c.Run(t, "initdb", "-D", c.data(), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync")
	c.Configure(t, append([]string{"listen_addresses = ''", "fsync = off", "synchronous_commit = on", "dynamic_shared_memory_type = mmap"}, settings...)...)
	c.begin(t)
	return c
}

// Replica makes a copy of the cluster that follows it, with lines of postgresql.conf, and starts it for the time of the test. The cluster is stopped
// meanwhile: the binaries that are downloaded come without pg_basebackup.
func (c *Cluster) Replica(t *testing.T, settings ...string) *Cluster {
	t.Helper()
	r := &Cluster{bin: c.bin, as: c.as}
	r.place(t)
	c.Stop(t, "fast")
	require.NoError(t, os.CopyFS(r.data(), os.DirFS(c.data())))
	c.Start(t)
	require.NoError(t, os.WriteFile(filepath.Join(r.data(), "standby.signal"), nil, 0o600))
	require.NoError(t, filepath.WalkDir(r.data(), func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		r.Give(t, path)
		return err
	}))
	r.Configure(t, append([]string{fmt.Sprintf("primary_conninfo = 'host=%s user=postgres'", c.Dir)}, settings...)...)
	r.begin(t)
	return r
}

// place makes the directory.
func (c *Cluster) place(t *testing.T) {
	t.Helper()
	var err error
	c.Dir, err = os.MkdirTemp("/tmp", "cluster-") // a short path, for the socket
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(c.Dir)) })
	c.Give(t, c.Dir)
}

// Give gives a directory to the user whom the cluster belongs to.
func (c *Cluster) Give(t *testing.T, dir string) {
	t.Helper()
	if c.as != nil {
		require.NoError(t, os.Chown(dir, int(c.as.Uid), int(c.as.Gid)))
	}
}

// Configure adds lines to postgresql.conf, which hold from the next start.
func (c *Cluster) Configure(t *testing.T, settings ...string) {
	t.Helper()
	conf, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = fmt.Fprintf(conf, "\nunix_socket_directories = '%s'\n%s\n", c.Dir, strings.Join(settings, "\n"))
	require.NoError(t, err)
	require.NoError(t, conf.Close())
}

func (c *Cluster) begin(t *testing.T) {
	t.Helper()
	c.Start(t)
	t.Cleanup(func() { c.Stop(t, "immediate") })
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

func (c *Cluster) data() string { return filepath.Join(c.Dir, "data") }

// Run runs one of the server's programs, as the user whom the cluster belongs to.
func (c *Cluster) Run(t *testing.T, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(c.bin, program), args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", []string{"LC_ALL=C", "TZ=UTC", "PATH=" + os.Getenv("PATH")}, &syscall.SysProcAttr{Setsid: true, Credential: c.as}
	out, err := cmd.CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(c.Dir, "log"))
		t.Errorf("%s %v: %v\n%s\n%s", program, args, err, out, log)
	}
}

// Start starts the server, and returns when it serves.
func (c *Cluster) Start(t *testing.T) {
	c.Run(t, "pg_ctl", "start", "-w", "-t", "60", "-D", c.data(), "-l", filepath.Join(c.Dir, "log"))
}

// Stop stops it: fast, which ends sessions, or immediate, which is a crash.
func (c *Cluster) Stop(t *testing.T, mode string) {
	if _, err := os.Stat(filepath.Join(c.data(), "postmaster.pid")); err == nil {
		c.Run(t, "pg_ctl", "stop", "-w", "-t", "60", "-m", mode, "-D", c.data())
	}
}

// DSN returns how it is reached.
func (c *Cluster) DSN() string {
	return fmt.Sprintf("host=%s user=postgres dbname=postgres connect_timeout=2", c.Dir)
}

// Signal sends a signal to the server and all its processes.
func (c *Cluster) Signal(t *testing.T, sig syscall.Signal) {
	content, err := os.ReadFile(filepath.Join(c.data(), "postmaster.pid"))
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
