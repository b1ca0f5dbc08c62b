package populate_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/populate"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/migrations"
)

func TestMain(m *testing.M) {
	servertest.Main(m, func() error { return goleak.Find() })
}

// Each schema of testdata gets all its rows, except for the tables that its comments name: "short: TABLE ROWS part of the reason".
func TestFill(t *testing.T) {
	files, err := filepath.Glob("testdata/*.sql")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 15)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".sql"), func(t *testing.T) {
			t.Parallel()
			script, err := os.ReadFile(file)
			require.NoError(t, err)
			short := map[string][]string{}
			for line := range strings.Lines(string(script)) {
				if rest, is := strings.CutPrefix(line, "-- short: "); is {
					words := strings.SplitN(strings.TrimSpace(rest), " ", 3)
					short[words[0]] = words[1:]
				}
			}
			conn := connect(t, string(script))
			const rows = 300
			report := fill(t, conn, populate.Config{Rows: rows})
			require.NotEmpty(t, report.Tables)
			for _, table := range report.Tables {
				if want, is := short[table.Name]; is {
					require.Equal(t, want[0], fmt.Sprint(table.Rows), "%+v", table)
					require.Contains(t, table.Reason, want[1])
					delete(short, table.Name)
					continue
				}
				require.Equal(t, populate.Table{Name: table.Name, Wanted: rows, Rows: rows}, table)
			}
			require.Empty(t, short, "not reported")
			require.NoError(t, validate(t, conn))
		})
	}
}

// What refers to something does so nearly everywhere, and not always to the same.
func TestFillReferences(t *testing.T) {
	for _, test := range []struct{ file, sql string }{
		{"references", `select count(distinct boss) > 100 and count(*) - count(boss) between 5 and 80 from people`},
		{"references", `select count(distinct city) > 100 from people`},
		{"cycles", `select count(distinct head) > 100 from departments`},
		{"cycles", `select count(distinct manager) > 100 from employees`},
		{"cycles", `select count(distinct egg) > 100 from chickens`},
		{"tenants", `select count(distinct assignee) > 100 from tasks`},
		{"junction", `select count(distinct a) > 100 and count(distinct b) > 1 from a_b`},
		{"partitions", `select count(distinct tableoid) = 2 from events`},
		{"partitions", `select count(distinct tableoid) = 2 from sales`},
		{"partitions", `select count(distinct tableoid) = 2 from rest`},
		{"types", `select count(distinct b) > 200 and count(*) - count(a) between 5 and 80 and count(distinct ab) = 3 from everything`},
		{"checks", `select count(distinct state) = 3 and count(distinct size) = 4 and count(distinct price) > 100 from products`},
		{"partial", `select count(distinct state) = 3 from seats`},
	} {
		t.Run(test.file, func(t *testing.T) {
			t.Parallel()
			script, err := os.ReadFile(filepath.Join("testdata", test.file+".sql"))
			require.NoError(t, err)
			conn := connect(t, string(script))
			fill(t, conn, populate.Config{Rows: 300})
			var so bool
			require.NoError(t, conn.QueryRow(t.Context(), test.sql).Scan(&so))
			require.True(t, so, test.sql)
		})
	}
}

func TestFillEmbedded(t *testing.T) {
	for version := range int64(3) {
		t.Run(fmt.Sprint(version+1), func(t *testing.T) {
			t.Parallel()
			conn := embedded(t, version+1)
			report := fill(t, conn, populate.Config{Rows: 2000})
			require.Len(t, report.Tables, 6)
			for _, table := range report.Tables {
				if table.Name == "public.goose_db_version" {
					require.NotEmpty(t, table.Reason)
					continue
				}
				require.Equal(t, populate.Table{Name: table.Name, Wanted: 2000, Rows: 2000}, table)
			}
			require.NoError(t, validate(t, conn))
			var statuses int
			require.NoError(t, conn.QueryRow(t.Context(), `select count(distinct status) from aedpics.inspection_sessions`).Scan(&statuses))
			require.Equal(t, 5, statuses)
		})
	}
}

