package proxy_test

import (
	"database/sql"
	"errors"
	"fmt"
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
	"github.com/lib/pq"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire/wiretest"
)

// TestPQ: database/sql with lib/pq is told the same on each of the ways.
func TestPQ(t *testing.T) {
	told := eachWay(t, schema, wiretest.SameInAnyOrder, func(t *testing.T, url string) []string {
		var out lines
		ctx := t.Context()
		connector, err := pq.NewConnector(url + "&application_name=conformance")
		require.NoError(t, err)
		db := sql.OpenDB(pq.ConnectorWithNoticeHandler(connector, func(n *pq.Error) { out.add("notice %s", allOf(n)) }))
		defer db.Close()
		db.SetMaxOpenConns(1)
		query := func(on interface {
			Query(string, ...any) (*sql.Rows, error)
		}, sql string, args ...any,
		) {
			rows, err := on.Query(sql, args...)
			if err != nil {
				out.add("%s: %s", sql, allOf(err))
				return
			}
			defer rows.Close()
			columns, err := rows.Columns()
			require.NoError(t, err)
			for rows.Next() {
				values := make([]any, len(columns))
				for i := range values {
					values[i] = new(any)
				}
				require.NoError(t, rows.Scan(values...))
				for i := range values {
					out.add("%v = %v", columns[i], *values[i].(*any))
				}
			}
			out.add("%s: %s", sql, allOf(rows.Err()))
		}
		query(db, `select $1::int + 1 as n, $2::text as s, $3::timestamptz at time zone 'UTC' as at`, 41, "x", time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC))
		for range 2 {
			query(db, `insert into t (v, b, a) values ($1, $2, $3) returning id, v, b, a`, "twice", []byte{0, 255}, pq.Array([]string{"a", "b"}))
		}
		query(db, `select noisy(2)`)
		query(db, `select nothing from t`)
		query(db, ``)
		tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
		require.NoError(t, err)
		query(tx, `show transaction_isolation`)
		query(tx, `insert into t (v) values ($1)`, "in a transaction")
		query(tx, `savepoint s`)
		query(tx, `insert into t (v) values ($1)`, "in a transaction")
		query(tx, `select 1`)
		query(tx, `rollback to s`)
		out.add("commit %s", allOf(tx.Commit()))
		tx, err = db.Begin()
		require.NoError(t, err)
		query(tx, `insert into late values (1), (1)`)
		out.add("commit %s", allOf(tx.Commit()))
		tx, err = db.Begin()
		require.NoError(t, err)
		copied, err := tx.Prepare(`copy t (v) from stdin`)
		require.NoError(t, err)
		for i := range 1000 {
			_, err := copied.Exec(fmt.Sprint("copied ", i))
			require.NoError(t, err)
		}
		_, err = copied.Exec()
		out.add("copy %s %s %s", allOf(err), allOf(copied.Close()), allOf(tx.Commit()))
		named, err := db.Prepare(`select count(*) from t where id > $1`)
		require.NoError(t, err)
		for i := range 2 {
			var n int
			require.NoError(t, named.QueryRow(i).Scan(&n))
			out.add("prepared %d", n)
		}
		require.NoError(t, named.Close())

		db.SetMaxOpenConns(4)
		var clients sync.WaitGroup
		for i := range 8 {
			clients.Go(func() {
				if _, err := db.Exec(`insert into t (v) values ($1)`, fmt.Sprint("parallel ", i)); err != nil {
					t.Error(err)
				}
			})
		}
		clients.Wait()
		query(db, `select count(*) from t where v like 'parallel %'`)
		listener := pq.NewListener(url, time.Second, time.Minute, nil)
		defer listener.Close()
		require.NoError(t, listener.Listen("news"))
		_, err = db.Exec(`notify news, 'one'`)
		require.NoError(t, err)
		n := <-listener.Notify
		out.add("notified %s %s", n.Channel, n.Extra)
		return out
	})
	wiretest.Varied(t, told)
}

func allOf(err error) string {
	var e *pq.Error
	if errors.As(err, &e) {
		return fmt.Sprintf("%s %s %s | %s | %s | %s | %s | %s | %s | %s | %s %s %s", e.Severity, e.Code, e.Message, e.Detail, e.Hint, e.Position, e.Where,
			e.Table, e.Column, e.Constraint, e.File, e.Line, e.Routine)
	}
	return fmt.Sprint(err)
}

