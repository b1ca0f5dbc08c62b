package explore

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

func TestShowsLayout(t *testing.T) {
	for sql, shows := range map[string]bool{
		`select id from t limit 1`:                                      true,
		`select id from t fetch first row only`:                         true,
		`select id from t where a is distinct from b limit 1`:           true,
		`select distinct on (a) a, b from t`:                            true,
		`select array_agg(id) from t`:                                   true,
		`select string_agg(a, ',') from t where a is distinct from 'b'`: true,
		`select array(select id from t)`:                                true,
		`select id from t order by at, id limit 1`:                      false,
		`update t set a = 1 where a is not distinct from b`:             false,
		`select count(*) from t`:                                        false,
	} {
		require.Equal(t, shows, showsLayout(sql), sql)
	}
}

// However many rows a run has left, those of the next one lie where they did in the first; also where somebody may still see what was deleted, and the
// server cannot give its space back.
func TestFlatten(t *testing.T) {
	template := servertest.Template(t, `
		create table ledger (id int primary key, by int);
		create table notes (ledger int references ledger, text text);
		insert into ledger values (1, 1), (2, 2);
		create table t (id int primary key, v int); create index on t (v);
		analyze ledger`)
	st, err := openStage(t.Context(), template)
	require.NoError(t, err)
	defer func() { require.NoError(t, st.Close(context.Background())) }()
	st.exact = true
	scenario := race.Scenario{Start: func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `insert into t select i, 0 from generate_series(1, 3) i; insert into notes values (1, 'a')`)
		return err
	}}
	places := func() (out []string) {
		require.NoError(t, st.prepare(t.Context(), scenario))
		rows, err := st.arena.Control.Query(t.Context(), `select 'ledger ' || id || ctid from ledger union all select 't ' || id || ctid from t
			union all select 'notes ' || text || ctid from notes order by 1`)
		require.NoError(t, err)
		out, err = pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return out
	}
	spoil := func() {
		_, err := st.arena.Control.Exec(t.Context(), `update t set v = v + 1; insert into t select i, i from generate_series(10, 2000) i;
			update ledger set by = by + 1; update notes set text = text`)
		require.NoError(t, err)
	}
	sizes := func() (out []string) {
		rows, err := st.arena.Control.Query(t.Context(), `select format('%s %s %s', relname, relpages, reltuples) from pg_class
			where relname ~ '^(ledger|notes|t)(_|$)' order by 1`)
		require.NoError(t, err)
		out, err = pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return out
	}
	planned := sizes()
	require.Contains(t, planned, "ledger 1 2")
	require.Contains(t, planned, "t 0 -1")
	first := places()
	require.Len(t, first, 6)
	for range 3 {
		spoil()
		require.Equal(t, first, places())
		require.Equal(t, planned, sizes(), "the planner thinks of them as it did")
	}
	st.exact = false
	spoil()
	require.NotEqual(t, first, places(), "the control: deleted rows are in the way")

	st.exact = true
	spoil()
	tx, err := st.arena.Watcher.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `select 1 from pg_class`)
	require.NoError(t, err)
	require.Equal(t, first, places())
	require.Equal(t, planned, sizes())
	require.NoError(t, tx.Rollback(t.Context()))
}