// The same seed gives the same contents in another database, and another seed does not.
func TestFillRepeats(t *testing.T) {
	for _, file := range []string{"types", "references", "cycles", "checks", "patterns", "exclusions", "partitions"} {
		t.Run(file, func(t *testing.T) {
			if file != "types" && file != "references" {
				servertest.Slow(t)
			}
			t.Parallel()
			script, err := os.ReadFile(filepath.Join("testdata", file+".sql"))
			require.NoError(t, err)
			contents := func(seed int64) string {
				conn := connect(t, string(script))
				fill(t, conn, populate.Config{Rows: 200, Seed: seed})
				return checksum(t, conn)
			}
			first := contents(7)
			require.Equal(t, first, contents(7))
			require.NotEqual(t, first, contents(8))
		})
	}
}

// The control of the tests above: validate notices rows that break a constraint.
func TestValidate(t *testing.T) {
	conn := connect(t, `create table p (id int primary key); create table c (p int references p, x int)`)
	require.NoError(t, validate(t, conn))
	exec(t, conn, `set session_replication_role = replica; insert into c values (1); set session_replication_role = origin`)
	require.ErrorContains(t, validate(t, conn), "23503")
	exec(t, conn, `delete from c; insert into c (x) values (1); alter table c add constraint big check (x > 1) not valid`)
	require.ErrorContains(t, validate(t, conn), "23514")
}

func TestFillTrouble(t *testing.T) {
	conn := connect(t, `create table t (x int)`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := populate.Fill(ctx, conn, populate.Config{})
	require.ErrorContains(t, err, "filling ")
}

func BenchmarkFillEmbedded(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		conn := embedded(b, 3)
		b.StartTimer()
		fill(b, conn, populate.Config{})
	}
}

func embedded(t testing.TB, version int64) *pgx.Conn {
	t.Helper()
	db := servertest.Database(t, ``)
	_, err := migrations.Embedded().Apply(t.Context(), db.Config("migrations"), version)
	require.NoError(t, err)
	conn, err := db.Connect(t.Context(), "test")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(context.Background())) })
	return conn
}

func connect(t testing.TB, script string) *pgx.Conn {
	t.Helper()
	conn, err := servertest.Database(t, script).Connect(t.Context(), "test")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(context.Background())) })
	return conn
}

func fill(t testing.TB, conn *pgx.Conn, config populate.Config) populate.Report {
	t.Helper()
	report, err := populate.Fill(t.Context(), conn, config)
	require.NoError(t, err)
	return report
}

func exec(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

func column(t testing.TB, conn *pgx.Conn, sql string) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql)
	require.NoError(t, err)
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return values
}

// validate has the server check every constraint against the rows again, whatever it believes of them.
func validate(t testing.TB, conn *pgx.Conn) error {
	t.Helper()
	exec(t, conn, `update pg_constraint set convalidated = false where contype in ('c', 'f') and conparentid = 0 and oid >= 16384`)
	for _, sql := range column(t, conn, `
		select case when conrelid <> 0 then format('alter table %s validate constraint %I', conrelid::regclass, conname)
			else format('alter domain %s validate constraint %I', contypid::regtype, conname) end
		from pg_constraint k where not convalidated
			and not exists (select from pg_attribute a join pg_type t on t.typarray = a.atttypid where t.oid = k.contypid) -- cannot be validated
		union all select format('reindex table %s', oid::regclass) from pg_class where relkind = 'r' and oid >= 16384`) {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// checksum is one of all rows of all tables.
func checksum(t testing.TB, conn *pgx.Conn) string {
	t.Helper()
	var sums []string
	for _, table := range column(t, conn, `select oid::regclass::text from pg_class where relkind = 'r' and oid >= 16384 order by 1`) {
		sums = append(sums, column(t, conn, `select coalesce(md5(string_agg(x::text, ',' order by x::text)), '') from `+table+` x`)...)
	}
	return strings.Join(sums, " ")
}
