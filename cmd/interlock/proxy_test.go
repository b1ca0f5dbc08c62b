package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// TestProxyEnds: however the proxy ends, its sessions, its server and its directory end with it, while a step is held as well.
func TestProxyEnds(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("finds processes in /proc")
	}
	program, err := exec.LookPath("interlock")
	require.NoError(t, err)
	for signal, code := range map[syscall.Signal]int{syscall.SIGKILL: -1, syscall.SIGTERM: exitInterrupted, syscall.SIGINT: exitInterrupted} {
		t.Run(signal.String(), func(t *testing.T) {
			srv := servertest.Server(t)
			k := killer{path: program}
			s := k.prepare(t, []string{"proxy", "--unix", ".", "--auth", "trust", "--hold", "--postgres", srv.Provider, "--pg-version", versionOf(srv)})
			_, err := s.StdinPipe() // nobody types
			require.NoError(t, err)
			s.Stdout = nil
			told, err := s.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, s.Start())
			socket := filepath.Join(s.Dir, ".s.PGSQL.6432")
			require.NoError(t, awaitListener("unix", socket))

			conn, err := pgx.Connect(t.Context(), "host="+s.Dir+" port=6432 user=anybody dbname=any")
			require.NoError(t, err)
			defer conn.Close(context.Background())
			done := make(chan error)
			go func() {
				_, err := conn.Exec(t.Context(), `create table held ()`)
				done <- err
			}()
			for lines := bufio.NewScanner(told); ; {
				require.True(t, lines.Scan(), "%s", &s.said)
				if strings.HasSuffix(lines.Text(), "held: create table held ()") {
					break
				}
			}
			s.servers(s.processes())
			require.NotEmpty(t, s.dirs, "it has a server")
			require.NoError(t, s.Process.Signal(signal))
			require.Error(t, <-done)
			_, _ = io.Copy(io.Discard, told)
			_ = s.Wait() // as its code says
			require.Equal(t, code, s.ProcessState.ExitCode(), "%s", &s.said)
			s.requireGone(t)

			// What was killed leaves its socket, which is no obstacle to the next.
			_, err = os.Lstat(socket)
			require.Equal(t, signal == syscall.SIGKILL, err == nil)
			next := k.prepare(t, []string{"proxy", "--unix", s.Dir, "--hold", "--postgres", srv.Provider, "--pg-version", versionOf(srv)})
			require.NoError(t, next.Run(), "%s", &next.said) // there is no input: it ends
			next.requireGone(t)
		})
	}
}

// TestProxyUnread: a pager that stands still stops neither the application nor Ctrl-C.
func TestProxyUnread(t *testing.T) {
	program, err := exec.LookPath("interlock")
	require.NoError(t, err)
	db := servertest.Database(t, "")
	k := killer{path: program}
	s := k.prepare(t, []string{"proxy", "--unix", ".", "--to", db.DSN()})
	s.Stdout = nil
	_, err = s.StdoutPipe() // nobody reads
	require.NoError(t, err)
	require.NoError(t, s.Start())
	require.NoError(t, awaitListener("unix", filepath.Join(s.Dir, ".s.PGSQL.6432")))
	config := db.Config("unread")
	config.Host, config.Port = s.Dir, 6432
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	for range 300 { // four lines each, of which a pipe takes 64 kB
		_, err := conn.Exec(t.Context(), `select 'something that makes the line longer, so that there is more to write'`)
		require.NoError(t, err)
	}
	require.NoError(t, s.Process.Signal(syscall.SIGINT))
	_ = s.Wait() // as its code says
	require.Equal(t, exitInterrupted, s.ProcessState.ExitCode(), "%s", &s.said)
	require.Contains(t, s.said.String(), "the last of what was told has not been read")
}
