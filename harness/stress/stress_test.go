package stress_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/leanovate/gopter/gen"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/stress"
)

func TestMain(m *testing.M) { servertest.Main(m, func() error { return goleak.Find() }) }

// setup returns an arena on a fresh database with one table.
func setup(t *testing.T) *stress.Arena {
	t.Helper()
	db := servertest.Database(t, `create table slots (id serial primary key, slot int not null, owner text not null)`)
	arena, err := stress.Open(t.Context(), db)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, arena.Close(context.Background())) })
	return arena
}

var oneOwner = race.Invariant{
	Name: "one owner", Says: "a slot has one owner at most",
	SQL: `select slot, count(*), string_agg(owner, ',' order by owner) as owners from slots group by slot having count(*) > 1`,
}

// take is check-then-insert; locked makes it safe.
func take(slot int, owner string, locked bool) race.Operation {
	return race.Operation{
		Kind: "take", Input: slot, Slot: fmt.Sprint(slot), Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
			taken := errors.New("taken")
			err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				if locked {
					if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, slot); err != nil {
						return err
					}
				}
				var n int
				if err := tx.QueryRow(ctx, `select count(*) from slots where slot = $1`, slot).Scan(&n); err != nil {
					return err
				}
				if n > 0 {
					return taken
				}
				_, err := tx.Exec(ctx, `insert into slots (slot, owner) values ($1, $2)`, slot, owner)
				return err
			})
			switch {
			case errors.Is(err, taken):
				return race.Answer{Outcome: race.Conflict}
			case err != nil:
				return race.Answer{Err: err}
			}
			return race.Answer{Outcome: race.Created}
		},
	}
}

// slots has each client take the slots that it names, one after another.
func slots(locked bool) race.Workload {
	inputs := gen.SliceOfN(4, gen.SliceOfN(2, gen.IntRange(1, 3)))
	w := race.Define("slots", inputs.WithShrinker(gen.SliceShrinker(gen.SliceShrinker(gen.IntShrinker))), func(wants [][]int) race.Scenario {
		s := race.Scenario{Invariants: []race.Invariant{oneOwner}}
		for i, wanted := range wants {
			client := race.Client{}
			for _, slot := range wanted {
				client.Operations = append(client.Operations, take(slot, fmt.Sprint(i), locked))
			}
			s.Clients = append(s.Clients, client)
		}
		return s
	})
	return w
}

func TestCellCatchesAndShrinksTheRace(t *testing.T) {
	t.Parallel()
	cell, err := setup(t).Cell(t.Context(), slots(false), 1, stress.Config{Seed: 1, For: 10 * time.Second, Shrink: 10 * time.Second})
	require.NoError(t, err)
	require.Empty(t, cell.Trouble)
	require.Equal(t, history.Violated, cell.Verdict)
	require.False(t, cell.AsExpected)
	require.Len(t, cell.Counterexamples, 1)
	example := cell.Counterexamples[0]
	require.Equal(t, 2, example.Clients)
	require.Positive(t, example.Reproduced)
	require.NotEmpty(t, example.Round.Violations)
	require.Greater(t, len(example.Found.Operations), len(example.Round.Operations))
}

func TestCellHoldsWithTheDefence(t *testing.T) {
	t.Parallel()
	cell, err := setup(t).Cell(t.Context(), slots(true), 1, stress.Config{Seed: 1, Rounds: 50, For: time.Minute})
	require.NoError(t, err)
	require.Equal(t, history.Held, cell.Verdict, "%+v", cell)
	require.True(t, cell.AsExpected)
	require.Equal(t, 50, cell.Coverage.Rounds)
	require.Equal(t, 50*8, cell.Coverage.Operations)
	require.Zero(t, cell.Coverage.Outcomes["failed"])
	require.Positive(t, cell.Coverage.Looks)
}

func TestAControlThatIsNotCaughtIsNotAsExpected(t *testing.T) {
	t.Parallel()
	arena := setup(t)
	for name, expect := range map[string]race.Expectation{"named": {Break: []string{"one owner"}}, "any": {Control: true}} {
		w := slots(true)
		w.Expect = func(int64) race.Expectation { return expect }
		cell, err := arena.Cell(t.Context(), w, 1, stress.Config{Seed: 1, Rounds: 10, For: 200 * time.Millisecond})
		require.NoError(t, err, name)
		require.Equal(t, history.Held, cell.Verdict, name)
		require.False(t, cell.AsExpected, name)

		w = slots(false)
		w.Expect = func(int64) race.Expectation { return expect }
		cell, err = arena.Cell(t.Context(), w, 1, stress.Config{Seed: 1, For: 10 * time.Second})
		require.NoError(t, err, name)
		require.Equal(t, history.Violated, cell.Verdict, name)
		require.True(t, cell.AsExpected, name)
		require.Len(t, cell.Counterexamples, 1, name)
	}
}

