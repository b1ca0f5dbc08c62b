package migrations_test

import (
	"context"
	"flag"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/server/servertest"
)

var rewrite = flag.Bool("rewrite", false, "write the expected texts anew")

func TestMain(m *testing.M) {
	flag.Parse()
	servertest.Main(m, func() error { return goleak.Find() })
}

// bundle is a fresh database and a connection to it.
type bundle struct {
	t      *testing.T
	ctx    context.Context
	config *pgx.ConnConfig
	conn   *pgx.Conn
}

func setup(t *testing.T) bundle {
	t.Helper()
	t.Parallel()
	db := servertest.Database(t, "")
	conn, err := db.Connect(t.Context(), "test")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close(context.Background()))
	})
	return bundle{t: t, ctx: t.Context(), config: db.Config("migrations"), conn: conn}
}

func (b bundle) exec(sql string) {
	b.t.Helper()
	_, err := b.conn.Exec(b.ctx, sql)
	require.NoError(b.t, err)
}

// column returns the first column of a query, as text.
func (b bundle) column(sql string) []string {
	b.t.Helper()
	rows, err := b.conn.Query(b.ctx, sql)
	require.NoError(b.t, err)
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b.t, err)
	return values
}

// objects lists what migrations left, ledgers not counted: tables, views, functions, and indexes, of which invalid ones say so.
func (b bundle) objects() []string {
	b.t.Helper()
	return b.column(`
		select case c.relkind when 'r' then 'table ' when 'v' then 'view ' when 'i' then 'index ' end || c.oid::regclass
			|| case when not i.indisvalid then ' INVALID' else '' end
		from pg_class c left join pg_index i on i.indexrelid = c.oid
		where c.relkind in ('r', 'v', 'i') and c.relnamespace::regnamespace::text !~ '^(pg_|information_schema)' and c.relname !~ '^goose'
		union all
		select 'function ' || p.oid::regprocedure from pg_proc p
		where p.pronamespace::regnamespace::text !~ '^(pg_|information_schema)'
			and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
		order by 1`)
}
