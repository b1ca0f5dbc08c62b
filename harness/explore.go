package harness

import (
	"context"
	"fmt"

	"github.com/interlock-pg/interlock/harness/history"
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
	if err := c.explore(ctx, on.explorer, w, input, c.Explore, &cell); err != nil {
		return cell, err
	}
	complete := cell.Explorations[0].Complete
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

// repeats reports whether the counterexample for an invariant broke it every time.
func repeats(cell history.Cell, invariant string) bool {
	x := cell.Example(invariant)
	return x != nil && x.Repeated > 0 && x.Reproduced == x.Repeated
}
