//go:build unix

package target_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// The explorer leads an application as a file describes it: it finds the race between its check and its insert, shrinks it to two clients with the
// simplest values, and repeats it; where an index keeps the rows apart, it proves that, and sees what the loser is told.
func TestExplored(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	f := load(t, "", `
generators: {thing: {choice: [AED-1, AED-2]}}
clients:
  - copies: 3
    requests: [{name: create, method: POST, path: /things, json: {name: "{{thing}}"}, row: $.id}]
invariants:
  - {name: one, says: no two things of one name, sql: select name from things group by name having count(*) > 1}
  - {name: no errors, sql: select message from interlock_outcomes where outcome = 'failed', outcomes: true}`)
	w, err := f.Workload(nil)
	require.NoError(t, err)
	config := explore.Config{Workers: 1}
	explorer := func(script string) *explore.Explorer {
		e := explore.New(servertest.Template(t, script))
		t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
		return e
	}
	build := func(clients int) func() race.Scenario {
		return func() race.Scenario {
			in, _ := w.Contend(clients, 1)
			return w.Scenario(in)
		}
	}

	e := explorer(tables)
	three, ok := w.Contend(3, 1)
	require.True(t, ok)
	x, ok, err := e.Counterexample(t.Context(), w, three, "one", explore.Interleaving{}, config)
	require.NoError(t, err)
	require.True(t, ok)
	input, err := w.Decode(x.Round.Input)
	require.NoError(t, err)
	require.Len(t, w.Scenario(input).Clients, 2)
	require.Equal(t, x.Repeated, x.Reproduced)
	t.Logf("%s", x.Round.Input)

	found, err := explorer(tables+`; create unique index on things (name)`).Explore(t.Context(), build(2), config)
	require.NoError(t, err)
	require.NoError(t, found.Err)
	require.True(t, found.Complete)
	require.Zero(t, found.Broken["one"])
	require.Positive(t, found.Broken["no errors"])
	require.Positive(t, found.Outcomes["A created; A 2 failed"])
}
