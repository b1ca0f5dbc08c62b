package container

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNewest(t *testing.T) {
	for _, c := range []struct {
		names   string
		version int
		want    string
	}{
		{"", 0, ""},
		{"postgres:15 postgres:16-alpine postgres:9.6 postgres:latest", 0, "postgres:16-alpine"},
		{"postgres:15 postgres:16-alpine", 15, "postgres:15"},
		{"postgres:16.4-bookworm postgres:16-alpine3.20 postgres:16 postgres:16-alpine", 16, "postgres:16-alpine"},
		{"postgres:9-alpine postgres:12 <none>:<none> postgres:99999999999999999999", 0, ""},
		{"postgres:16", 17, ""},
		{"docker.io/library/postgres:17 mirror.example/postgres:18 postgres:18beta1", 0, "docker.io/library/postgres:17"},
	} {
		got, ok := newest(strings.Fields(c.names), c.version)
		require.Equal(t, c.want, got, c.names)
		require.Equal(t, c.want != "", ok, c.names)
	}
}

func TestAddresses(t *testing.T) {
	t.Setenv("TESTCONTAINERS_HOST_OVERRIDE", "")
	n := Network{HostPort: 32768, IP: "172.17.0.2", Gateway: "172.17.0.1"}
	text := func(all []address) (s []string) {
		for _, a := range all {
			s = append(s, a.String())
		}
		return s
	}
	require.Equal(t, []string{"172.17.0.2:5432", "127.0.0.1:32768", "172.17.0.1:32768", "host.docker.internal:32768"},
		text(addresses("unix:///var/run/docker.sock", n)))
	require.Equal(t, []string{"172.17.0.2:5432", "127.0.0.1:32768", "build.example:32768", "172.17.0.1:32768", "host.docker.internal:32768"},
		text(addresses("tcp://build.example:2376", n)))
	require.Empty(t, addresses("unix:///var/run/docker.sock", Network{}))
}

func TestTail(t *testing.T) {
	var last tail
	require.Equal(t, "nothing", last.String())
	for range 1000 {
		io.WriteString(&last, "a line like another\n")
	}
	io.WriteString(&last, "the last\n")
	require.Equal(t, strings.Repeat("a line like another\n", 9)+"the last", last.String())
	require.LessOrEqual(t, len(last.text), 2*tailSize)
}

// fake is an engine that fails where it is told to, and remembers what was removed.
type fake struct {
	fail    map[string]error
	detach  int
	removed []string
	closed  int
}

func (f *fake) Images(context.Context, string) ([]string, error) {
	return []string{"postgres:15"}, f.fail["images"]
}
func (f *fake) Has(context.Context, string) (bool, error)        { return false, nil }
func (f *fake) Pull(context.Context, string) error               { return f.fail["pull"] }
func (f *fake) Create(context.Context, Spec) (string, error)     { return "id", f.fail["create"] }
func (f *fake) Start(context.Context, string) error              { return f.fail["start"] }
func (f *fake) Network(context.Context, string) (Network, error) { return Network{}, f.fail["network"] }
func (f *fake) Close() error                                     { f.closed++; return nil }
func (f *fake) Attach(context.Context, string, io.Reader, io.Writer) (Attachment, error) {
	if err := f.fail["attach"]; err != nil {
		return Attachment{}, err
	}
	ended := make(chan struct{})
	if f.fail["ended"] != nil {
		close(ended)
		return Attachment{Ended: ended, Detach: func() { f.detach++ }}, nil
	}
	return Attachment{Ended: ended, Detach: func() { f.detach++; close(ended) }}, nil
}

func (f *fake) Remove(_ context.Context, id string) (bool, error) {
	f.removed = append(f.removed, id)
	return len(f.removed) > 1, errors.New("in progress")
}

func (f *fake) Leftovers(_ context.Context, label string, before time.Time) ([]string, error) {
	if label != Label || time.Since(before) < staleAfter {
		return nil, errors.New("too eager")
	}
	return []string{"one", "two"}, nil
}

func TestNothingIsLeftOfAStartThatFails(t *testing.T) {
	for _, c := range []struct {
		fails                 string
		unavailable, attached bool
	}{
		{"create", true, false},
		{"attach", true, false},
		{"start", true, true},
		{"network", false, true},
		{"ended", false, true},
	} {
		t.Run(c.fails, func(t *testing.T) {
			broken := errors.New("broken")
			f := &fake{fail: map[string]error{c.fails: broken}}
			_, err := Start(t.Context(), "docker", time.Now(), "unix:///nowhere", f, server.Config{})
			unavailable := new(server.UnavailableError)
			require.Equal(t, c.unavailable, errors.As(err, &unavailable), err)
			if c.fails == "ended" {
				require.ErrorContains(t, err, "it ended at once; the last it said: nothing")
			} else {
				require.ErrorIs(t, err, broken)
			}
			require.GreaterOrEqual(t, len(f.removed), 2, "removal is seen through")
			require.Equal(t, c.attached, f.detach == 1)
			require.Equal(t, 1, f.closed)
		})
	}
}

func TestNoImage(t *testing.T) {
	f := &fake{fail: map[string]error{"pull": errors.New("no network")}}
	var log []string
	_, err := Start(t.Context(), "docker", time.Now(), "unix:///nowhere", f, server.Config{Version: 16, Log: func(line string) { log = append(log, line) }})
	require.EqualError(t, err, "docker: no image postgres:16-alpine, and it cannot be pulled: no network; try: docker pull postgres:16-alpine, or another --pg-version")
	require.Equal(t, []string{"docker: pulling postgres:16-alpine"}, log)
	require.Empty(t, f.removed)
}

func TestSweep(t *testing.T) {
	f := new(fake)
	sweep(t.Context(), f)
	require.Equal(t, []string{"one", "two"}, f.removed)
}
