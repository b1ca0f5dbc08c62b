package stress

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
)

// Config bounds what is spent on one cell. Every field's zero means its default.
type Config struct {
	Seed   int64
	Rounds int           // a cell; default 60
	For    time.Duration // a cell, shrinking apart; default 2 s. A negative control is given up only when both bounds are reached
	Limit  time.Duration // one round, after which its clients count as hanging; default 10 s
	Keep   int           // rounds recorded in full; default 100
	Shrink time.Duration // making one unexpected violation smaller; default 2 s. An expected one gets a tenth of it

	// Explain makes a violation smaller in a way that does not rest on luck; false: it could not, and luck is tried. Nil: there is no such way.
	Explain func(ctx context.Context, input race.Input, invariant string) (history.Counterexample, bool, error)
}

// Resolve returns the configuration with its defaults filled in.
func (c Config) Resolve() Config {
	c.Rounds = orDefault(c.Rounds, 60)
	c.For = orDefault(c.For, 2*time.Second)
	c.Limit = orDefault(c.Limit, 10*time.Second)
	c.Keep = orDefault(c.Keep, 100)
	c.Shrink = orDefault(c.Shrink, 2*time.Second)
	return c
}

func orDefault[T int | time.Duration](value, otherwise T) T {
	if value <= 0 {
		return otherwise
	}
	return value
}

// Seed returns the seed of one round. All variants of a workload meet the same inputs in the same order.
func Seed(seed int64, workload string, round int) int64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%s/%d", seed, workload, round)
	return int64(h.Sum64() >> 1)
}

// Cell plays generated rounds of a workload and judges its invariants against what is expected. Violations of invariants that must hold or
// must break come with a counterexample. An error means that the run cannot go on (ctx is done); trouble with the scenario is in the cell.
func (a *Arena) Cell(ctx context.Context, w race.Workload, at int64, config Config) (history.Cell, error) {
	return a.Continue(ctx, w, Begin(w, at), config)
}

// Begin returns a cell of which nothing is known yet.
func Begin(w race.Workload, at int64) history.Cell {
	return history.Cell{
		Scenario: w.Name, Variant: w.Variant, Says: w.Says, At: at, Coverage: history.Coverage{Outcomes: map[string]int{}},
	}
}

// Continue is [Arena.Cell] for a cell of which something is known already: no rounds are spent on what has been seen to break.
func (a *Arena) Continue(ctx context.Context, w race.Workload, begun history.Cell, config Config) (history.Cell, error) {
	config = config.Resolve()
	at := begun.At
	expect := race.Expectation{}
	if w.Expect != nil {
		expect = w.Expect(at)
	}
	c := &cell{
		arena: a, workload: w, config: config, control: expect.Control || len(expect.Break) > 0, began: time.Now(),
		Cell: begun, first: map[string]found{},
	}
	err := c.play(ctx, w, expect)
	if ctx.Err() != nil {
		return c.Cell, ctx.Err()
	}
	if err != nil {
		c.Trouble = err.Error()
	}
	c.Coverage.Elapsed = history.Since(c.began)
	if err := c.explain(ctx); err != nil {
		return c.Cell, err
	}
	c.conclude(expect)
	return c.Cell, nil
}

// cell is a [history.Cell] in the making.
type cell struct {
	history.Cell
	arena    *Arena
	workload race.Workload
	config   Config
	control  bool // something must break
	began    time.Time
	first    map[string]found // by invariant
}

// found is the first violation of an invariant.
type found struct {
	input race.Input
	round history.Round
}

// play runs rounds until the bounds are reached, what must break is broken, or what must hold is.
func (c *cell) play(ctx context.Context, w race.Workload, expect race.Expectation) error {
	for n := 1; !c.settled(); n++ {
		late, many := time.Since(c.began) > c.config.For, n > c.config.Rounds
		if late && many || !c.control && (late || many) { // a control on a slow machine gets its rounds
			return nil
		}
		input, err := w.Generate(Seed(c.config.Seed, w.Name, n))
		if err != nil {
			return err
		}
		s := w.Scenario(input)
		if c.Invariants == nil {
			c.Invariants = Judgements(w, s.Invariants, expect)
		}
		round, err := c.arena.Play(ctx, s, c.config.Limit)
		round.Number, round.Input = n, input.JSON()
		if err != nil {
			c.Rounds = append(c.Rounds, round)
			return fmt.Errorf("round %d: %w", n, err)
		}
		c.add(input, round)
	}
	return nil
}

