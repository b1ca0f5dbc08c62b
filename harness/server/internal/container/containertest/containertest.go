// Package containertest holds the tests that the ways through Docker have in common.
package containertest

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/internal/container"
)

// childVariable makes this binary start a server, say so, and wait to be killed, instead of running tests.
const childVariable = "INTERLOCK_TEST_CHILD"

// Main is the TestMain of a package with a provider. It skips the tests unless INTERLOCK_TEST_DOCKER says that there is a daemon; then there must be one.
func Main(m *testing.M, provider server.Provider) {
	if os.Getenv(childVariable) != "" {
		child(provider)
	}
	if os.Getenv("INTERLOCK_TEST_DOCKER") != "1" {
		fmt.Fprintln(os.Stderr, "skipped: for make check, with INTERLOCK_TEST_DOCKER=1")
		os.Exit(0)
	}
	if _, err := container.Daemon(context.Background(), provider.Name(), ""); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// child starts a server, and is meant to be killed.
func child(provider server.Provider) {
	fmt.Println("starting")
	s, err := provider.Start(context.Background(), server.Config{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready", s.Release)
	select {}
}

// Run tests a provider.
func Run(t *testing.T, provider server.Provider) {
	// Those that look for anything left by this process come first, one after the other.
	t.Run("cancelled", func(t *testing.T) { cancelled(t, provider) })
	t.Run("bad setting", func(t *testing.T) { badSetting(t, provider) })
	t.Run("no image", func(t *testing.T) { noImage(t, provider) })
	t.Run("no daemon", func(t *testing.T) { noDaemon(t, provider) })
	t.Run("together", func(t *testing.T) {
		t.Run("serves", func(t *testing.T) { t.Parallel(); serves(t, provider) })
		t.Run("ended by others", func(t *testing.T) { t.Parallel(); endedByOthers(t, provider) })
		for i := range 3 {
			t.Run(fmt.Sprint("another ", i), func(t *testing.T) { t.Parallel(); serves(t, provider) })
		}
	})
}

func serves(t *testing.T, provider server.Provider) {
	ctx := t.Context()
	config, name := named(server.Config{Settings: map[string]string{"work_mem": "5MB"}})
	s, err := provider.Start(ctx, config)
	require.NoError(t, err)
	defer s.Stop(ctx) //nolint:errcheck // as below
	require.Equal(t, provider.Name(), s.Provider)
	require.Contains(t, s.Where, "postgres:")
	require.True(t, s.Owned)
	require.True(t, s.Superuser)
	require.Equal(t, "running", states(t, container.Label, name())[name()])

	conn, err := pgx.ConnectConfig(ctx, s.Config("postgres", "test"))
	require.NoError(t, err)
	var version, workMem, fsync, encoding string
	require.NoError(t, conn.QueryRow(ctx, `select version(), current_setting('work_mem'), current_setting('fsync'), current_setting('server_encoding')`).
		Scan(&version, &workMem, &fsync, &encoding))
	require.Contains(t, version, s.Release)
	require.Equal(t, []string{"5MB", "off", "UTF8"}, []string{workMem, fsync, encoding})
	require.NoError(t, conn.Close(ctx))

	require.NoError(t, s.Stop(ctx))
	require.Empty(t, states(t, container.Label, name()))
	require.NoError(t, s.Stop(ctx))
}

func endedByOthers(t *testing.T, provider server.Provider) {
	config, name := named(server.Config{})
	s, err := provider.Start(t.Context(), config)
	require.NoError(t, err)
	remove(t, name())
	require.ErrorContains(t, s.Stop(t.Context()), "had ended before it was stopped")
}

func cancelled(t *testing.T, provider server.Provider) {
	for _, after := range []time.Duration{0, time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond} {
		why := errors.New("given up")
		ctx, cancel := context.WithCancelCause(t.Context())
		timer := time.AfterFunc(after, func() { cancel(why) })
		s, err := provider.Start(ctx, server.Config{})
		timer.Stop()
		if err == nil { // so fast a machine
			require.NoError(t, s.Stop(t.Context()))
		} else {
			var unavailable *server.UnavailableError
			require.NotErrorAs(t, err, &unavailable, "after %v", after)
		}
		cancel(nil)
		require.Empty(t, mine(t), "after %v", after)
	}
}

func badSetting(t *testing.T, provider server.Provider) {
	_, err := provider.Start(t.Context(), server.Config{Settings: map[string]string{"shared_buffers": "plenty"}})
	require.ErrorContains(t, err, `invalid value for parameter "shared_buffers"`)
	require.Empty(t, mine(t))
}

func noImage(t *testing.T, provider server.Provider) {
	_, err := provider.Start(t.Context(), server.Config{Image: "registry.invalid/postgres:1"})
	var unavailable *server.UnavailableError
	require.ErrorAs(t, err, &unavailable)
	require.Contains(t, unavailable.Why, "registry.invalid/postgres:1")
	require.NotEmpty(t, unavailable.Try)
	require.Empty(t, mine(t))
}

func noDaemon(t *testing.T, provider server.Provider) {
	dir, err := os.MkdirTemp("", "il") // a socket path is short
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	hanging := filepath.Join(dir, "hangs")
	listener, err := net.Listen("unix", hanging)
	require.NoError(t, err)
	defer listener.Close()

	for _, socket := range []string{filepath.Join(dir, "none"), hanging} {
		t.Setenv("DOCKER_HOST", "unix://"+socket)
		began := time.Now()
		_, err := provider.Start(t.Context(), server.Config{})
		var unavailable *server.UnavailableError
		require.ErrorAs(t, err, &unavailable)
		require.Equal(t, "no daemon at unix://"+socket, unavailable.Why)
		require.NotEmpty(t, unavailable.Try)
		require.Less(t, time.Since(began), 3*time.Second)
	}
}

// Killed tests that a container ends with the process that it is for, when that is killed: having become ready, or at any time before.
func Killed(t *testing.T, provider server.Provider) {
	t.Run("ready", func(t *testing.T) {
		pid := runAndKill(t, "ready", func(pid string) { require.Len(t, states(t, container.PIDLabel, pid), 1) })
		require.Eventually(t, func() bool { return len(states(t, container.PIDLabel, pid)) == 0 }, 2*time.Second, 10*time.Millisecond)
	})
	t.Run("starting", func(t *testing.T) {
		pid := runAndKill(t, "starting", func(string) { time.Sleep(rand.N(time.Second)) })
		var left map[string]string
		for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if left = states(t, container.PIDLabel, pid); len(left) == 0 {
				return
			}
		}
		for name, state := range left { // what was made and not started stays until it is swept
			require.Equal(t, "created", state)
			remove(t, name)
		}
	})
}

// runAndKill runs child until it says a word, does something else, kills it, and returns its id.
func runAndKill(t *testing.T, word string, before func(pid string)) string {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), word) {
	}
	require.True(t, strings.HasPrefix(lines.Text(), word), lines.Text())
	pid := strconv.Itoa(cmd.Process.Pid)
	before(pid)
	require.NoError(t, cmd.Process.Kill())
	cmd.Wait() //nolint:errcheck // it was killed
	return pid
}