func TestSameSeedSameInputs(t *testing.T) {
	t.Parallel()
	inputs := func(seed int64) (out []string) {
		cell, err := setup(t).Cell(t.Context(), slots(true), 1, stress.Config{Seed: seed, Rounds: 10, For: time.Minute})
		require.NoError(t, err)
		for _, round := range cell.Rounds {
			out = append(out, string(round.Input))
		}
		return out
	}
	require.Len(t, inputs(5), 10)
	require.Equal(t, inputs(5), inputs(5))
	require.NotEqual(t, inputs(5), inputs(6))
}

// one returns a scenario of one client with one operation.
func one(do func(ctx context.Context, conn *pgx.Conn) race.Answer) race.Scenario {
	return race.Scenario{
		Clients:    []race.Client{{Name: "A", Operations: []race.Operation{{Kind: "act", Do: do}}}},
		Invariants: []race.Invariant{oneOwner},
	}
}

func TestPlayReportsTrouble(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	arena := setup(t)
	forever := make(chan struct{})
	t.Cleanup(func() { close(forever) })
	for name, c := range map[string]struct {
		scenario race.Scenario
		says     string
	}{
		"a panic": {one(func(context.Context, *pgx.Conn) race.Answer { panic("oh no") }), "client A, operation 1 (act): panicked: oh no"},
		"an open transaction": {one(func(ctx context.Context, conn *pgx.Conn) race.Answer {
			_, err := conn.Exec(ctx, `begin`)
			return race.Answer{Err: err}
		}), "left a transaction open"},
		"a client that waits": {one(func(ctx context.Context, conn *pgx.Conn) race.Answer {
			<-ctx.Done()
			return race.Answer{Err: ctx.Err()}
		}), "did not finish within"},
		"a client that hangs": {one(func(context.Context, *pgx.Conn) race.Answer {
			<-forever
			return race.Answer{}
		}), `hangs in "act"`},
		"starting rows": {race.Scenario{Start: func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, `insert into nowhere values (1)`)
			return err
		}}, "starting rows"},
		"an invariant that is no query": {race.Scenario{
			Clients:    one(func(context.Context, *pgx.Conn) race.Answer { return race.Answer{} }).Clients,
			Invariants: []race.Invariant{{Name: "bad", SQL: "select from from"}},
		}, "invariant bad"},
	} {
		limit := time.Minute
		if strings.HasPrefix(name, "a client that") {
			limit = 300 * time.Millisecond
		}
		_, err := arena.Play(t.Context(), c.scenario, limit)
		require.ErrorContains(t, err, c.says, name)
	}
	round, err := arena.Play(t.Context(), one(func(context.Context, *pgx.Conn) race.Answer { return race.Answer{} }), time.Minute)
	require.NoError(t, err, "the arena is of use after trouble")
	require.Equal(t, "done", round.Operations[0].Outcome)
}

func TestTroubleMakesTheVerdictUnknown(t *testing.T) {
	t.Parallel()
	w := race.Fixed("bad", func() race.Scenario { return one(func(context.Context, *pgx.Conn) race.Answer { panic("oh no") }) })
	cell, err := setup(t).Cell(t.Context(), w, 0, stress.Config{})
	require.NoError(t, err)
	require.Equal(t, history.Unknown, cell.Verdict)
	require.False(t, cell.AsExpected)
	require.Contains(t, cell.Trouble, "oh no")
}

// A violation that happens once and never again is not reported as a finding.
func TestAViolationThatDoesNotRepeatIsUnknown(t *testing.T) {
	t.Parallel()
	var once sync.Once
	w := race.Fixed("luck", func() race.Scenario {
		return one(func(ctx context.Context, conn *pgx.Conn) race.Answer {
			var err error
			once.Do(func() { _, err = conn.Exec(ctx, `insert into slots (slot, owner) values (1, 'A'), (1, 'B')`) })
			return race.Answer{Err: err}
		})
	})
	cell, err := setup(t).Cell(t.Context(), w, 0, stress.Config{Seed: 1})
	require.NoError(t, err)
	require.Equal(t, history.Unknown, cell.Verdict)
	require.Zero(t, cell.Counterexamples[0].Reproduced)
}