// Judgements starts one judgement for each invariant. Without an expectation, all must hold.
func Judgements(w race.Workload, invariants []race.Invariant, expect race.Expectation) []history.Judgement {
	out := make([]history.Judgement, len(invariants))
	for i, inv := range invariants {
		out[i] = history.Judgement{Invariant: inv.Name, Says: inv.Says, Verdict: history.Unknown}
		switch {
		case w.Expect == nil || slices.Contains(expect.Hold, inv.Name):
			out[i].Expected = history.MustHold
		case slices.Contains(expect.Break, inv.Name):
			out[i].Expected = history.MustBreak
		}
	}
	return out
}

// add takes a round into account.
func (c *cell) add(input race.Input, round history.Round) {
	c.Coverage.Rounds++
	c.Coverage.Operations += len(round.Operations)
	c.Coverage.Looks += round.Looks
	for _, op := range round.Operations {
		c.Coverage.Outcomes[op.Outcome]++
	}
	for i := range c.Invariants {
		j := &c.Invariants[i]
		if !broken(round, j.Invariant) {
			continue
		}
		j.Broken++
		if j.Broken == 1 {
			j.First, j.FirstAt = round.Number, history.Since(c.began)
			c.first[j.Invariant] = found{input, round}
		}
	}
	if len(c.Rounds) < c.config.Keep || len(round.Violations) > 0 && len(c.Rounds) < 2*c.config.Keep {
		c.Rounds = append(c.Rounds, round)
	}
	c.Coverage.Kept = len(c.Rounds)
}

func broken(round history.Round, invariant string) bool {
	return slices.ContainsFunc(round.Violations, func(v history.Violation) bool { return v.Invariant == invariant })
}

// settled reports whether more rounds can change nothing that matters: what must hold is broken, or all that must break is.
func (c *cell) settled() bool {
	some, all := false, true
	for _, j := range c.Invariants {
		broke := j.Broken+j.Orders > 0
		some = some || broke
		switch {
		case j.Expected == history.MustHold && broke:
			return true
		case j.Expected == history.MustBreak && !broke:
			all = false
		}
	}
	return c.control && some && all
}

// explain finds a counterexample for each violation that must hold or must break; of a control of which nothing particular is known, for the
// first of its violations.
func (c *cell) explain(ctx context.Context) error {
	for i := range c.Invariants {
		j := &c.Invariants[i]
		if j.Broken == 0 || c.Example(j.Invariant) != nil || j.Expected == history.MayBreak && (!c.control || len(c.Counterexamples) > 0 || c.expectsOthers()) {
			continue
		}
		if c.config.Explain != nil {
			example, ok, err := c.config.Explain(ctx, c.first[j.Invariant].input, j.Invariant)
			if err != nil {
				return err
			}
			if ok {
				example.Found = c.first[j.Invariant].round
				c.Counterexamples = append(c.Counterexamples, example)
				continue
			}
		}
		budget := c.config.Shrink
		if j.Expected != history.MustHold {
			budget /= 10
		}
		example, err := c.arena.shrink(ctx, c.workload, j.Invariant, c.first[j.Invariant], c.config.Limit, budget)
		if err != nil {
			return err
		}
		c.Counterexamples = append(c.Counterexamples, example)
	}
	return nil
}

func (c *cell) expectsOthers() bool {
	return slices.ContainsFunc(c.Invariants, func(j history.Judgement) bool { return j.Expected == history.MustBreak })
}

// conclude turns what was seen into verdicts.
func (c *cell) conclude(expect race.Expectation) {
	c.Verdict = history.Held
	for i := range c.Invariants {
		j := &c.Invariants[i]
		broke := j.Broken+j.Orders > 0
		again := broke && c.reproduced(*j)
		if expect.Control && j.Expected == history.MayBreak && broke {
			j.Expected = history.MustBreak // something must, and it turned out to be this
		}
		switch {
		case again:
			j.Verdict = history.Violated
		case broke || c.Trouble != "" || !c.tried():
			j.Verdict = history.Unknown
		default:
			j.Verdict = history.Held
		}
		c.Verdict = history.Worst(c.Verdict, j.Verdict)
	}
	if c.Trouble != "" && c.Verdict == history.Held {
		c.Verdict = history.Unknown
	}
	c.AsExpected = c.Verdict != history.Unknown && (!expect.Control || c.Verdict == history.Violated)
	for _, j := range c.Invariants {
		c.AsExpected = c.AsExpected && j.AsExpected()
	}
}

// tried reports whether there is anything to judge by: rounds, or all orders.
func (c *cell) tried() bool {
	return c.Coverage.Rounds > 0 || slices.ContainsFunc(c.Explorations, func(e history.Exploration) bool { return e.Complete })
}

// reproduced reports whether a violation was seen again. One that need not be explained counts as it was seen; of another without a counterexample, all
// repetitions ended in trouble.
func (c *cell) reproduced(j history.Judgement) bool {
	if x := c.Example(j.Invariant); x != nil {
		return x.Reproduced > 0
	}
	return j.Expected == history.MayBreak
}
