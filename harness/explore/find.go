package explore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
)

// How much is spent on making a violation small. The bounds are counts, not times, so that it comes out the same on every machine.
const (
	toFind    = 2000 // interleavings of the input that is given, before it is given up
	toShrink  = 1000 // of one simpler input
	atFirst   = 20   // of one simpler input, as long as that makes it simpler: most violations come early, and few orders are left of a small input
	toPreempt = 1000 // interleavings, in the search for one with fewer preemptions
)

// ErrTrouble means that a search ended in trouble before it found what it looked for, or that this is not there.
var ErrTrouble = errors.New("the search ended early")

// Counterexample makes a violation as small as it will go: fewest clients, fewest operations and simplest values, as far as the shrinker of the
// workload offers them, then fewest preemptions; repeats it, and looks for the nearest order that does not break the invariant. Some interleaving of the
// input does: best, or, if that is the zero value, one that is looked for. It returns false if none of those within limits was found to, and an [ErrTrouble]
// if the search for one ended before the limits did, or some of the repetitions ended in trouble. With [Config].For, the search may take so long, and making it
// small once more as long.
func (e *Explorer) Counterexample(
	ctx context.Context, w race.Workload, input race.Input, invariant string, best Interleaving, config Config,
) (x history.Counterexample, ok bool, err error) {
	began := time.Now()
	x.Invariant = invariant
	if best.Number == 0 {
		var trouble error
		best, trouble, err = e.violation(ctx, w, input, invariant, config, toFind)
		switch {
		case err != nil:
			return x, false, err
		case best.Number == 0 && trouble != nil:
			return x, false, fmt.Errorf("looking for an order that breaks %s: %w: %w", invariant, ErrTrouble, trouble)
		case best.Number == 0:
			return x, false, nil
		}
	}
	x.Order = best.Number
	smaller := config
	found := time.Now()
	left := func() bool {
		if config.For > 0 {
			smaller.For = config.For - time.Since(found)
		}
		return config.For <= 0 || smaller.For > 0
	}
	for _, limit := range []int{atFirst, toShrink} {
		for improved := true; improved; {
			improved = false
			for candidate := range w.Shrinks(input) {
				if !left() {
					break
				}
				x.Tried++
				simpler, _, err := e.violation(ctx, w, candidate, invariant, smaller, limit)
				if err != nil {
					return x, false, err
				}
				if simpler.Number > 0 {
					input, best, improved = candidate, simpler, true
					break
				}
			}
		}
	}
	if left() {
		if best, err = e.simplest(ctx, w, input, invariant, smaller, best); err != nil {
			return x, false, err
		}
	}
	err = e.Repeat(ctx, w, input, best.Choices, Repeats, &x)
	x.Elapsed = history.Since(began)
	return x, err == nil || x.Reproduced > 0, err
}

// simplest returns an interleaving that breaks the invariant with the fewest preemptions, and of those the one that comes first by its choices;
// where there are too many to go through, the given one.
func (e *Explorer) simplest(ctx context.Context, w race.Workload, input race.Input, invariant string, config Config, given Interleaving) (Interleaving, error) {
	best := given
	fewest := Config{Strategy: sched.All, Faults: config.Faults, AtEnd: config.AtEnd, Workers: config.Workers, Limit: toPreempt, For: config.For}
	fewest.Each = func(i Interleaving) bool {
		if slices.Contains(i.Broken, invariant) && cmp.Or(i.Preemptions-best.Preemptions, slices.Compare(i.Choices, best.Choices)) < 0 {
			best = i
		}
		return i.Preemptions <= best.Preemptions
	}
	_, err := e.Explore(ctx, func() race.Scenario { return w.Scenario(input) }, fewest)
	return best, err
}

