package scenarios

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/stress"
	"github.com/interlock-pg/interlock/migrations"
)

// templates are the databases after migration 1, 2 and 3, made when they are needed.
var templates = [...]func() (*server.Template, error){
	1: sync.OnceValues(func() (*server.Template, error) { return migrated(1) }),
	2: sync.OnceValues(func() (*server.Template, error) { return migrated(2) }),
	3: sync.OnceValues(func() (*server.Template, error) { return migrated(3) }),
}

func migrated(version int64) (*server.Template, error) {
	srv, err := servertest.Shared()
	if err != nil {
		return nil, err
	}
	return srv.Template(context.Background(), func(ctx context.Context, config *pgx.ConnConfig) error {
		_, err := migrations.Embedded().Apply(ctx, config, version)
		return err
	})
}

func TestMain(m *testing.M) { servertest.Main(m, func() error { return goleak.Find() }) }

// bench is a database of a test's own.
type bench struct {
	*testing.T
	ctx   context.Context
	db    *server.Database
	arena *stress.Arena
	conn  *pgx.Conn
}

func setup(t *testing.T, version int64) bench {
	t.Helper()
	ctx := t.Context()
	template, err := templates[version]()
	require.NoError(t, err)
	db, err := template.Database(ctx)
	require.NoError(t, err)
	b := bench{T: t, ctx: ctx, db: db}
	b.arena, err = stress.Open(ctx, db)
	require.NoError(t, err)
	b.conn = b.connect("test")
	t.Cleanup(func() {
		ctx := context.Background()
		require.NoError(t, b.arena.Close(ctx))
		require.NoError(t, b.conn.Close(ctx))
		require.NoError(t, db.Drop(ctx))
	})
	return b
}

func (b bench) connect(actor string) *pgx.Conn {
	b.Helper()
	conn, err := b.db.Connect(b.ctx, actor)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, conn.Close(context.Background())) })
	return conn
}

func (b bench) exec(sql string, args ...any) {
	b.Helper()
	_, err := b.conn.Exec(b.ctx, sql, args...)
	require.NoError(b, err, sql)
}

// play runs a scenario once.
func (b bench) play(s harness.Scenario) history.Round {
	b.Helper()
	for i := range s.Clients {
		if s.Clients[i].Name == "" {
			s.Clients[i].Name = string(rune('A' + i))
		}
	}
	round, err := b.arena.Play(b.ctx, s, 10*time.Second)
	require.NoError(b, err)
	return round
}

// told returns what the clients were told, in the order in which they asked.
func told(round history.Round) []string {
	var told []string
	for _, op := range round.Operations {
		told = append(told, op.Outcome)
	}
	return told
}

// broken returns the invariants that a round broke, each once, in order.
func broken(round history.Round) []string {
	names := []string{}
	seen := map[string]bool{}
	for _, v := range round.Violations {
		if !seen[v.Invariant] {
			names = append(names, v.Invariant)
		}
		seen[v.Invariant] = true
	}
	return names
}

// defence returns a defence by name.
func defence(t testing.TB, name string) Defence {
	t.Helper()
	for _, d := range Defences() {
		if d.Name == name {
			return d
		}
	}
	t.Fatalf("no defence %q", name)
	return Defence{}
}