// Where no round can be judged any more, it is not waited for two hundred of them.
func TestAViolationThatIsFollowedByTroubleIsUnknown(t *testing.T) {
	t.Parallel()
	plays := 0
	w := race.Fixed("luck", func() race.Scenario {
		plays++
		s := one(func(ctx context.Context, conn *pgx.Conn) race.Answer {
			_, err := conn.Exec(ctx, `insert into slots (slot, owner) values (1, 'A'), (1, 'B')`)
			return race.Answer{Err: err}
		})
		start := s.Start
		s.Start = func(ctx context.Context, conn *pgx.Conn) error {
			if plays > 2 { // the first asks what the scenario is like
				return errors.New("oh no")
			}
			if start == nil {
				return nil
			}
			return start(ctx, conn)
		}
		return s
	})
	cell, err := setup(t).Cell(t.Context(), w, 0, stress.Config{Seed: 1})
	require.NoError(t, err)
	require.Equal(t, history.Unknown, cell.Verdict)
	require.Zero(t, cell.Counterexamples[0].Reproduced)
	require.Less(t, cell.Counterexamples[0].Repeated, 10)
}

func TestPlayShowsOutcomesToInvariants(t *testing.T) {
	t.Parallel()
	arena := setup(t)
	failing := race.Operation{Kind: "fail", Slot: "s", Subject: "d", Input: map[string]any{"n": 1}, Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
		_, err := conn.Exec(ctx, `select 1/0`)
		return race.Answer{Err: err, Row: "r1", Attempts: 3}
	}}
	s := race.Scenario{
		Clients: []race.Client{{Name: "A", Operations: []race.Operation{failing}}},
		Invariants: []race.Invariant{{
			Name: "none fails", Outcomes: true,
			SQL: `select client, number, kind, slot, subject, input->>'n' as n, outcome, row_id, sqlstate, message, attempts, returned >= invoked as ordered, null as nothing
				from interlock_outcomes where outcome = 'failed'`,
		}},
	}
	for range 2 { // outcomes of the round before are gone
		round, err := arena.Play(t.Context(), s, time.Minute)
		require.NoError(t, err)
		require.Len(t, round.Violations, 1)
		v := round.Violations[0]
		require.Equal(t, history.AtRest, v.Moment)
		require.Equal(t, 1, v.Rows.Total)
		var got []string
		for _, cell := range v.Rows.Rows[0][:12] {
			got = append(got, *cell)
		}
		require.Equal(t, []string{"A", "0", "fail", "s", "d", "1", "failed", "r1", "22012", "division by zero", "3", "t"}, got)
		require.Nil(t, v.Rows.Rows[0][12])
	}
}

func TestTheWatcherSeesWhatIsGoneAtRest(t *testing.T) {
	t.Parallel()
	arena := setup(t)
	s := race.Scenario{
		Clients: []race.Client{{Name: "A", Operations: []race.Operation{
			{Kind: "break", Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
				_, err := conn.Exec(ctx, `insert into slots (slot, owner) values (1, 'A'), (1, 'B')`)
				return race.Answer{Err: err}
			}},
			{Kind: "mend", Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
				var n int64
				for n == 0 { // the sequence tells that the watcher has been by
					if err := conn.QueryRow(ctx, `select coalesce(pg_sequence_last_value('watched'), 0)`).Scan(&n); err != nil {
						return race.Answer{Err: err}
					}
				}
				_, err := conn.Exec(ctx, `delete from slots`)
				return race.Answer{Err: err}
			}},
		}}},
		Invariants: []race.Invariant{{Name: "one owner", SQL: `select slot, nextval('watched') from slots group by slot having count(*) > 1`}},
		Start: func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, `create sequence if not exists watched`)
			return err
		},
	}
	round, err := arena.Play(t.Context(), s, time.Minute)
	require.NoError(t, err)
	require.Len(t, round.Violations, 1)
	require.Equal(t, history.Running, round.Violations[0].Moment)
}

func TestSettingsOfASessionAreThoseOfItsRound(t *testing.T) {
	t.Parallel()
	arena := setup(t)
	zone := func(settings map[string]string) (got string) {
		s := one(func(ctx context.Context, conn *pgx.Conn) race.Answer {
			return race.Answer{Err: conn.QueryRow(ctx, `select current_setting('TimeZone')`).Scan(&got)}
		})
		s.Clients[0].Settings = settings
		_, err := arena.Play(t.Context(), s, time.Minute)
		require.NoError(t, err)
		return got
	}
	require.Equal(t, "UTC", zone(nil))
	require.Equal(t, "Asia/Seoul", zone(map[string]string{"TimeZone": "Asia/Seoul"}))
	require.Equal(t, "UTC", zone(nil))
}

func TestInterruption(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	w := race.Fixed("stop", func() race.Scenario {
		return one(func(ctx context.Context, _ *pgx.Conn) race.Answer {
			cancel()
			<-ctx.Done()
			return race.Answer{Err: ctx.Err()}
		})
	})
	_, err := setup(t).Cell(ctx, w, 0, stress.Config{})
	require.ErrorIs(t, err, context.Canceled)
}
