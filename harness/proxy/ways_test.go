package proxy_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/proxy"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire"
	"github.com/interlock-pg/interlock/harness/wire/wiretest"
)

// way is one of the ways in which a client can reach the server.
type way struct {
	name    string
	gate    *wire.Config // nil: directly
	held    bool         // steps are released from elsewhere
	slow    bool         // another is much the same: it is left to make check
	network string
	auth    proxy.Auth
}

func (w way) String() string { return w.name }

var ways = []way{
	{name: "direct"},
	{name: "unheld", gate: &wire.Config{}, network: "tcp", auth: proxy.Pass, slow: true},
	{name: "on a socket", gate: &wire.Config{}, network: "unix", auth: proxy.Trust},
	{name: "split", gate: &wire.Config{Split: true, Hold: func(wire.Step) bool { return false }}, network: "tcp", auth: proxy.SCRAM, slow: true},
	{name: "held", gate: &wire.Config{Split: true}, held: true, network: "tcp", auth: proxy.Password},
}

// bench is a proxy before a server, for a test.
type bench struct {
	*testing.T
	*proxy.Proxy
	gate    *wire.Gate
	control *pgx.Conn // past the proxy
	mu      sync.Mutex
	lost    []error
}

// newBench starts a proxy before a database, on this machine's loopback if not at an address that is given. The configuration needs nothing but what is
// tested.
func newBench(t *testing.T, server *pgx.ConnConfig, gate wire.Config, network string, config proxy.Config, at ...string) *bench {
	t.Helper()
	b := &bench{T: t, gate: wire.New(gate)}
	config.Server, config.Gate = &server.Config, b.gate
	lost := config.Lost
	config.Lost = func(err error) {
		b.mu.Lock()
		b.lost = append(b.lost, err)
		b.mu.Unlock()
		b.gate.Poke()
		if lost != nil {
			lost(err)
		}
	}
	address := append(at, "127.0.0.1:0")[0]
	if network == "unix" {
		address = filepath.Join(t.TempDir(), ".s.PGSQL.5432")
	}
	var err error
	b.Proxy, err = proxy.Listen(t.Context(), network, address, config)
	require.NoError(t, err)
	server = server.Copy()
	server.RuntimeParams["application_name"] = "control"
	b.control, err = pgx.ConnectConfig(t.Context(), server)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, b.Close())
		require.NoError(t, b.Close(), "again")
		require.NoError(t, b.control.Close(context.Background()))
		require.Empty(t, b.gate.Sessions())
	})
	return b
}

// refused waits until a connection was lost of which this was told.
func (b *bench) refused(text string) {
	b.Helper()
	require.NoError(b, b.gate.Wait(b.Context(), func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.ContainsFunc(b.lost, func(err error) bool { return strings.Contains(err.Error(), text) })
	}))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = nil
}

// session waits for the only session.
func (b *bench) session() *wire.Session {
	b.Helper()
	var s *wire.Session
	require.NoError(b, b.gate.Wait(b.Context(), func() bool {
		all := b.gate.Sessions()
		if len(all) == 1 {
			s = all[0]
		}
		return s != nil && s.State().PID != 0
	}))
	return s
}

// wait waits until the state of a session is as it should be.
func (b *bench) wait(s *wire.Session, is func(wire.State) bool) wire.State {
	b.Helper()
	require.NoError(b, b.gate.Wait(b.Context(), func() bool { return is(s.State()) }), "%+v", s.State())
	return s.State()
}

// step waits for a step of some kind to be held, and releases it.
func (b *bench) step(s *wire.Session, kind wire.Kind) {
	b.Helper()
	state := b.wait(s, func(s wire.State) bool { return s.Phase == wire.Holding })
	require.Equal(b, kind, state.Step.Kind)
	require.True(b, s.Release(state.Step.Index))
}

// connections waits until so many sessions of clients are left in the server.
func (b *bench) connections(want int) {
	b.Helper()
	for got := -1; got != want; {
		require.NoError(b, b.control.QueryRow(b.Context(), `select count(*) from pg_stat_activity
			where datname = current_database() and application_name <> 'control' and backend_type = 'client backend'`).Scan(&got))
	}
}

// eachWay calls talk with the URL of a fresh database for each of the ways, and wants the same lines from all, and what its sessions were told to be the
// same as well.
func eachWay(
	t *testing.T, schema string, same func(t testing.TB, want, got []wiretest.Told), talk func(t *testing.T, url string) []string,
) (direct []wiretest.Told) {
	template := servertest.Template(t, schema)
	var lines []string
	for _, w := range ways {
		ok := t.Run(w.name, func(t *testing.T) {
			if w.slow {
				servertest.Slow(t)
			}
			db, err := template.Database(t.Context())
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, db.Drop(context.Background())) })
			network, url := "unix", db.DSN()
			if w.gate != nil {
				config := proxy.Config{Auth: w.auth, Lost: func(err error) { t.Error(err) }}
				if w.auth == proxy.Password || w.auth == proxy.SCRAM {
					config.User, config.Password = "app", "a secret: 100%/?"
				}
				gate := *w.gate
				var steps atomic.Int64
				gate.Events = func(e wire.Event) {
					if e.Kind == wire.Answered {
						steps.Add(1)
					}
				}
				b := newBench(t, db.Config("proxy"), gate, w.network, config)
				network, url = w.network, b.URL()
				t.Cleanup(func() { require.Equal(t, gate.Split, steps.Load() > 0) })
				if w.held {
					t.Cleanup(wiretest.ReleaseAll(b.gate))
				}
			}
			recorder := wiretest.Record(t, network, url)
			said := talk(t, recorder.URL())
			require.NotEmpty(t, said)
			told := recorder.Told()
			if w.gate == nil {
				lines, direct = said, told
				return
			}
			for i := range min(len(lines), len(said)) {
				require.Equal(t, lines[i], said[i], "line %d", i)
			}
			require.Len(t, said, len(lines))
			same(t, direct, told)
		})
		if !ok && w.gate == nil {
			t.FailNow()
		}
	}
	return direct
}

// lines is what a client was told.
type lines []string

func (l *lines) add(format string, args ...any) { *l = append(*l, fmt.Sprintf(format, args...)) }

// request is a request to cancel.
func request(pid uint32, key []byte) []byte {
	p, err := (&pgproto3.CancelRequest{ProcessID: pid, SecretKey: key}).Encode(nil)
	if err != nil {
		panic(err)
	}
	return p
}
