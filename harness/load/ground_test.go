package load

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// Outcomes of which the server did not say whether it has them are in the table once, whether it had them or not.
func TestKeepOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	filled, err := fill(ctx, servertest.Server(t).Blank(), race.Stream{})
	require.NoError(t, err)
	g, err := open(ctx, filled, race.Stream{Client: func(int) func() race.Operation { return nil }}, 1, time.Second)
	require.NoError(t, err)
	of := func(n int) record {
		return record{client: n % 2, number: n, kind: "add", outcome: race.Created, attempts: 1}
	}
	numbers := func() []int {
		rows, err := g.control.Query(ctx, `select number from interlock_outcomes order by number`)
		require.NoError(t, err)
		all, err := pgx.CollectRows(rows, pgx.RowTo[int])
		require.NoError(t, err)
		return all
	}
	lose := func(n int) { // the connection, when the outcome was sent
		row, err := of(n).row()
		require.NoError(t, err)
		g.told, g.sent = append(g.told, row), len(g.told)+1
		require.NoError(t, g.control.Close(ctx))
	}

	require.NoError(t, g.keep(ctx, []record{of(0), of(1)}))
	require.Equal(t, []int{0, 1}, numbers())

	require.NoError(t, g.keep(ctx, []record{of(2)}))
	lose(2) // it is there
	require.NoError(t, g.keep(ctx, []record{of(3)}))
	require.Equal(t, []int{0, 1, 2, 3}, numbers())

	lose(4) // it is not
	require.NoError(t, g.keep(ctx, []record{of(5)}))
	require.Equal(t, []int{0, 1, 2, 3, 4, 5}, numbers())
	require.Empty(t, g.told)

	var commit string
	require.NoError(t, g.control.QueryRow(ctx, `show synchronous_commit`).Scan(&commit))
	require.Equal(t, "local", commit)
	require.NoError(t, g.close(ctx))
	require.NoError(t, filled.Drop(ctx))
}
