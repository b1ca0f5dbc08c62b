//go:build unix

package target_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/target"
)

// get asks the application from outside of it.
func get(in *target.Instance, path string) ([]byte, error) {
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(in.URL() + path)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

func TestStart(t *testing.T) {
	t.Setenv("PGHOST", "elsewhere")
	t.Setenv("DATABASE_URL_OF_PRODUCTION", "x")
	_, database := databaseURL(t)
	f := load(t, `NAME: "{{proxy_user}} {{proxy_database}} {{proxy_port}}"`, "")
	in := start(t, f, database)
	s := selfOf(t, in)
	require.Contains(t, s.Environment, "DATABASE_URL="+database)
	require.Contains(t, s.Environment, "PATH="+os.Getenv("PATH"))
	for _, entry := range s.Environment {
		require.NotRegexp(t, "^(PGHOST|DATABASE_URL_OF_PRODUCTION)=", entry)
	}
	require.False(t, isClosed(in.Ended()))
	require.NoError(t, in.Close(t.Context()))
	requireGone(t, s.PIDs...)
	require.NoError(t, in.Close(t.Context()))
	require.Equal(t, "told to end", in.Output())
}

func TestReset(t *testing.T) {
	t.Parallel()
	_, database := databaseURL(t)
	in := start(t, load(t, "", "reset: {request: {method: POST, path: /reset}}"), database)
	_, err := get(in, "/cut?times=0")
	require.NoError(t, err)
	require.NoError(t, in.Reset(t.Context()))
	body, err := get(in, "/requests")
	require.NoError(t, err)
	require.JSONEq(t, `{"requests": 0}`, string(body))

	in = start(t, load(t, "", "reset: {request: {method: POST, path: /echo/503}}"), database)
	require.ErrorContains(t, in.Reset(t.Context()), "resetting the application: POST /echo/503: 503 Service Unavailable: {")
}

func TestEndsAtOnce(t *testing.T) {
	t.Parallel()
	_, database := databaseURL(t)
	_, err := load(t, "BREAK: yes", "").System().Start(t.Context(), database)
	require.ErrorContains(t, err, "it ended before it was ready: exit status 1: cannot go on with postgres://")
	require.NotContains(t, err.Error(), "s3cret")
}

func TestNeverReady(t *testing.T) {
	t.Parallel()
	_, database := databaseURL(t)
	f, err := target.Load(write(t, strings.Replace(text(t, "NEVER_READY: yes", ""), "path: /healthz}\n", "path: /healthz, within: 1s}\n", 1)))
	require.NoError(t, err)
	_, err = f.System().Start(t.Context(), database)
	require.ErrorContains(t, err, "not ready after 1s: GET /healthz is answered 503 Service Unavailable")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = load(t, "NEVER_READY: yes", "").System().Start(ctx, database)
	require.ErrorIs(t, err, context.Canceled)
}

func TestNoProgram(t *testing.T) {
	t.Parallel()
	_, database := databaseURL(t)
	path := write(t, strings.Replace(text(t, "", ""), "  command:", "  directory: nosuch\n  command:", 1))
	nowhere, err := target.Load(path)
	require.NoError(t, err)
	_, err = nowhere.System().Start(t.Context(), database)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, filepath.Join(filepath.Dir(path), "nosuch")+": no such file or directory; try a path relative to the target file")

	f, err := target.Load(write(t, strings.Replace(text(t, "", ""), program(t), "nosuchprogram", 1)))
	require.NoError(t, err)
	_, err = f.System().Start(t.Context(), database)
	require.ErrorContains(t, err, "exit status 127, which a shell uses for a program that is not there")
	require.ErrorContains(t, err, "nosuchprogram")
}

// A port that somebody takes between our looking for it and the application's listening is exchanged for another.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, database := databaseURL(t)
	first := filepath.Join(t.TempDir(), "first")
	in := start(t, load(t, fmt.Sprintf("TAKEN: %q, TAKEN_ONCE: %q", taken.Addr(), first), ""), database)
	address, err := os.ReadFile(first)
	require.NoError(t, err)
	require.NotEqual(t, "http://"+string(address), in.URL())
}

// Who is there before the application is not taken for it.
func TestStranger(t *testing.T) {
	t.Parallel()
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer stranger.Close()
	_, database := databaseURL(t)
	f, err := target.Load(write(t, strings.Replace(text(t, "", ""), program(t), `/bin/sh, -c, "sleep 60"`, 1)))
	require.NoError(t, err)
	f.Application.URL = stranger.URL // which no file may say
	_, err = f.System().Start(t.Context(), database)
	require.ErrorContains(t, err, "somebody is at "+stranger.URL+" already, who would be taken for the application; try")
}

