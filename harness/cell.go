package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/stress"
)

// threeClients is how many interleavings of three clients are quick.
const threeClients = 60

// cell settles one workload at one stage: the orders of clients that contend are explored, all of two clients (of an application's clients, those that
// there is time for), then generated inputs are run at full speed. What that finds is handed to the explorer, to be made small and repeatable.
func (c Config) cell(ctx context.Context, on *ground, w Workload, at int64) (history.Cell, error) {
	cell := stress.Begin(w, at)
	contest, alone := c.contest, false
	if s := asking(w, c.Seed); s.System != nil {
		c.Clients, alone = cmp.Or(c.Clients, len(s.Clients)), s.System.Habits().Listen != ""
		if c.Explore.For == 0 && c.Explore.Limit == 0 {
			c.Explore.For = brief
		}
		contest = c.audition
	}
	if err := contest(ctx, on.explorer, w, &cell); err != nil {
		return cell, err
	}
	arena, err := on.stress(ctx)
	if err == nil && alone {
		err = on.explorer.Close(ctx) // there is one of the application, and it knows one place where Postgres is
	}
	if err != nil {
		return cell, err
	}
	config, trouble := c.stress(), ""
	config.Explain = func(ctx context.Context, input race.Input, invariant string) (history.Counterexample, bool, error) {
		if alone {
			if _, err := arena.Host(ctx, Scenario{}); err != nil {
				return history.Counterexample{}, false, err
			}
		}
		x, ok, err := on.explorer.Counterexample(ctx, w, input, invariant, explore.Interleaving{}, c.Explore)
		if errors.Is(err, explore.ErrTrouble) {
			trouble, err = err.Error(), nil
		}
		if alone {
			err = errors.Join(err, on.explorer.Close(ctx))
		}
		return x, ok, err
	}
	cell, err = arena.Continue(ctx, w, cell, config)
	cell.Trouble = cmp.Or(cell.Trouble, trouble)
	if err == nil && alone {
		_, err = arena.Host(ctx, Scenario{})
	}
	if err == nil && c.Keep && !cell.AsExpected {
		err = keep(ctx, on.explorer, w, &cell)
	}
	return cell, err
}

// contest explores two clients that contend, and three where that is quick; or as many as are asked for.
func (c Config) contest(ctx context.Context, e *explore.Explorer, w Workload, cell *history.Cell) error {
	bounded := c.Explore
	if c.Clients == 0 {
		if err := c.contend(ctx, e, w, 2, c.Explore, cell); err != nil {
			return err
		}
		bounded.Limit = threeClients
	}
	if c.Clients == 0 && broken(*cell) {
		return nil
	}
	return c.contend(ctx, e, w, max(c.Clients, 3), bounded, cell)
}

// brief is how long the exploration of an application takes in a run by default, and making what is found smaller.
const brief = 4 * time.Second

// asking returns a scenario of a workload whose clients ask an application; one without a system: they ask Postgres.
func asking(w Workload, seed int64) Scenario {
	if input, err := w.Generate(seed); err == nil {
		return w.Scenario(input)
	}
	return Scenario{}
}

// audition explores clients that ask an application, as long as that may take.
func (c Config) audition(ctx context.Context, e *explore.Explorer, w Workload, cell *history.Cell) error {
	input, ok := w.Contend(c.Clients, c.Seed)
	if !ok {
		return nil
	}
	explore := c.bounded
	if c.Explore.Strategy != "" {
		explore = c.explore
	}
	err := explore(ctx, e, w, input, c.Explore, cell)
	for i := range cell.Explorations {
		cell.Explorations[i].Sample = true
	}
	return err
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
		example, ok, err := e.Counterexample(ctx, w, input, j.Invariant, result.First[j.Invariant], config)
		if errors.Is(err, explore.ErrTrouble) {
			cell.Trouble, err = cmp.Or(cell.Trouble, err.Error()), nil
		}
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
