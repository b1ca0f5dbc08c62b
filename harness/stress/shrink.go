package stress

import (
	"context"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
)

// How often a violation that depends on luck is tried for. An input that breaks the invariant in every third round passes for harmless in
// less than 2 % of the cases when it is tried ten times.
const (
	triesToShrink  = 10  // a simpler input, before it is given up
	triesToRepeat  = 10  // the smallest input, to say how often it breaks
	triesToConfirm = 200 // the smallest input, until it breaks once
	mostTroubled   = 5   // of these in a row, if none can be judged: each may take as long as a round may
)

// shrink looks for the simplest input that still breaks the invariant, for at most budget, and then repeats it.
func (a *Arena) shrink(ctx context.Context, w race.Workload, invariant string, f found, limit, budget time.Duration) (history.Counterexample, error) {
	began := time.Now()
	example := history.Counterexample{Invariant: invariant, Found: f.round, Round: f.round}
	best := f.input
	for improved := true; improved && time.Since(began) < budget; {
		improved = false
		for candidate := range w.Shrinks(best) {
			if time.Since(began) >= budget {
				break
			}
			example.Tried++
			round, tries, err := a.provoke(ctx, w, candidate, invariant, limit, triesToShrink)
			if err != nil {
				return example, err
			}
			if tries > 0 {
				best, example.Round, improved = candidate, round, true
				break
			}
		}
	}
	if err := a.repeat(ctx, w, best, &example, limit); err != nil {
		return example, err
	}
	if example.Reproduced == 0 { // what was made smaller may be luck; what was met is not
		example.Round = example.Found
		if err := a.repeat(ctx, w, f.input, &example, limit); err != nil {
			return example, err
		}
	}
	example.Elapsed = history.Since(began)
	return example, nil
}

// repeat counts how often an input breaks the invariant of the example again, and records the last time that it did. A round that cannot be judged counts as
// one that did not.
func (a *Arena) repeat(ctx context.Context, w race.Workload, input race.Input, example *history.Counterexample, limit time.Duration) error {
	example.Clients = len(w.Scenario(input).Clients)
	example.Repeated, example.Reproduced = 0, 0
	for troubled := 0; troubled < mostTroubled && (example.Repeated < triesToRepeat || example.Reproduced == 0 && example.Repeated < triesToConfirm); {
		round, err := a.Play(ctx, w.Scenario(input), limit)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		example.Repeated++
		if err != nil {
			troubled++
			continue
		}
		troubled = 0
		if broken(round, example.Invariant) {
			example.Reproduced++
			round.Number, round.Input = 1, input.JSON()
			example.Round = round
		}
	}
	return nil
}

// provoke plays an input until it breaks the invariant, up to tries times, and returns that round and how many plays it took; zero: it did
// not. A play that cannot be judged counts as one that did not break it. An error means that ctx is done.
func (a *Arena) provoke(ctx context.Context, w race.Workload, input race.Input, invariant string, limit time.Duration, tries int) (history.Round, int, error) {
	for n := 1; n <= tries; n++ {
		round, err := a.Play(ctx, w.Scenario(input), limit)
		if ctx.Err() != nil {
			return round, 0, ctx.Err()
		}
		if err == nil && broken(round, invariant) {
			round.Number, round.Input = n, input.JSON()
			return round, n, nil
		}
	}
	return history.Round{}, 0, nil
}

// Repeat plays a recorded input again, as a counterexample of invariant.
func (a *Arena) Repeat(ctx context.Context, w race.Workload, input race.Input, invariant string, config Config) (history.Counterexample, error) {
	began := time.Now()
	example := history.Counterexample{Invariant: invariant}
	err := a.repeat(ctx, w, input, &example, config.Resolve().Limit)
	example.Elapsed = history.Since(began)
	return example, err
}

// Provoke plays an input until it breaks the invariant, and leaves the database in that state. It reports whether it came to that.
func (a *Arena) Provoke(ctx context.Context, w race.Workload, input race.Input, invariant string, config Config) (bool, error) {
	_, tries, err := a.provoke(ctx, w, input, invariant, config.Resolve().Limit, triesToConfirm)
	return tries > 0, err
}
