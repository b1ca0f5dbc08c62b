package explore_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/leanovate/gopter/gen"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/dsn"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// ownExplorer explores on a server that nobody else is on.
func ownExplorer(t *testing.T, schema string, settings map[string]string) *explore.Explorer {
	template, err := servertest.Own(t, settings).Template(t.Context(), func(ctx context.Context, config *pgx.ConnConfig) error {
		conn, err := pgx.ConnectConfig(ctx, config)
		require.NoError(t, err)
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, schema, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	require.NoError(t, err)
	e := explore.New(template)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	return e
}

// kept is broken by a row that a client was told of, and that is not there.
var kept = race.Invariant{
	Name: "kept", Says: "what was acknowledged is there", Outcomes: true,
	SQL: `select client from interlock_outcomes where outcome = 'created' and not exists (select from taken where slot = '/' || kind)`,
}

// A crash ends the sessions of all clients, held or waiting. What was acknowledged is there afterwards, the application goes on with new connections,
// and the same schedule does the same again.
func TestRestart(t *testing.T) {
	servertest.Slow(t)
	build := func() race.Scenario {
		s := behind(&service{most: 4, handle: take, rehearses: []string{"/s"}}, []string{"/s"}, []string{"/s"})()
		s.Invariants = append(s.Invariants, kept)
		return s
	}
	s := build() // one application, all the time
	again := func() race.Scenario { return s }
	e := ownExplorer(t, unique, nil)
	config := explore.Config{Faults: []history.Fault{history.Restart}, Preemptions: 1}
	if servertest.Thorough() {
		config.Preemptions = 0
	}
	found, err := e.Explore(t.Context(), again, explore.Config{})
	require.NoError(t, err)
	require.NoError(t, found.Err)
	require.Empty(t, found.Broken, "the control")
	found, err = e.Explore(t.Context(), again, config)
	require.NoError(t, err)
	require.NoError(t, found.Err)
	require.Empty(t, found.Broken)
	require.Positive(t, found.Outcomes["A failed; B failed"], "%v", found.Outcomes)
	require.Positive(t, found.Outcomes["A created; B failed"], "%v", found.Outcomes)
	require.Equal(t, 1, found.Workers)

	if servertest.Thorough() {
		repeated, err := e.Explore(t.Context(), again, config)
		require.NoError(t, err)
		require.Equal(t, found.Executed, repeated.Executed)
		require.Equal(t, found.Outcomes, repeated.Outcomes)
	}
	crash := history.Choice(0, history.Restart)
	for _, c := range []struct {
		choices []int
		told    [2]string
	}{
		{[]int{0, 1, 0, crash}, [2]string{"failed", "failed"}},    // before A's COMMIT
		{[]int{0, 1, 0, 1, crash}, [2]string{"failed", "failed"}}, // while B waits for A
		{[]int{0, 0, 0, history.Choice(1, history.Restart)}, [2]string{"created", "failed"}},
	} {
		x, err := e.Play(t.Context(), s, c.choices)
		require.NoError(t, err)
		require.Nil(t, x.Mismatch)
		require.Equal(t, c.told, [2]string{x.Round.Operations[0].Outcome, x.Round.Operations[1].Outcome}, "%v", c.choices)
		last := x.Interleaving.Steps[len(c.choices)-1]
		require.Equal(t, history.Restart, last.Fault)
		require.Equal(t, "the connection was lost before the answer came", last.Message)
	}
}

// Clients that ask Postgres themselves meet it as well.
func TestRestartWithoutApplication(t *testing.T) {
	found, err := ownExplorer(t, unique, nil).Explore(t.Context(), checkThenInsert(2), explore.Config{Faults: []history.Fault{history.Restart}, Preemptions: 1})
	require.NoError(t, err)
	require.NoError(t, found.Err)
	require.Empty(t, found.Broken)
	require.Positive(t, found.Outcomes["A failed; B failed"], "%v", found.Outcomes)
}

// A server of somebody else's is not restarted, neither by a search nor by a replay of what one on ours has found; and a replay that cannot be made has
// not shown that anything is gone.
func TestRestartIsForOwnServers(t *testing.T) {
	srv, err := dsn.Provider{}.Start(t.Context(), server.Config{DSN: servertest.Database(t, "").DSN()})
	require.NoError(t, err)
	defer func() { require.NoError(t, srv.Stop(context.Background())) }()
	require.False(t, srv.Owned)
	template, err := srv.Template(t.Context(), func(ctx context.Context, config *pgx.ConnConfig) error {
		conn, err := pgx.ConnectConfig(ctx, config)
		require.NoError(t, err)
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, unique)
		return err
	})
	require.NoError(t, err)
	e := explore.New(template)
	defer func() { require.NoError(t, e.Close(context.Background())) }()
	build := checkThenInsert(2)
	_, err = e.Explore(t.Context(), build, explore.Config{Faults: []history.Fault{history.Restart}})
	require.ErrorContains(t, err, "not ours to restart")
	choices := []int{history.Choice(0, history.Restart)}
	_, err = e.Play(t.Context(), build(), choices)
	require.ErrorContains(t, err, "not ours to restart")
	w := race.Define("again", gen.Const(1), func(int) race.Scenario { return build() })
	input, err := w.Decode([]byte("1"))
	require.NoError(t, err)
	x := history.Counterexample{Invariant: "one"}
	require.ErrorIs(t, e.Repeat(t.Context(), w, input, choices, 2, &x), explore.ErrTrouble)
}

// An application that gives up waiting and tries again inserts twice, where the first try was only late.
func TestDelay(t *testing.T) {
	servertest.Slow(t)
	impatient := func(ctx context.Context, pool *pgxpool.Pool, r *http.Request) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := pool.Exec(ctx, `insert into taken values ($1, 1)`, r.URL.Path)
		return err
	}
	asked := behind(&service{most: 2, handle: impatient, delay: 2 * time.Second}, []string{"/s"})
	build := func() race.Scenario {
		s := asked()
		s.Clients[0].Operations = []race.Operation{ask("/s", "", true)}
		return s
	}
	e := explorer(t, plain)
	found, err := e.Explore(t.Context(), build, explore.Config{})
	require.NoError(t, err)
	require.NoError(t, found.Err)
	require.Empty(t, found.Broken, "the control")
	found, err = e.Explore(t.Context(), build, explore.Config{Faults: []history.Fault{history.Delay}})
	require.NoError(t, err)
	require.NoError(t, found.Err)
	require.Positive(t, found.Broken["one"], "%v", found.Outcomes)
	late := found.First["one"]
	x, err := e.Play(t.Context(), build(), late.Choices)
	require.NoError(t, err)
	require.True(t, x.Breaks("one"))
}
