package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/wire/wiretest"
)

const schema = `
	create table t (id int generated always as identity primary key, v text constraint v_unique unique, n numeric, at timestamptz, b bytea,
		j jsonb, a text[]);
	create table late (id int constraint late_unique unique deferrable initially deferred);
	create function noisy(n int) returns int language plpgsql as $$ begin
		for i in 1..n loop raise notice 'notice %', i using detail = 'a detail', hint = 'a hint', errcode = '01234'; end loop; return n; end $$;
`

// told is an error as a client sees it, with all its fields.
func told(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return fmt.Sprintf("%+v", *pg)
	}
	return fmt.Sprint(err)
}

// TestPgx: pgx is told the same in all its modes, on each of the ways.
func TestPgx(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec,
		pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			told := eachWay(t, schema, wiretest.Same, func(t *testing.T, url string) []string { return talkPgx(t, url, mode) })
			wiretest.Varied(t, told)
		})
	}
}

func talkPgx(t *testing.T, url string, mode pgx.QueryExecMode) []string {
	var out lines
	ctx := t.Context()
	config, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	config.DefaultQueryExecMode = mode
	config.RuntimeParams["application_name"] = "conformance"
	config.RuntimeParams["options"] = "-c lock_timeout=12345"
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { out.add("notice %+v", *n) }
	conn, err := pgx.ConnectConfig(ctx, config)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	status := func() string { return string(conn.PgConn().TxStatus()) }
	query := func(sql string, args ...any) {
		rows, err := conn.Query(ctx, sql, args...)
		if err == nil {
			for rows.Next() {
				values, err := rows.Values()
				out.add("row %v %v", values, err)
			}
			err = rows.Err()
		}
		out.add("%s: %s, %s, %s", sql, rows.CommandTag(), told(err), status())
	}
	exec := func(sql string, args ...any) {
		tag, err := conn.Exec(ctx, sql, args...)
		out.add("%s: %s, %s, %s", sql, tag, told(err), status())
	}
	for _, name := range []string{"server_version", "client_encoding", "application_name", "is_superuser", "TimeZone", "DateStyle"} {
		out.add("%s is %q", name, conn.PgConn().ParameterStatus(name))
	}
	query(`show lock_timeout`)
	query(`select $1::int + 1, $2::text`, 41, "x")
	at := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	for range 2 {
		query(`insert into t (v, n, at, b, j, a) values ($1, $2, $3, $4, $5, $6) returning id, n, at at time zone 'UTC', b, j, a`,
			fmt.Sprint("row ", len(out)), "12.50", at, []byte{0, 1, 255}, `{"a": [1, null]}`, []string{"one", `"two"`})
	}
	query(`select null::int, true, 1.5::float8, 'é✓', ''`)
	query(``)
	exec(`insert into t (v) values ($1)`, "twice")
	exec(`insert into t (v) values ($1)`, "twice")
	exec(`update t set v = v || '!' where v = $1`, "twice")
	query(`select nothing from t`)
	query(`select 1 / (id - id) from t`)
	query(`selec`)
	query(`select noisy($1)`, 2)
	exec(`lock table t`)
	exec(`vacuum t`)
	exec(`insert into late values ($1)`, 1)
	exec(`insert into late values ($1)`, 1)

	tx, err := conn.Begin(ctx)
	require.NoError(t, err)
	exec(`insert into t (v) values ($1)`, "in a transaction")
	inner, err := tx.Begin(ctx)
	require.NoError(t, err)
	exec(`insert into t (v) values ($1)`, "in a transaction")
	exec(`select 1`)
	out.add("rollback to %v %s", inner.Rollback(ctx), status())
	exec(`insert into late values (1), (2)`)
	out.add("commit %s %s", told(tx.Commit(ctx)), status())
	tx, err = conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable})
	require.NoError(t, err)
	exec(`insert into t (v) values ($1)`, "serializable")
	query(`show transaction_isolation`)
	out.add("commit %v %s", tx.Commit(ctx), status())
	query(`select id, v from t order by id`)

	batch := &pgx.Batch{}
	for i := range 5 {
		batch.Queue(`insert into t (v) values ($1)`, fmt.Sprint("batch ", i))
	}
	batch.Queue(`select count(*) from t`)
	batch.Queue(`select 1 / $1::int`, 0)
	batch.Queue(`select 'never'`)
	results := conn.SendBatch(ctx, batch)
	for range batch.Len() {
		tag, err := results.Exec()
		out.add("batch: %s, %s", tag, told(err))
	}
	out.add("batch: %s, %s", told(results.Close()), status())
	query(`select count(*) from t`)

	for range 2 {
		_, err = conn.Prepare(ctx, "named", `select v from t where id = $1`)
		out.add("prepare %v", err)
		query("named", 1)
	}
	out.add("deallocate %v", conn.Deallocate(ctx, "named"))
	all, err := conn.PgConn().Exec(ctx, `select 1; insert into t (v) values ('several'); select 2 where false; select 1/0; select 3`).ReadAll()
	for _, r := range all {
		out.add("several %s %s", r.Rows, r.CommandTag)
	}
	out.add("several %s %s", told(err), status())
	exec(`begin; select 1; commit; select 2`, pgx.QueryExecModeSimpleProtocol)

	rows := pgx.CopyFromSlice(3000, func(i int) ([]any, error) { return []any{fmt.Sprint("copied ", i)}, nil })
	n, err := conn.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"v"}, rows)
	out.add("copy %d %s %s", n, told(err), status())
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"v"}, pgx.CopyFromRows([][]any{{"copied 1"}}))
	out.add("copy %s %s", told(err), status())
	var copied bytes.Buffer
	tag, err := conn.PgConn().CopyTo(ctx, &copied, `copy (select id, v from t order by id limit 2000) to stdout`)
	out.add("copy %s %s %s", tag, told(err), copied.String())
	query(`select count(*), sum(length(repeat(v, 100))) from t`)
	big := strings.Repeat("x", 1<<20)
	var back string
	require.NoError(t, conn.QueryRow(ctx, `select $1::text`, big).Scan(&back))
	require.Equal(t, big, back)

	exec(`listen news`)
	exec(`notify news, 'one'`)
	exec(`select pg_notify('news', $1)`, "two")
	for range 2 {
		got, err := conn.WaitForNotification(ctx)
		require.NoError(t, err)
		out.add("notified %s %s %v", got.Channel, got.Payload, got.PID == conn.PgConn().PID())
	}
	exec(`set application_name = 'another'`)
	out.add("application_name is %q", conn.PgConn().ParameterStatus("application_name"))
	exec(`begin`)
	exec(`declare c cursor for select id from t order by id`)
	query(`fetch 3 from c`)
	exec(`rollback`)

	pipeline := conn.PgConn().StartPipeline(ctx)
	pipeline.SendQueryParams(`select 1`, nil, nil, nil, nil)
	pipeline.SendPipelineSync()
	pipeline.SendQueryParams(`select 1/0`, nil, nil, nil, nil)
	pipeline.SendQueryParams(`select 2`, nil, nil, nil, nil)
	pipeline.SendPipelineSync()
	pipeline.SendQueryParams(`select 3`, nil, nil, nil, nil)
	require.NoError(t, pipeline.Sync())
	for range 5 {
		got, err := pipeline.GetResults()
		if r, ok := got.(*pgconn.ResultReader); ok {
			result := r.Read()
			out.add("pipeline %s %s %s", result.Rows, result.CommandTag, told(result.Err))
		} else {
			out.add("pipeline %T %s", got, told(err))
		}
	}
	out.add("pipeline %s %s", told(pipeline.Close()), status())
	return out
}

// TestPool: the connections of a pool are sessions of their own, and come again when they were closed.
func TestPool(t *testing.T) {
	eachWay(t, `create table t (id int primary key)`, wiretest.SameInAnyOrder, func(t *testing.T, url string) []string {
		config, err := pgxpool.ParseConfig(url)
		require.NoError(t, err)
		config.MaxConns = 4
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		defer pool.Close()
		for round := range 3 {
			var clients sync.WaitGroup
			for i := range 8 {
				clients.Go(func() {
					for n := range 5 {
						if _, err := pool.Exec(t.Context(), `insert into t values ($1)`, round*100+i*10+n); err != nil {
							t.Error(err)
						}
					}
				})
			}
			clients.Wait()
			pool.Reset()
		}
		var n int
		require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from t`).Scan(&n))
		return []string{fmt.Sprint(n)}
	})
}
