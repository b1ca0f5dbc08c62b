//go:build unix

package target_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/stress"
	"github.com/interlock-pg/interlock/harness/target"
)

func raced(t *testing.T, f *target.File) race.Workload {
	t.Helper()
	w, err := f.Workload(nil)
	require.NoError(t, err)
	return w
}

// An application that does not answer, or has a lock in the way after it has answered, keeps a round waiting no longer than its limit, whatever the round
// is at. The error says what it waited for, and nothing of the application is in the way of what is run next.
func TestStressIsNotKeptWaiting(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, tables)
	a, err := stress.Open(t.Context(), db)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close(context.Background())) })
	const invariant = "\ninvariants: [{name: one, sql: select name from things group by name having count(*) > 1}]"
	for _, test := range []struct {
		name, file string
		want       []string
	}{
		{
			"greeting", `clients: [{copies: 2, requests: [{path: /healthz}, {name: wait, path: /never}]}]`,
			[]string{"rehearsing client A: wait: not answered within 300ms; try the request while the application runs"},
		},
		{
			"reset", "clients: [{copies: 2, requests: [{path: /healthz}]}]\nreset: {request: {method: POST, path: /never}}",
			[]string{"resetting the application: POST /never: not answered within 300ms; try the request while the application runs"},
		},
		{
			"rows put back", "clients: [{copies: 2, requests: [{method: POST, path: /leave, json: select from things for key share}]}]\nreset: {sql: \"insert into things values (1, 'x')\"}",
			[]string{"resetting ", "lock timeout", "is still in a transaction (idle in transaction: begin; select from things for key share); does it forget to end one?"},
		},
		{
			"starting rows", "clients: [{copies: 2, requests: [{method: POST, path: /leave, json: select pg_advisory_lock_shared(1)}]}]\nreset: {sql: select pg_advisory_xact_lock(1)}",
			[]string{"the SQL of reset: ", "lock timeout", "is still in a transaction (idle in transaction: begin; select pg_advisory_lock_shared(1)); does it forget to end one?"},
		},
		{
			"judging", "clients: [{requests: [{method: POST, path: /leave, json: lock table things}]}, {requests: [{path: /healthz}]}]\nreset: {warm: false}" + invariant,
			[]string{"invariant one: ", "lock timeout", "is still in a transaction (idle in transaction: begin; lock table things); does it forget to end one?"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cell, err := a.Cell(ctx, raced(t, load(t, "", test.file)), 0, stress.Config{Seed: 1, Rounds: 3, Limit: 300 * time.Millisecond})
			require.NoError(t, err)
			for _, want := range append(test.want, "round 1: ") {
				require.Contains(t, cell.Trouble, want)
			}
			require.Equal(t, history.Unknown, cell.Verdict)

			cell, err = a.Cell(ctx, raced(t, load(t, "", "clients: [{copies: 2, requests: [{path: /healthz}]}]"+invariant)), 0, stress.Config{Seed: 1, Rounds: 2})
			require.NoError(t, err)
			require.Empty(t, cell.Trouble)
			require.Equal(t, history.Held, cell.Verdict)
		})
	}
}

// Where rounds are to begin with empty pools and caches, each has a process of its own.
func TestStressOfAColdApplication(t *testing.T) {
	t.Parallel()
	a, err := stress.Open(t.Context(), servertest.Database(t, tables))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close(context.Background())) })
	for _, test := range []struct {
		reset     string
		processes int
	}{{"{warm: false}", 3}, {"{warm: true}", 1}} {
		f := load(t, "", `clients: [{copies: 2, requests: [{path: /self, row: "$.pids[0]"}]}]`+"\nreset: "+test.reset)
		cell, err := a.Cell(t.Context(), raced(t, f), 0, stress.Config{Seed: 1, Rounds: 3, For: time.Minute})
		require.NoError(t, err)
		require.Empty(t, cell.Trouble)
		processes := map[string]bool{}
		for _, round := range cell.Rounds {
			for _, op := range round.Operations {
				require.Equal(t, "done", op.Outcome)
				processes[op.Row] = true
			}
		}
		require.Len(t, processes, test.processes, test.reset)
	}
}
