package auto_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/auto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// way is a provider that returns what it says.
type way struct {
	name   string
	server *server.Server
	err    error
}

func (w way) Name() string                                                 { return w.name }
func (w way) Start(context.Context, server.Config) (*server.Server, error) { return w.server, w.err }

func TestTakesTheFirstThatWorks(t *testing.T) {
	var log []string
	config := server.Config{Log: func(line string) { log = append(log, line) }}
	want := &server.Server{Provider: "second", Where: "here", Release: "15.18"}
	s, err := auto.Provider{Ways: []server.Provider{
		way{name: "first", err: &server.UnavailableError{Provider: "first", Why: "nothing there", Err: errors.New("really\nnothing"), Try: "something"}},
		way{name: "second", server: want},
		way{name: "third", err: errors.New("not asked")},
	}}.Start(t.Context(), config)
	require.NoError(t, err)
	require.Same(t, want, s)
	require.Equal(t, []string{"not first: nothing there: really; nothing", "postgres 15.18, second (here), ready in 0 ms"}, log)
}

func TestStopsAtATrueError(t *testing.T) {
	broken := errors.New("broken")
	_, err := auto.Provider{Ways: []server.Provider{way{name: "first", err: broken}, way{name: "second", server: new(server.Server)}}}.
		Start(t.Context(), server.Config{})
	require.Equal(t, broken, err)
}

func TestNoneWorks(t *testing.T) {
	reason := &server.UnavailableError{Provider: "docker", Why: "no daemon at unix:///var/run/docker.sock", Try: "start Docker"}
	_, err := auto.Provider{Ways: []server.Provider{
		way{err: &server.UnavailableError{Provider: "local", Why: "no initdb", Try: "apt-get install postgresql"}},
		way{err: errors.Join(reason)},
		way{err: &server.UnavailableError{Provider: "embedded", Why: "not reachable", Err: errors.New("it timed out")}},
	}}.Start(t.Context(), server.Config{})
	require.EqualError(t, err, `no Postgres found.
  local     no initdb
  docker    no daemon at unix:///var/run/docker.sock
  embedded  not reachable: it timed out
Try one of: apt-get install postgresql · start Docker · --postgres postgres://user@host/database`)
	require.ErrorIs(t, err, reason)
}

func TestLongReasonsAreWrapped(t *testing.T) {
	long := strings.TrimSpace(strings.Repeat("µ word ", 60))
	err := &auto.NoneError{Passed: []*server.UnavailableError{{Provider: "local", Why: long, Try: long}}}
	for line := range strings.Lines(err.Error()) {
		require.LessOrEqual(t, len([]rune(strings.TrimRight(line, "\n"))), 100, line)
	}
}

func TestOnlyTheDSNIsTriedWhereThereIsOne(t *testing.T) {
	_, err := auto.Provider{}.Start(t.Context(), server.Config{DSN: "postgres://127.0.0.1:1/none?connect_timeout=1"})
	unavailable := new(server.UnavailableError)
	require.ErrorAs(t, err, &unavailable)
	require.Equal(t, "dsn", unavailable.Provider)
	require.NotErrorAs(t, err, new(*auto.NoneError))
}

func TestNames(t *testing.T) {
	require.Equal(t, []string{"auto", "local", "docker", "dockertest", "embedded", "dsn"}, auto.Names())
	for _, name := range auto.Names() {
		way, ok := auto.Named(name)
		require.True(t, ok)
		require.Equal(t, name, way.Name())
	}
	_, ok := auto.Named("mysql")
	require.False(t, ok)
}

func TestProbe(t *testing.T) {
	nowhere := "unix://" + filepath.Join(t.TempDir(), "none")
	t.Setenv("DOCKER_HOST", nowhere)
	findings := auto.Probe(t.Context(), server.Config{CacheDir: t.TempDir(), BinDir: t.TempDir()})
	var ways []string
	for _, f := range findings {
		ways = append(ways, f.Way)
		require.False(t, f.Works)
		require.NotEmpty(t, f.Why)
		require.NotEmpty(t, f.Try)
	}
	require.Equal(t, []string{"local", "docker", "dockertest", "embedded"}, ways)
	require.Contains(t, findings[1].Why, "no daemon at "+nowhere)
	require.Equal(t, "not downloaded yet", findings[3].Why)

	ended, end := context.WithCancel(t.Context())
	end()
	require.Empty(t, auto.Probe(ended, server.Config{}))
}
