package explore_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// Clients that alter the schema find it as it was in every run, and all orders are run. Without saying so, they find what the run before has left.
func TestAlteredSchemas(t *testing.T) {
	servertest.Slow(t)
	build := func(alters bool) func() race.Scenario {
		return func() race.Scenario {
			return race.Scenario{AltersSchema: alters, Clients: []race.Client{
				statements(pgx.ReadCommitted, `create table made (v int)`, `insert into made values (1)`),
				statements(pgx.ReadCommitted, `select * from made`),
			}}
		}
	}
	e := explorer(t, plain)
	for range 2 { // the stages of the first search serve the second
		got, err := e.Explore(t.Context(), build(true), explore.Config{})
		require.NoError(t, err)
		require.Equal(t, string(sched.All), got.Strategy)
		require.True(t, got.Complete)
		require.Equal(t, map[string]int{"A done; B failed": 9, "A done; B done": 1}, got.Outcomes)
	}
	rows, err := e.Explore(t.Context(), readThenInsert(2, pgx.ReadCommitted), explore.Config{AtEnd: true})
	require.NoError(t, err)
	require.Equal(t, 3, rows.Executed)

	got, err := explorer(t, plain).Explore(t.Context(), build(false), explore.Config{Strategy: sched.All})
	require.NoError(t, err)
	require.Contains(t, got.Outcomes, "A failed; B done")
}

// Whoever has prepared finishes, in runs that are cut short as well: what a client leaves open would be in the way of the next run.
func TestPreparedClientsFinish(t *testing.T) {
	var prepared, finished atomic.Int64
	build := func() race.Scenario {
		s := checkThenInsert(2)()
		for i := range s.Clients {
			s.Clients[i].Prepare = func(context.Context, *pgx.Conn) error { prepared.Add(1); return nil }
			s.Clients[i].Finish = func(context.Context, *pgx.Conn) error { finished.Add(1); return nil }
		}
		return s
	}
	e := explorer(t, plain)
	for _, config := range []explore.Config{{}, {Steps: 2}} {
		_, err := e.Explore(t.Context(), build, config)
		require.NoError(t, err)
		require.Positive(t, prepared.Load())
		require.Equal(t, prepared.Load(), finished.Load())
	}
}
