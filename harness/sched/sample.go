package sched

import (
	"math"
	"math/rand/v2"
	"slices"
)

// sampled makes runs that do not depend on one another: each draws from a source of its own, made of the seed and the run's place in line.
type sampled struct {
	config Config
	made   int          // runs handed out for the first time
	again  []int        // runs to be made again
	ready  map[int]*Run // over, but not settled
	turn   int          // the run to settle next
	steps  int          // k; 0: not known yet
}

// draw is what one run draws from.
type draw struct {
	place  int
	rng    *rand.Rand
	priors []int // pct: the priority of each client; the highest goes first
	points []int // pct: the steps after which the client that took it falls behind, in the order of the priority that it falls to
}

func newSampled(config Config) *sampled {
	return &sampled{config: config, ready: map[int]*Run{}, steps: config.Steps}
}

func (x *sampled) next() *Run {
	place := x.made
	switch {
	case len(x.again) > 0:
		place, x.again = x.again[0], x.again[1:]
	case x.config.Runs > 0 && x.made == x.config.Runs:
		return nil
	case x.config.Strategy == PCT && x.steps == 0 && x.made > 0:
		return nil // the first run shows how many steps there are
	default:
		x.made++
	}
	d := &draw{place: place, rng: rand.New(rand.NewPCG(uint64(x.config.Seed), uint64(place)))} //nolint:gosec // repeatable on purpose
	if x.config.Strategy == PCT {
		// Client priorities are d … d+n−1; the i-th change point lets the client that stands there fall to i.
		d.priors = d.rng.Perm(x.config.Clients)
		for i := range d.priors {
			d.priors[i] += x.config.Depth
		}
		if x.steps > 0 {
			for range x.config.Depth - 1 {
				d.points = append(d.points, d.rng.IntN(x.steps))
			}
		}
	}
	return &Run{plan: d}
}

func (x *sampled) pick(r *Run, held []Step) (int, Status) {
	d := r.plan.(*draw)
	if x.config.Strategy == Random {
		return held[d.rng.IntN(len(held))].Client, Running
	}
	for {
		best := slices.MaxFunc(held, func(a, b Step) int { return d.prior(a.Client) - d.prior(b.Client) })
		i := slices.Index(d.points, len(r.Schedule))
		if i < 0 {
			return best.Client, Running
		}
		d.points[i] = -1
		d.prior(best.Client)
		d.priors[best.Client] = i + 1
	}
}

// prior returns the priority of a client. One that was not announced comes last.
func (d *draw) prior(client int) int {
	for client >= len(d.priors) {
		d.priors = append(d.priors, -len(d.priors))
	}
	return d.priors[client]
}

func (x *sampled) observe(*Run, Event, int) error { return nil }

func (x *sampled) end(r *Run) { x.ready[r.plan.(*draw).place] = r }

func (x *sampled) abandon(r *Run) { x.again = append(x.again, r.plan.(*draw).place) }

func (x *sampled) settle() *Run {
	r := x.ready[x.turn]
	if r == nil {
		return nil
	}
	delete(x.ready, x.turn)
	x.turn++
	if x.steps == 0 {
		x.steps = len(r.Schedule)
	}
	return r
}

func (x *sampled) cover(c *Coverage) {
	c.Finished = x.config.Runs > 0 && x.turn == x.config.Runs
	if x.config.Strategy == PCT && x.steps > 0 {
		c.Bound = PCTBound(x.config.Clients, x.steps, x.config.Depth)
	}
}

// PCTBound returns the least chance that one run of pct finds a bug of the depth, among so many clients that take so many steps together.
func PCTBound(clients, steps, depth int) float64 {
	return 1 / (float64(clients) * math.Pow(float64(steps), float64(depth-1)))
}
