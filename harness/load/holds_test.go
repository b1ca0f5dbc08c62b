package load_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/load"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// healing breaks an invariant for most of each operation, and heals it before it ends.
func healing(variant string, expect func(int64) race.Expectation) race.Workload {
	return race.Workload{Name: "healing", Variant: variant, Expect: expect, Stream: func(race.Shape) race.Stream {
		return race.Stream{
			Client: func(n int) func() race.Operation {
				return func() race.Operation {
					return race.Operation{Kind: "break and heal", Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
						var err error
						for _, sql := range []string{`insert into notes (device) values (-1)`, `select pg_sleep(0.02)`, `delete from notes where device = -1`} {
							if err == nil {
								_, err = conn.Exec(ctx, sql)
							}
						}
						return race.Answer{Err: err}
					}}
				}
			},
			Invariants: []race.Invariant{
				{Name: "N1", Says: "devices have numbers", SQL: `select id, device from notes where device < 0`},
				{Name: "N2", Says: "notes are few", SQL: `select 1 from (select count(*) from notes) n where count > 1000000`},
			},
		}
	}}
}

// An invariant that is broken while clients run, and is not when they have ended, is seen by the look in the middle.
func TestBrokenWhileRunning(t *testing.T) {
	t.Parallel()
	expects := map[string]func(int64) race.Expectation{
		"nothing":   nil,
		"broken":    func(int64) race.Expectation { return race.Expectation{Hold: []string{"N1"}} },
		"other":     func(int64) race.Expectation { return race.Expectation{Hold: []string{"N2"}} },
		"may break": func(int64) race.Expectation { return race.Expectation{} },
		"control":   func(int64) race.Expectation { return race.Expectation{Break: []string{"N1", "N2"}, Control: true} },
	}
	var workloads []race.Workload
	for _, name := range []string{"nothing", "broken", "other", "may break", "control"} {
		workloads = append(workloads, healing(name, expects[name]))
	}
	m := measure(t, load.Config{Clients: []int{2}, For: time.Millisecond, Slice: 30 * time.Millisecond, Warmup: 30 * time.Millisecond, Rows: 10}, workloads...)
	must, may := history.MustHold, history.MayBreak
	for i, want := range []struct {
		asExpected bool
		expected   []history.Expected
	}{
		{false, []history.Expected{must, must}},
		{false, []history.Expected{must, may}},
		{true, []history.Expected{may, must}},
		{true, []history.Expected{may, may}},
		{true, []history.Expected{may, may}}, // load does not look for what must break
	} {
		a := m.Arms[i]
		require.Equal(t, history.Violated, a.Verdict, a.Variant)
		require.Equal(t, want.asExpected, a.AsExpected, a.Variant)
		require.Len(t, a.Violations, 1, a.Variant)
		require.Equal(t, "N1", a.Violations[0].Invariant)
		require.Equal(t, history.Running, a.Violations[0].Moment)
		require.Equal(t, []string{"id", "device"}, a.Violations[0].Rows.Columns)
		require.Len(t, a.Invariants, 2)
		for j, expected := range want.expected {
			require.Equal(t, expected, a.Invariants[j].Expected)
		}
		require.Equal(t, history.Violated, a.Invariants[0].Verdict)
		require.Positive(t, a.Invariants[0].Broken)
		require.LessOrEqual(t, a.Invariants[0].Broken, a.Looks)
		require.Equal(t, history.Held, a.Invariants[1].Verdict)
		require.GreaterOrEqual(t, a.Looks, 2*load.LeastTurns, "in the middle of each slice and after it")
	}
}

const entries = `create table entries (client int, number int, filler text not null, primary key (client, number))`

// ledger is a workload whose clients enter numbers, each its own. One that lies acknowledges what it has not committed.
func ledger(variant string, lies bool) race.Workload {
	return race.Workload{Name: "ledger", Variant: variant, Stream: func(race.Shape) race.Stream {
		return race.Stream{
			Client: func(n int) func() race.Operation {
				number := -1
				return func() race.Operation {
					number++
					number := number
					return race.Operation{Kind: "enter", Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
						tx, err := conn.Begin(ctx)
						if err != nil {
							return race.Answer{Err: err}
						}
						_, err = tx.Exec(ctx, `insert into entries values ($1, $2, repeat('x', 1500))`, n, number)
						switch {
						case err != nil || lies && number%7 == 0:
							err = errors.Join(err, tx.Rollback(ctx))
						default:
							err = tx.Commit(ctx)
						}
						if err != nil {
							return race.Answer{Err: err}
						}
						return race.Answer{Outcome: race.Created}
					}}
				}
			},
			Invariants: []race.Invariant{
				{Name: "L1", Says: "no entry is empty", SQL: `select client, number from entries where filler = ''`},
				{Name: "L5", Says: "what was acknowledged is there, and nothing that was refused", Outcomes: true, SQL: `
					select client, number, outcome, e.filler is not null as there
					from (select client::int, number, outcome from interlock_outcomes) o full join entries e using (client, number)
					where outcome is null or outcome = 'created' and e.filler is null or outcome not in ('created', 'unknown') and e.filler is not null`},
			},
		}
	}}
}

// What only the answers show is seen when all is over.
func TestLies(t *testing.T) {
	t.Parallel()
	template := servertest.Template(t, entries)
	m, err := load.Run(t.Context(), load.Config{
		Server: servertest.Server(t), Clients: []int{2}, For: time.Millisecond, Slice: 20 * time.Millisecond, Warmup: 20 * time.Millisecond,
		Subjects: []load.Subject{{Workload: ledger("lies", true), Template: template}, {Workload: ledger("honest", false), Template: template}},
	})
	require.NoError(t, err)
	require.Equal(t, history.Violated, m.Arms[0].Verdict)
	require.False(t, m.Arms[0].AsExpected)
	require.Len(t, m.Arms[0].Violations, 1)
	require.Equal(t, "L5", m.Arms[0].Violations[0].Invariant)
	require.Equal(t, history.AtRest, m.Arms[0].Violations[0].Moment)
	require.Equal(t, history.Held, m.Arms[1].Verdict)
}
