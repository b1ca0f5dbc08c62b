package harness

import (
	"context"
	"fmt"

	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/stress"
)

// threeClients is how many interleavings of three clients are quick.
const threeClients = 60

// cell settles one workload at one stage: the orders of clients that contend are explored, all of two clients, then generated inputs are run at
// full speed. What that finds is handed to the explorer, to be made small and repeatable.
func (c Config) cell(ctx context.Context, on *ground, w Workload, at int64) (history.Cell, error) {
	cell := stress.Begin(w, at)
	bounded := c.Explore
	if c.Clients == 0 {
		if err := c.contend(ctx, on.explorer, w, 2, c.Explore, &cell); err != nil {
			return cell, err
		}
		bounded.Limit = threeClients
	}
	if c.Clients != 0 || !broken(cell) {
		if err := c.contend(ctx, on.explorer, w, max(c.Clients, 3), bounded, &cell); err != nil {
			return cell, err
		}
	}
	config := c.stress()
	config.Explain = func(ctx context.Context, input race.Input, invariant string) (history.Counterexample, bool, error) {
		return on.explorer.Counterexample(ctx, w, input, invariant, c.Explore)
	}
	arena, err := on.stress(ctx)
	if err != nil {
		return cell, err
	}
	cell, err = arena.Continue(ctx, w, cell, config)
	if err == nil && c.Keep && !cell.AsExpected {
		err = keep(ctx, on.explorer, w, &cell)
	}
	return cell, err
}

// broken reports whether anything in the cell was seen broken.
func broken(cell history.Cell) bool {
	for _, j := range cell.Invariants {
		if j.Orders > 0 {
			return true
		}
	}
	return false
}

// contend explores the workload with so many clients that contend, and adds what came of it to the cell. A workload that has no such input is
// left alone.
func (c Config) contend(ctx context.Context, e *explore.Explorer, w Workload, clients int, config explore.Config, cell *history.Cell) error {
	input, ok := w.Contend(clients, c.Seed)
	if !ok {
		return nil
	}
	return c.explore(ctx, e, w, input, config, cell)
}

// explore explores one input and adds what came of it to the cell.
func (c Config) explore(ctx context.Context, e *explore.Explorer, w Workload, input race.Input, config explore.Config, cell *history.Cell) error {
	expect := Expectation{}
	if w.Expect != nil {
		expect = w.Expect(cell.At)
	}
	if cell.Invariants == nil {
		cell.Invariants = stress.Judgements(w, w.Scenario(input).Invariants, expect)
	}
	config.Seed = c.Seed
	result, err := e.Explore(ctx, func() Scenario { return w.Scenario(input) }, config)
	if err != nil {
		return err
	}
	cell.Explorations = append(cell.Explorations, result.Exploration)
	if result.Err != nil && cell.Trouble == "" {
		cell.Trouble = fmt.Sprintf("exploring %d clients: %v", result.Clients, result.Err)
	}
	for i := range cell.Invariants {
		j := &cell.Invariants[i]
		n := result.Broken[j.Invariant]
		j.Orders += n
		if n == 0 || cell.Example(j.Invariant) != nil || !worth(*cell, *j, expect) {
			continue
		}
		example, ok, err := e.Counterexample(ctx, w, input, j.Invariant, config)
		if err != nil {
			return err
		}
		if ok {
			example.Found = example.Round
			cell.Counterexamples = append(cell.Counterexamples, example)
		}
	}
	return nil
}

// worth reports whether a violation is worth a counterexample: one that must hold or must break; in a control of which nothing particular is
// known, the first.
func worth(cell history.Cell, j history.Judgement, expect Expectation) bool {
	return j.Expected != history.MayBreak || expect.Control && len(cell.Counterexamples) == 0
}

// keep leaves a database in the state that each counterexample of the cell makes.
func keep(ctx context.Context, e *explore.Explorer, w Workload, cell *history.Cell) error {
	for i := range cell.Counterexamples {
		x := &cell.Counterexamples[i]
		if x.Interleaving == nil {
			continue
		}
		input, err := w.Decode(x.Round.Input)
		if err != nil {
			return err
		}
		if x.Database, err = e.Keep(ctx, w.Scenario(input), x.Interleaving.Choices()); err != nil {
			return err
		}
	}
	return nil
}
