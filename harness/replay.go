package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
)

// ErrNotApplicable means that a recorded counterexample does not fit today's scenarios or migrations.
var ErrNotApplicable = errors.New("the recorded counterexample is no longer applicable")

// Replay plays the counterexamples of a recorded run again, on today's code: stages are those that there are now, and those of an application are played on
// the only one, whatever migration it is: one more may be what was done about them. The run is violated when one of them breaks its invariant again. It is held when none does, and none of the orders that are possible now does either; and unknown where
// those are too many, or where no order was recorded.
func Replay(ctx context.Context, config Config, recorded history.Run) (history.Run, error) {
	if err := config.check(); err != nil {
		return history.Run{}, err
	}
	run := begin(config, history.KindReplay)
	run.Seed, run.MigrationsDir, run.Layout = recorded.Seed, recorded.MigrationsDir, recorded.Layout
	err := config.replays(ctx, &run, recorded)
	finish(&run, err)
	return run, err
}

func (c Config) replays(ctx context.Context, run *history.Run, recorded history.Run) error {
	if err := describeServer(ctx, c.Server, &run.Server); err != nil {
		return err
	}
	total := 0
	for _, cell := range recorded.Cells {
		total += len(cell.Counterexamples)
	}
	for _, cell := range recorded.Cells {
		for _, example := range cell.Counterexamples {
			if c.Progress != nil {
				c.Progress(len(run.Cells), total, fmt.Sprintf("%s at %d", cell.Name(), cell.At))
			}
			again, err := c.replay(ctx, recorded, cell, example)
			if err != nil {
				return err
			}
			run.Cells = append(run.Cells, again)
			run.Migrations = c.Stages[c.stage(recorded, cell)].Migrations
		}
	}
	if len(run.Cells) == 0 {
		return fmt.Errorf("%w: the run file holds none; try one of the files that a violated run wrote beside its run.json", ErrNotApplicable)
	}
	return nil
}

// replay repeats one counterexample of a run.
func (c Config) replay(ctx context.Context, recorded history.Run, was history.Cell, example history.Counterexample) (_ history.Cell, err error) {
	at := c.stage(recorded, was)
	if at < 0 {
		return was, fmt.Errorf("%w: there is no migration %d now; try making the run again", ErrNotApplicable, was.At)
	}
	w := c.workload(was)
	if w == nil {
		return was, fmt.Errorf("%w: there is no scenario %s now; try making the run again", ErrNotApplicable, was.Name())
	}
	stage := c.Stages[at]
	input, err := w.Decode(example.Round.Input)
	if err != nil {
		return was, fmt.Errorf("%w: %w", ErrNotApplicable, err)
	}
	if !slices.ContainsFunc(w.Scenario(input).Invariants, func(inv Invariant) bool { return inv.Name == example.Invariant }) {
		return was, fmt.Errorf("%w: %s has no invariant %s now; try making the run again", ErrNotApplicable, was.Name(), example.Invariant)
	}
	template, err := stage.template(ctx, c.Server)
	if err != nil {
		return was, err
	}
	on := newGround(template)
	defer func() { err = errors.Join(err, on.close(context.WithoutCancel(ctx))) }()
	cell := history.Cell{Scenario: was.Scenario, Variant: was.Variant, Says: was.Says, At: stage.Version, AsExpected: true}
	again := example
	again.Found = example.Round
	if example.Interleaving == nil {
		cell.Verdict, err = c.replayByLuck(ctx, on, *w, input, &again)
	} else {
		cell.Verdict, err = c.replayOrder(ctx, on.explorer, *w, input, &again, &cell)
	}
	cell.Counterexamples = []history.Counterexample{again}
	cell.Invariants = []history.Judgement{{Invariant: example.Invariant, Says: says(was, example.Invariant), Verdict: cell.Verdict}}
	return cell, err
}

// saved repeats the counterexamples that were saved.
func (c Config) saved(ctx context.Context, run *history.Run) error {
	for _, recorded := range c.Saved {
		for _, was := range recorded.Cells {
			for _, example := range was.Counterexamples {
				cell, err := c.replay(ctx, recorded, was, example)
				switch {
				case errors.Is(err, ErrNotApplicable):
					cell = unrepeated(was, example, err)
				case err != nil:
					return err
				}
				j := &cell.Invariants[0]
				if w := c.workload(cell); w != nil && w.Expect != nil && slices.Contains(w.Expect(cell.At).Break, j.Invariant) {
					j.Expected = history.MustBreak
				} else {
					j.Expected = history.MustHold
				}
				cell.AsExpected = cell.Trouble == "" && j.AsExpected()
				run.Replayed = append(run.Replayed, cell)
			}
		}
	}
	return nil
}

