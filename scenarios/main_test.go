package scenarios

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

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