// Two applications of one process are never told to listen at the same port.
func TestPortsAreReserved(t *testing.T) {
	t.Parallel()
	const many = 2000
	seen := map[int]bool{}
	for range many {
		port, err := target.ReservePort()
		require.NoError(t, err)
		require.False(t, seen[port], port)
		seen[port] = true
	}
	for port := range seen {
		target.ReleasePort(port)
	}
	port, err := target.ReservePort()
	require.NoError(t, err)
	target.ReleasePort(port)
}

// An application that ends gives its port back.
func TestPortIsReleased(t *testing.T) {
	t.Parallel()
	_, database := databaseURL(t)
	in := start(t, load(t, "", ""), database)
	require.True(t, target.IsReserved(in))
	require.NoError(t, in.Close(t.Context()))
	require.False(t, target.IsReserved(in))
}

// Children of the application, one that ends when it is told to, and one that does not.
const (
	willing  = `CHILD: "while :; do sleep 1; done"`
	stubborn = `CHILD: "trap '' TERM; while :; do sleep 1; done"`
)

func TestEndsByItself(t *testing.T) {
	t.Parallel()
	_, database := databaseURL(t)
	in := start(t, load(t, willing, ""), database)
	s := selfOf(t, in)
	require.NoError(t, syscall.Kill(s.PIDs[len(s.PIDs)-1], syscall.SIGKILL))
	<-in.Ended()
	err := in.Close(t.Context())
	require.ErrorContains(t, err, "the application ended by itself: signal: killed")
	requireGone(t, s.PIDs...)
	require.Equal(t, err, in.Close(t.Context()))
}

// What does not end when it is told to is killed, at once when there is no time to wait.
func TestStubborn(t *testing.T) {
	t.Parallel()
	_, database := databaseURL(t)
	in := start(t, load(t, stubborn+", STUBBORN: yes", ""), database)
	s := selfOf(t, in)
	require.Len(t, s.PIDs, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, in.Close(ctx))
	for _, pid := range s.PIDs {
		require.True(t, isGone(pid), pid)
	}
}

func TestKilledLeavesNothing(t *testing.T) {
	t.Parallel()
	_, database := databaseURL(t)
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			with := willing
			if signal == syscall.SIGKILL {
				with = stubborn
			}
			process, pids := startChild(t, write(t, text(t, with, "")), database)
			require.Len(t, pids, 2)
			for _, pid := range pids {
				require.NoError(t, syscall.Kill(pid, 0))
			}
			require.NoError(t, process.Process.Signal(signal))
			requireGone(t, pids...)
		})
	}
}

func TestBuild(t *testing.T) {
	t.Parallel()
	_, database := databaseURL(t)
	path := write(t, strings.Replace(text(t, "", ""), "  command:", "  build: [/bin/sh, -c, echo built >> log]\n  command:", 1))
	f, err := target.Load(path)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, start(t, f, database).Close(t.Context()))
	}
	log, err := os.ReadFile(filepath.Join(filepath.Dir(path), "log"))
	require.NoError(t, err)
	require.Equal(t, "built\n", string(log))

	f, err = target.Load(write(t, strings.Replace(text(t, "", ""), "  command:", "  build: [/bin/sh, -c, echo no such module; exit 2]\n  command:", 1)))
	require.NoError(t, err)
	_, err = f.System().Start(t.Context(), database)
	require.ErrorContains(t, err, "building the application (/bin/sh -c echo no such module; exit 2): exit status 2: no such module\ntry: the same in ")
}

// An application that is running is waited for, and left running.
func TestRunning(t *testing.T) {
	t.Parallel()
	_, database := databaseURL(t)
	in := start(t, load(t, "", ""), database)
	text := fmt.Sprintf(`
database: {schema: x}
clients: [{copies: 2, requests: [{path: /healthz}]}]
application: {url: %q, listen: "127.0.0.1:1"}`, in.URL())
	f, err := target.Load(write(t, text))
	require.NoError(t, err)
	habits := f.System().Habits()
	require.Len(t, habits.Rehearsal(), 2)
	habits.Rehearsal = nil
	require.Equal(t, race.Habits{Listen: "127.0.0.1:1"}, habits)
	running := start(t, f, database)
	require.NoError(t, running.Close(t.Context()))
	<-running.Ended()
	_, err = get(in, "/healthz")
	require.NoError(t, err)
	require.NoError(t, in.Close(t.Context()))

	f, err = target.Load(write(t, text+"\n"))
	require.NoError(t, err)
	f.Application.Ready.Within = 1
	_, err = f.System().Start(t.Context(), database)
	require.ErrorContains(t, err, "the application at "+in.URL()+": not ready after 1ns")
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