// TestPsql: scripts tell psql the same on each of the ways.
func TestPsql(t *testing.T) {
	if _, err := exec.LookPath("psql"); err != nil {
		t.Skip("there is no psql; try: apt-get install postgresql-client")
	}
	scripts, err := filepath.Glob("testdata/psql/*.sql")
	require.NoError(t, err)
	arguments := []string{"-X", "-a"}
	for _, script := range scripts {
		script, err = filepath.Abs(script)
		require.NoError(t, err)
		arguments = append(arguments, "-f", script)
	}
	differs := regexp.MustCompile(`(?m)^You are .*$|from server process with PID \d+|lo_\w+ \d+|large object \d+`) // on each way
	told := eachWay(t, schema, wiretest.Same, func(t *testing.T, url string) []string {
		psql := exec.CommandContext(t.Context(), "psql", append(arguments, "-c", "select pg_terminate_backend(pg_backend_pid())", "-d", url)...)
		psql.Dir = t.TempDir()
		psql.Env = append(os.Environ(), "LC_ALL=C")
		out, _ := psql.CombinedOutput()
		require.Equal(t, 2, psql.ProcessState.ExitCode(), "%s", out) // its connection was lost in the end
		return strings.Split(differs.ReplaceAllString(string(out), "…"), "\n")
	})
	wiretest.Varied(t, told)
}

const counters = `create table t (id int primary key, n int not null); insert into t select i, 0 from generate_series(1, 10) i;
	create table made (id int generated always as identity primary key, v int)`

// pgbench runs scripts, as often as is said, and returns what it has made of the counters.
func pgbench(t *testing.T, url string, transactions int, arguments ...string) string {
	program, err := exec.LookPath("pgbench")
	if err != nil {
		t.Skip("there is no pgbench; try: apt-get install postgresql-contrib")
	}
	arguments = append(arguments, "-n", "-c", "4", "-t", strconv.Itoa(transactions), "--random-seed=7", url)
	out, err := exec.CommandContext(t.Context(), program, arguments...).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), fmt.Sprintf("actually processed: %d/%[1]d\n", 4*transactions))
	require.Contains(t, string(out), "failed transactions: 0 ")
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var updated, made int
	require.NoError(t, conn.QueryRow(t.Context(), `select sum(n), (select count(*) from made) from t`).Scan(&updated, &made))
	return fmt.Sprint(updated, made)
}

// TestPgbench: pgbench does what it does, in all its modes, on each of the ways.
func TestPgbench(t *testing.T) {
	eachWay(t, counters, wiretest.SameInAnyOrder, func(t *testing.T, url string) (did []string) {
		for _, arguments := range [][]string{
			{"-M", "simple", "-f", "testdata/pgbench/several.sql"},
			{"-M", "simple", "-f", "testdata/pgbench/several.sql", "-C"}, // a connection for each transaction
			{"-M", "extended", "-f", "testdata/pgbench/pipeline.sql"},
			{"-M", "prepared", "-f", "testdata/pgbench/pipeline.sql"},
		} {
			did = append(did, pgbench(t, url, 15, append(arguments, "-f", "testdata/pgbench/block.sql", "-f", "testdata/pgbench/variables.sql")...))
		}
		return did
	})
}

// TestPgbenchRetries: what cannot be serialized is tried again by pgbench until it can, and nothing else goes wrong.
func TestPgbenchRetries(t *testing.T) {
	servertest.Slow(t)
	same := func(t testing.TB, _, told []wiretest.Told) { // which fails, and when, is nobody's choice
		for _, line := range slices.Concat(told...) {
			require.True(t, !strings.HasPrefix(line, "error ") || strings.Contains(line, " Code:40001 ") || strings.Contains(line, " Code:40P01 "), line)
		}
	}
	eachWay(t, counters, same, func(t *testing.T, url string) (did []string) {
		for _, mode := range []string{"simple", "extended", "prepared"} {
			did = append(did, pgbench(t, url, 5, "-f", "testdata/pgbench/serializable.sql", "-M", mode, "--max-tries=1000"))
		}
		return did
	})
}

// TestPgbenchTables: pgbench makes its own tables by COPY, and runs its own transactions on them.
func TestPgbenchTables(t *testing.T) {
	servertest.Slow(t)
	eachWay(t, counters, wiretest.SameInAnyOrder, func(t *testing.T, url string) []string {
		out, err := exec.CommandContext(t.Context(), "pgbench", "-i", "-I", "dtgvp", "-q", url).CombinedOutput()
		require.NoError(t, err, string(out))
		return []string{pgbench(t, url, 10, "-b", "tpcb-like", "-b", "simple-update", "-b", "select-only")}
	})
}