// Benchmark reports how long a server takes to be ready.
func Benchmark(b *testing.B, provider server.Provider) {
	var took []time.Duration
	for b.Loop() {
		s, err := provider.Start(b.Context(), server.Config{})
		require.NoError(b, err)
		took = append(took, s.Ready)
		require.NoError(b, s.Stop(b.Context()))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
}

var ourName = regexp.MustCompile(`interlock-[a-z0-9]{12}`)

// named has the name of the container told.
func named(config server.Config) (server.Config, func() string) {
	var mu sync.Mutex
	var name string
	config.Log = func(line string) {
		mu.Lock()
		defer mu.Unlock()
		name = cmp.Or(ourName.FindString(line), name)
	}
	return config, func() string {
		mu.Lock()
		defer mu.Unlock()
		return name
	}
}

// mine returns the states of the containers of this process, by name.
func mine(t *testing.T) map[string]string {
	return states(t, container.PIDLabel, strconv.Itoa(os.Getpid()))
}

// states returns the states of the containers with a label, by name.
func states(t *testing.T, label, value string) map[string]string {
	t.Helper()
	daemon := connect(t)
	defer daemon.Close()
	list, err := daemon.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", label+"="+value)})
	require.NoError(t, err)
	all := map[string]string{}
	for _, c := range list.Items {
		all[strings.TrimPrefix(c.Names[0], "/")] = string(c.State)
	}
	return all
}

func remove(t *testing.T, name string) {
	t.Helper()
	daemon := connect(t)
	defer daemon.Close()
	_, err := daemon.ContainerRemove(t.Context(), name, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	require.NoError(t, err)
}

func connect(t *testing.T) *client.Client {
	t.Helper()
	address, err := container.Daemon(t.Context(), "test", "")
	require.NoError(t, err)
	daemon, err := client.New(client.FromEnv, client.WithHost(address))
	require.NoError(t, err)
	return daemon
}