// violation returns the first interleaving of the input that breaks the invariant, among so many; one without a number: there is none, and trouble says
// why the search ended, where it did so early.
func (e *Explorer) violation(
	ctx context.Context, w race.Workload, input race.Input, invariant string, config Config, limit int,
) (_ Interleaving, trouble, err error) {
	var found Interleaving
	config.Limit = limit
	config.Each = func(i Interleaving) bool {
		if slices.Contains(i.Broken, invariant) {
			found = i
		}
		return found.Number == 0
	}
	result, err := e.Explore(ctx, func() race.Scenario { return w.Scenario(input) }, config)
	return found, result.Err, err
}

// Repeats is how often a counterexample is executed again by default.
const Repeats = 10

// Repeat executes one interleaving of an input so many times and records in the counterexample whether it breaks the invariant of that, with all that
// another tool needs to repeat it. If it never does, Nearest is what happens instead. Repetitions that end in trouble are an [ErrTrouble], beside what the
// others came to.
func (e *Explorer) Repeat(ctx context.Context, w race.Workload, input race.Input, choices []int, times int, x *history.Counterexample) error {
	x.Repeated, x.Reproduced, x.Nearest = 0, 0, nil
	var trouble error
	for range times {
		again, err := e.Play(ctx, w.Scenario(input), choices)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		x.Repeated++
		switch {
		case err != nil:
			trouble = err
		case again.Breaks(x.Invariant):
			x.Reproduced++
			x.Round, x.Interleaving, x.Preemptions = again.Round, &again.Interleaving, again.Preemptions
		case x.Reproduced == 0:
			x.Nearest = &again.Interleaving
		}
	}
	if trouble != nil {
		trouble = fmt.Errorf("%w: not every repetition came to its end: %w", ErrTrouble, trouble)
	}
	x.Clients = len(w.Scenario(input).Clients)
	for _, inv := range w.Scenario(input).Invariants {
		if inv.Name == x.Invariant {
			x.Query, x.Outcomes = inv.SQL, inv.Outcomes
		}
	}
	if x.Reproduced == 0 {
		return trouble
	}
	x.Round.Number, x.Round.Input = 1, input.JSON()
	var err error
	if x.Start, err = e.start(ctx, w.Scenario(input)); err != nil {
		return err
	}
	x.Nearest, x.Parts = nil, 0
	nearest, parts, err := e.Nearest(ctx, func() race.Scenario { return w.Scenario(input) }, *x.Interleaving, x.Invariant)
	if err != nil {
		return err
	}
	if nearest != nil {
		x.Nearest, x.Parts = &nearest.Interleaving, parts
	}
	return trouble
}

// start returns the starting rows of a scenario.
func (e *Explorer) start(ctx context.Context, s race.Scenario) ([]string, error) {
	st, err := e.stage(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { e.stages = append(e.stages, st) }()
	if err := st.prepare(ctx, s); err != nil {
		return nil, err
	}
	return st.arena.Database.Rows(ctx, st.arena.Control)
}

// Nearest returns an order that parts from one that breaks an invariant as late as possible and does not break it, and the release, from 1, at
// which they part; nil: there is none that parts from it only once.
func (e *Explorer) Nearest(ctx context.Context, build func() race.Scenario, breaks history.Interleaving, invariant string) (*Execution, int, error) {
	choices := breaks.Choices()
	last := len(choices)
	for _, s := range breaks.Steps {
		if slices.Contains(s.Broken, invariant) {
			last = s.Number
		}
	}
	for at := last - 1; at >= 0; at-- {
		for client := range breaks.Clients {
			rest := slices.Clone(choices[at:])
			i := slices.Index(rest, client)
			if i <= 0 {
				continue // it has no step left, or goes anyway
			}
			other := slices.Concat(choices[:at], []int{client}, slices.Delete(rest, i, i+1))
			x, err := e.Play(ctx, build(), other)
			if ctx.Err() != nil {
				return nil, 0, ctx.Err()
			}
			if err != nil || x.Breaks(invariant) {
				continue
			}
			if went := x.Interleaving.Choices(); len(went) > at && slices.Equal(went[:at+1], other[:at+1]) {
				return &x, at + 1, nil
			}
		}
	}
	return nil, 0, nil
}
