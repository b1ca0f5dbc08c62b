package load_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/load"
	"github.com/interlock-pg/interlock/harness/race"
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

// What only the answers show is seen when all is over.
func TestLies(t *testing.T) {
	t.Parallel()
	liar := race.Workload{Name: "ledger", Variant: "lies", Stream: func(shape race.Shape) race.Stream {
		s := adding("", "").Stream(shape)
		client := s.Client
		s.Client = func(n int) func() race.Operation {
			next := client(n)
			return func() race.Operation {
				op := next()
				do := op.Do
				op.Do = func(ctx context.Context, conn *pgx.Conn) (answer race.Answer) {
					tx, err := conn.Begin(ctx)
					if err != nil {
						return race.Answer{Err: err}
					}
					answer = do(ctx, conn)
					if err := tx.Rollback(ctx); err != nil {
						return race.Answer{Err: err}
					}
					return answer
				}
				return op
			}
		}
		return s
	}}
	m := measure(t, load.Config{Clients: []int{2}, For: time.Millisecond, Slice: 20 * time.Millisecond, Warmup: 20 * time.Millisecond, Rows: 10}, liar, adding("honest", ""))
	require.Equal(t, history.Violated, m.Arms[0].Verdict)
	require.False(t, m.Arms[0].AsExpected)
	require.Len(t, m.Arms[0].Violations, 1)
	require.Equal(t, "N5", m.Arms[0].Violations[0].Invariant)
	require.Equal(t, history.AtRest, m.Arms[0].Violations[0].Moment)
	require.Equal(t, history.Held, m.Arms[1].Verdict)
}
