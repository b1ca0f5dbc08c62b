package harness_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/leanovate/gopter/gen"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

var (
	errTaken = errors.New("taken")
	oneSeat  = harness.Invariant{
		Name: "one booking", Says: "a seat is booked at most once",
		SQL: `select seat, count(*) from bookings group by seat having count(*) > 1`,
	}
)

// book looks whether a seat is free, and takes it.
func book(ctx context.Context, conn *pgx.Conn, seat int) harness.Answer {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var n int
		if err := tx.QueryRow(ctx, `select count(*) from bookings where seat = $1`, seat).Scan(&n); err != nil {
			return err
		} else if n > 0 {
			return errTaken
		}
		_, err := tx.Exec(ctx, `insert into bookings values ($1)`, seat)
		return err
	})
	switch {
	case errors.Is(err, errTaken):
		return harness.Answer{Outcome: harness.Conflict}
	case err != nil:
		return harness.Answer{Outcome: harness.Conflict, Err: err}
	}
	return harness.Answer{Outcome: harness.Created}
}

// bookings has clients book the seats that the input names, one after another.
func bookings() harness.Workload {
	operations := gen.SliceOfN(2, gen.IntRange(1, 2)).WithShrinker(gen.SliceShrinker(gen.IntShrinker))
	clients := gen.SliceOfN(3, operations).WithShrinker(gen.SliceShrinker(gen.SliceShrinker(gen.IntShrinker)))
	return harness.Define("bookings", clients, func(seats [][]int) harness.Scenario {
		s := harness.Scenario{Invariants: []harness.Invariant{oneSeat}}
		for _, mine := range seats {
			c := harness.Client{}
			for _, seat := range mine {
				c.Operations = append(c.Operations, harness.Operation{Kind: "book", Input: seat, Do: func(ctx context.Context, conn *pgx.Conn) harness.Answer {
					return book(ctx, conn, seat)
				}})
			}
			s.Clients = append(s.Clients, c)
		}
		return s
	})
}

func stages(schemas ...string) (all []harness.Stage) {
	for i, sql := range schemas {
		stage := harness.Schema(sql)
		stage.Version = int64(i + 1)
		all = append(all, stage)
	}
	return all
}

const (
	without = `create table bookings (seat int)`
	with    = `create table bookings (seat int unique)`
)

// passOn returns a run as it comes out of its file.
func passOn(t *testing.T, run history.Run) history.Run {
	t.Helper()
	var file bytes.Buffer
	require.NoError(t, history.Encode(&file, run))
	again, err := history.Decode(&file)
	require.NoError(t, err)
	return again
}

func TestExplore(t *testing.T) {
	config := harness.Config{
		Server: servertest.Server(t), Workloads: []harness.Workload{bookings()}, Seed: 3, Clients: 3,
		Explore: explore.Config{Limit: 50},
	}
	config.Stages = stages(without)
	run, err := harness.Explore(t.Context(), config)
	require.NoError(t, err)
	require.Equal(t, history.Violated, run.Verdict)
	require.Len(t, run.Cells, 1)
	require.Len(t, run.Cells[0].Counterexamples, 1)
	found := run.Cells[0].Counterexamples[0]
	require.Equal(t, 10, found.Reproduced)
	require.Equal(t, 2, found.Clients, "the shrinker takes a client away")
	require.Len(t, found.Round.Operations, 2, "and operations")
	require.Equal(t, 1, found.Preemptions)
	require.NotNil(t, found.Nearest)
	require.Equal(t, found.Interleaving.Choices()[:found.Parts-1], found.Nearest.Choices()[:found.Parts-1])
	require.NotEqual(t, found.Interleaving.Choices()[found.Parts-1], found.Nearest.Choices()[found.Parts-1])

	t.Run("replay", func(t *testing.T) {
		recorded := passOn(t, run)
		times := 2 // of ten executions each
		if servertest.Thorough() {
			times = 10
		}
		for range times {
			again, err := harness.Replay(t.Context(), config, recorded)
			require.NoError(t, err)
			require.Equal(t, history.Violated, again.Verdict)
			require.Equal(t, 10, again.Cells[0].Counterexamples[0].Reproduced)
		}
	})
	t.Run("gone", func(t *testing.T) {
		fixed := config
		fixed.Stages = stages(with)
		again, err := harness.Replay(t.Context(), fixed, passOn(t, run))
		require.NoError(t, err)
		require.Equal(t, history.Held, again.Verdict)
		require.True(t, again.Cells[0].Explorations[0].Complete)
		require.NotNil(t, again.Cells[0].Counterexamples[0].Nearest, "what happens now")

		fixed.Explore.Limit = 1
		again, err = harness.Replay(t.Context(), fixed, passOn(t, run))
		require.NoError(t, err)
		require.Equal(t, history.Unknown, again.Verdict, "too few orders were looked at to say so")
	})
	t.Run("gone from an application, by a migration", func(t *testing.T) {
		servertest.Slow(t)
		recorded := passOn(t, run)
		recorded.Target = "target.yaml"
		fixed := config
		fixed.Stages = stages(with)
		fixed.Stages[0].Version = 4
		again, err := harness.Replay(t.Context(), fixed, recorded)
		require.NoError(t, err)
		require.Equal(t, history.Held, again.Verdict)
		require.EqualValues(t, 4, again.Cells[0].At)

		fixed.Saved, fixed.Rounds = []history.Run{recorded}, 1
		again, err = harness.Run(t.Context(), fixed)
		require.NoError(t, err)
		require.Len(t, again.Replayed, 1)
		require.Empty(t, again.Replayed[0].Trouble)
		require.Equal(t, history.Held, again.Replayed[0].Verdict)
	})
	t.Run("of another invariant", func(t *testing.T) {
		recorded := passOn(t, run)
		recorded.Cells[0].Counterexamples[0].Invariant = "two bookings"
		_, err := harness.Replay(t.Context(), config, recorded)
		require.ErrorIs(t, err, harness.ErrNotApplicable)
		require.ErrorContains(t, err, "bookings has no invariant two bookings now")
	})
	t.Run("not applicable", func(t *testing.T) {
		elsewhere := config
		elsewhere.Stages[0].Version = 8
		_, err := harness.Replay(t.Context(), elsewhere, passOn(t, run))
		require.ErrorIs(t, err, harness.ErrNotApplicable)
		elsewhere.Stages[0].Version = 1
	})
	t.Run("saved, and not applicable", func(t *testing.T) {
		unnamed, renamed, elsewhere := passOn(t, run), passOn(t, run), passOn(t, run)
		unnamed.Cells[0].Scenario = "rooms"
		renamed.Cells[0].Counterexamples[0].Invariant = "two bookings" // beside which the cell has one that was violated
		elsewhere.Cells[0].At = 8
		again, err := harness.Run(t.Context(), harness.Config{
			Server: config.Server, Stages: stages(with), Workloads: config.Workloads, Seed: 3, Rounds: 1, Saved: []history.Run{unnamed, renamed, elsewhere},
		})
		require.NoError(t, err)
		require.Equal(t, history.Unknown, again.Verdict)
		require.Len(t, again.Replayed, 3)
		for i, name := range []string{oneSeat.Name, "two bookings", oneSeat.Name} {
			cell := again.Replayed[i]
			require.Contains(t, cell.Trouble, "no longer applicable")
			require.Contains(t, cell.Trouble, "; try making the run again, or removing the file")
			require.False(t, cell.AsExpected)
			require.Len(t, cell.Invariants, 1)
			require.Equal(t, name, cell.Invariants[0].Invariant)
			require.Equal(t, history.Unknown, cell.Invariants[0].Verdict)
			require.Zero(t, cell.Counterexamples[0].Reproduced, "it was not repeated")
		}
	})
	t.Run("saved", func(t *testing.T) {
		servertest.Slow(t)
		again, err := harness.Run(t.Context(), harness.Config{
			Server: config.Server, Stages: stages(with), Workloads: config.Workloads, Seed: 3, Rounds: 1, Saved: []history.Run{passOn(t, run)},
		})
		require.NoError(t, err)
		require.Equal(t, history.Held, again.Verdict)
		require.Len(t, again.Replayed, 1)

		broken, err := harness.Run(t.Context(), harness.Config{
			Server: config.Server, Stages: stages(without), Workloads: config.Workloads, Seed: 3, Rounds: 1, Saved: []history.Run{passOn(t, run)},
		})
		require.NoError(t, err)
		require.Equal(t, history.Violated, broken.Replayed[0].Verdict)
		require.False(t, broken.Replayed[0].AsExpected)
	})
}

