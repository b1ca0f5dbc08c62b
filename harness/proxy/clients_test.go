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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/lib/pq"
	"github.com/stretchr/testify/require"
)

// TestPQ: database/sql with lib/pq is told the same on each of the ways.
func TestPQ(t *testing.T) {
	eachWay(t, schema, ways, func(t *testing.T, url string) []string {
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
}

func allOf(err error) string {
	var e *pq.Error
	if errors.As(err, &e) {
		return fmt.Sprintf("%s %s %s | %s | %s | %s | %s | %s | %s | %s | %s %s %s", e.Severity, e.Code, e.Message, e.Detail, e.Hint, e.Position, e.Where,
			e.Table, e.Column, e.Constraint, e.File, e.Line, e.Routine)
	}
	return fmt.Sprint(err)
}

// script is for psql.
const script = `\set VERBOSITY verbose
\set SHOW_CONTEXT always
select 1 as one, null as two;
insert into t (v) values ('a') returning id;
insert into t (v) values ('a');
select noisy(2);
begin; insert into t (v) values ('b'); savepoint s; insert into t (v) values ('b'); rollback to s; commit;
begin isolation level repeatable read;
select count(*) from t;
select 1/0;
select 1;
rollback;
select 1 \; select 2 \; select 1/0;
insert into late values (1), (1);
copy t (v) from stdin;
x
y
\.
copy (select v from t order by v) to stdout;
\copy t (v) from program 'seq 1 5000'
\copy t (v) from program 'echo 1'
select count(*), min(v) from t;
prepare p as select count(*) from t where id > $1;
execute p (1);
\set FETCH_COUNT 100
select id from t where id < 1000 order by id;
\unset FETCH_COUNT
select 'select ' || i from generate_series(1, 3) i \gexec
listen news;
notify news, 'payload';
select v, n from t limit 1 \gdesc
\echo :SQLSTATE :LAST_ERROR_MESSAGE :ROW_COUNT
\d t
\dt
vacuum t;
do $$ begin raise warning 'from do'; end $$;
create table late (id int);
set application_name = 'psql again';
\conninfo
\c
select current_user, application_name from pg_stat_activity where pid = pg_backend_pid();
`

// TestPsql: a script tells psql the same on each of the ways.
func TestPsql(t *testing.T) {
	if _, err := exec.LookPath("psql"); err != nil {
		t.Skip("there is no psql; try: apt-get install postgresql-client")
	}
	where := regexp.MustCompile(`(?m)^You are .*$|from server process with PID \d+`) // the same for nobody
	eachWay(t, schema, ways, func(t *testing.T, url string) []string {
		psql := exec.CommandContext(t.Context(), "psql", "-X", "-a", "-d", url)
		psql.Stdin = strings.NewReader(script)
		psql.Env = append(os.Environ(), "LC_ALL=C")
		out, err := psql.CombinedOutput()
		require.NoError(t, err, string(out))
		return strings.Split(where.ReplaceAllString(string(out), "…"), "\n")
	})
}

// TestPgbench: pgbench does what it does, in all its modes, on each of the ways.
func TestPgbench(t *testing.T) {
	pgbench, err := exec.LookPath("pgbench")
	if err != nil {
		t.Skip("there is no pgbench; try: apt-get install postgresql-contrib")
	}
	file := filepath.Join(t.TempDir(), "script.sql")
	require.NoError(t, os.WriteFile(file, []byte(`
\set id random(1, 10)
begin;
update t set n = n + 1 where id = :id;
select n from t where id = :id \gset
commit;
insert into made (v) values (:n);
`), 0o600))
	pipeline := filepath.Join(t.TempDir(), "pipeline.sql")
	require.NoError(t, os.WriteFile(pipeline, []byte(`
\set id random(1, 10)
\startpipeline
update t set n = n + 1 where id = :id;
insert into made (v) values (0);
\endpipeline
`), 0o600))
	eachWay(t, `create table t (id int primary key, n int not null); insert into t select i, 0 from generate_series(1, 10) i;
		create table made (id int generated always as identity primary key, v int)`, ways, func(t *testing.T, url string) []string {
		for _, mode := range []string{"simple", "extended", "prepared"} {
			files := []string{"-f", file}
			if mode != "simple" {
				files = append(files, "-f", pipeline)
			}
			arguments := slices.Concat([]string{"-n", "-c", "4", "-t", "20", "-M", mode}, files, []string{url})
			out, err := exec.CommandContext(t.Context(), pgbench, arguments...).CombinedOutput()
			require.NoError(t, err, string(out))
			require.Contains(t, string(out), "actually processed: 80/80")
			require.Contains(t, string(out), "failed transactions: 0 ")
		}
		conn, err := pgx.Connect(t.Context(), url)
		require.NoError(t, err)
		defer conn.Close(t.Context())
		var updated, made int
		require.NoError(t, conn.QueryRow(t.Context(), `select sum(n), (select count(*) from made) from t`).Scan(&updated, &made))
		return []string{fmt.Sprint(updated, made)}
	})
}