// unrepeated is the cell of a counterexample that could not be repeated: what was found out about it then says nothing now.
func unrepeated(was history.Cell, example history.Counterexample, why error) history.Cell {
	example.Repeated, example.Reproduced, example.Nearest, example.Parts = 0, 0, nil, 0
	return history.Cell{
		Scenario: was.Scenario, Variant: was.Variant, Says: was.Says, At: was.At, Verdict: history.Unknown,
		Trouble:         why.Error() + ", or removing the file",
		Invariants:      []history.Judgement{{Invariant: example.Invariant, Says: says(was, example.Invariant), Verdict: history.Unknown}},
		Counterexamples: []history.Counterexample{example},
	}
}

// says returns what an invariant of a cell says.
func says(cell history.Cell, invariant string) string {
	for _, j := range cell.Invariants {
		if j.Invariant == invariant {
			return j.Says
		}
	}
	return ""
}

// stage returns the place of a recorded cell's stage among those that there are now; -1: there is no such migration now.
func (c Config) stage(recorded history.Run, was history.Cell) int {
	if recorded.Target != "" && len(c.Stages) == 1 {
		return 0
	}
	return slices.IndexFunc(c.Stages, func(s Stage) bool { return s.Version == was.At })
}

// workload returns that of a recorded cell; nil: there is none now.
func (c Config) workload(was history.Cell) *Workload {
	i := slices.IndexFunc(c.Workloads, func(w Workload) bool { return w.FullName() == was.Name() })
	if i < 0 {
		return nil
	}
	return &c.Workloads[i]
}

// replayByLuck repeats a counterexample of which no order is known. One that breaks nothing proves nothing.
func (c Config) replayByLuck(ctx context.Context, on *ground, w Workload, input race.Input, x *history.Counterexample) (history.Verdict, error) {
	arena, err := on.stress(ctx)
	if err != nil {
		return history.Unknown, err
	}
	again, err := arena.Repeat(ctx, w, input, x.Invariant, c.stress())
	x.Reproduced, x.Repeated, x.Elapsed = again.Reproduced, again.Repeated, again.Elapsed
	if again.Reproduced > 0 {
		x.Round = again.Round
		return history.Violated, err
	}
	return history.Unknown, err
}

// replayOrder repeats a counterexample in its order. Where that breaks nothing any more, all orders are explored: it may take another one now, or
// the race may be gone.
func (c Config) replayOrder(
	ctx context.Context, e *explore.Explorer, w Workload, input race.Input, x *history.Counterexample, cell *history.Cell,
) (history.Verdict, error) {
	if err := e.Repeat(ctx, w, input, x.Interleaving.Choices(), cmp.Or(c.Repeats, explore.Repeats), x); err != nil {
		if errors.Is(err, explore.ErrTrouble) {
			cell.Trouble, err = err.Error(), nil
		}
		return history.Unknown, err
	}
	switch x.Reproduced {
	case x.Repeated:
		return history.Violated, nil
	case 0:
	default:
		return history.Unknown, nil
	}
	bounded := c.Explore
	if bounded.Limit == 0 {
		bounded.Limit = replayLimit
	}
	bounded.Faults = x.Interleaving.Faults()
	if (bounded.Faults != nil || w.Scenario(input).System != nil) && bounded.For == 0 {
		bounded.For = replayFor
	}
	result, err := e.Explore(ctx, func() Scenario { return w.Scenario(input) }, bounded)
	if err != nil {
		return history.Unknown, err
	}
	cell.Explorations = []history.Exploration{result.Exploration}
	if result.Err != nil {
		cell.Trouble = result.Err.Error()
	}
	if result.Broken[x.Invariant] > 0 {
		other, ok, err := e.Counterexample(ctx, w, input, x.Invariant, result.First[x.Invariant], bounded)
		if errors.Is(err, explore.ErrTrouble) {
			cell.Trouble, err = err.Error(), nil
		}
		if err != nil || !ok {
			return history.Unknown, err
		}
		other.Found, other.Again, other.File = x.Found, x.Again, x.File
		*x = other
		if x.Reproduced < x.Repeated {
			return history.Unknown, nil
		}
		return history.Violated, nil
	}
	if result.Complete {
		return history.Held, nil
	}
	return history.Unknown, nil
}

// replayLimit is how many interleavings are explored to show that a counterexample is gone.
const replayLimit = 20_000

// replayFor is how long that may take where there are faults, some of which take their time, or an application, which does.
const replayFor = time.Minute