// What a fault breaks by itself is judged in those orders only in which none has happened, and where clients run free.
func TestUndisturbed(t *testing.T) {
	quiet := harness.Invariant{Name: "quiet", Says: "nobody is told failed", Outcomes: true, Undisturbed: true, SQL: `select 1 from interlock_outcomes where outcome = 'failed'`}
	config := harness.Config{
		Server: servertest.Server(t), Rounds: 1, Seed: 1, Explore: explore.Config{Faults: []history.Fault{history.Terminate}},
		Workloads: []harness.Workload{harness.Fixed("one seat", func() harness.Scenario {
			op := harness.Operation{Kind: "book", Do: func(ctx context.Context, conn *pgx.Conn) harness.Answer {
				if _, err := conn.Exec(ctx, `insert into bookings values (1)`); err != nil {
					return harness.Answer{Outcome: harness.Failed, Err: err}
				}
				return harness.Answer{Outcome: harness.Created}
			}}
			return harness.Scenario{
				Clients:    []harness.Client{{Operations: []harness.Operation{op}}, {Operations: []harness.Operation{op}}},
				Invariants: []harness.Invariant{quiet},
			}
		})},
	}
	for _, play := range []func(context.Context, harness.Config) (history.Run, error){harness.Explore, harness.Run} {
		config.Stages = stages(without)
		run, err := play(t.Context(), config)
		require.NoError(t, err)
		require.Equal(t, history.Held, run.Verdict, "%s %s %+v", run.Trouble, run.Cells[0].Trouble, run.Cells[0].Explorations)
		require.True(t, run.Cells[0].Explorations[0].Complete)
		require.Contains(t, run.Cells[0].Explorations[0].Outcomes, "A failed; B created")

		config.Stages = stages(with)
		run, err = play(t.Context(), config)
		require.NoError(t, err)
		require.Equal(t, history.Violated, run.Verdict)
		require.Empty(t, run.Cells[0].Counterexamples[0].Interleaving.Faults(), "it needs none")
	}
}

func TestExploreHeld(t *testing.T) {
	run, err := harness.Explore(t.Context(), harness.Config{
		Server: servertest.Server(t), Workloads: []harness.Workload{harness.Fixed("one seat", func() harness.Scenario {
			op := harness.Operation{Kind: "book", Do: func(ctx context.Context, conn *pgx.Conn) harness.Answer { return book(ctx, conn, 1) }}
			return harness.Scenario{
				Clients:    []harness.Client{{Operations: []harness.Operation{op}}, {Operations: []harness.Operation{op}}},
				Invariants: []harness.Invariant{oneSeat},
			}
		})}, Stages: stages(with),
	})
	require.NoError(t, err)
	require.Equal(t, history.Held, run.Verdict)
	require.True(t, run.Cells[0].Explorations[0].Complete)
}
