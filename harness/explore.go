package harness

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/stress"
)

// Explore goes through the orders in which the steps of clients that contend can follow each other, for every workload at every stage. The run is
// held when all that there are, or one of each class that Postgres can tell apart, were executed and broke nothing; violated when one broke
// something, whatever is expected of the workload; else unknown. With [Config].Expected, it is judged, and recorded, as one of [Run]'s.
func Explore(ctx context.Context, config Config) (history.Run, error) {
	if err := config.check(); err != nil {
		return history.Run{}, err
	}
	if len(config.Stages) == 0 {
		config.Stages = []Stage{Schema("")}
	}
	if config.Clients == 0 {
		config.Clients = 2
	}
	kind := history.KindExplore
	if config.Expected {
		kind = history.KindRun
	}
	run := begin(config, kind)
	run.Bounds = history.Bounds{For: history.Duration(config.Explore.For), Clients: config.Clients}
	err := config.cells(ctx, &run, config.proof)
	finish(&run, err)
	return run, err
}

// proof explores one workload at one stage.
func (c Config) proof(ctx context.Context, on *ground, w Workload, at int64) (history.Cell, error) {
	cell := stress.Begin(w, at)
	input, ok := w.Contend(c.Clients, c.Seed)
	if !ok {
		var err error
		if input, err = w.Generate(c.Seed); err != nil {
			return cell, err
		}
	}
	if !c.Expected {
		w.Expect = nil // what is broken is shown, whether it may be or not
	}
	explore := c.explore
	if w.Scenario(input).System != nil && c.Explore.Strategy == "" {
		explore = c.bounded
	}
	if err := explore(ctx, on.explorer, w, input, c.Explore, &cell); err != nil {
		return cell, err
	}
	complete := slices.ContainsFunc(cell.Explorations, func(e history.Exploration) bool { return e.Complete })
	cell.Verdict, cell.AsExpected = history.Held, true
	if len(cell.Invariants) == 0 && !complete {
		cell.Verdict, cell.AsExpected = history.Unknown, false
	}
	for i := range cell.Invariants {
		j := &cell.Invariants[i]
		switch {
		case j.Orders > 0 && repeats(cell, j.Invariant):
			j.Verdict = history.Violated
		case j.Orders > 0 || !complete:
			j.Verdict = history.Unknown
		default:
			j.Verdict = history.Held
		}
		cell.Verdict = history.Worst(cell.Verdict, j.Verdict)
		cell.AsExpected = cell.AsExpected && j.AsExpected()
	}
	if n := cell.Explorations[0].Clients; n != c.Clients && cell.Trouble == "" {
		cell.Says += fmt.Sprintf(" (it has %d clients)", n)
	}
	if c.Keep && cell.Verdict == history.Violated {
		return cell, keep(ctx, on.explorer, w, &cell)
	}
	return cell, nil
}

// budget is how long the exploration of an application takes by default.
const budget = time.Minute

// bounded explores what may have more orders than can be run: those with the fewest preemptions first, and, when half of the time is over, PCT, of
// which the chance to find a race is known.
func (c Config) bounded(ctx context.Context, e *explore.Explorer, w Workload, input race.Input, config explore.Config, cell *history.Cell) error {
	if config.For == 0 && config.Limit == 0 {
		config.For = budget
	}
	first := config
	first.Strategy, first.For = sched.All, config.For/2
	if err := c.explore(ctx, e, w, input, first, cell); err != nil {
		return err
	}
	done := cell.Explorations[len(cell.Explorations)-1]
	left := config.For - time.Duration(done.Elapsed)
	if done.Complete || done.Violating > 0 || done.Trouble != "" || config.Limit > 0 || left <= 0 {
		return nil
	}
	second := config
	second.Strategy, second.For, second.Limit = sched.PCT, left, mostSampled
	return c.explore(ctx, e, w, input, second, cell)
}

// mostSampled is how many orders PCT samples at most, where the time is what bounds it.
const mostSampled = 1_000_000

// repeats reports whether the counterexample for an invariant broke it every time.
func repeats(cell history.Cell, invariant string) bool {
	x := cell.Example(invariant)
	return x != nil && x.Repeated > 0 && x.Reproduced == x.Repeated
}
