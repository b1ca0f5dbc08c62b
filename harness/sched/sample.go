package sched

import (
	"math"
	"math/bits"
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

	// Of pct: what the runs settled so far have shown.
	clients map[int]bool
	longest int   // steps of one
	within  []int // by i: the steps of the longest of the first 2^i runs
}

// draw is what one run draws from.
type draw struct {
	place  int
	rng    *rand.Rand
	depth  int
	priors map[int]int // pct: the priority of each client; the highest goes first
	points []int       // pct: the steps after which the client that took it falls behind, in the order of the priority that it falls to
}

func newSampled(config Config) *sampled {
	return &sampled{config: config, ready: map[int]*Run{}, clients: map[int]bool{}}
}

func (x *sampled) next() *Run {
	place := x.made
	switch {
	case len(x.again) > 0:
		place, x.again = x.again[0], x.again[1:]
	case x.config.Runs > 0 && x.made == x.config.Runs:
		return nil
	case x.config.Strategy == PCT && x.made > 0 && len(x.within) <= x.shown(x.made):
		return nil // runs before show how many steps there are
	default:
		x.made++
	}
	d := &draw{place: place, rng: rand.New(rand.NewPCG(uint64(x.config.Seed), uint64(place)))} //nolint:gosec // repeatable on purpose
	if x.config.Strategy == PCT {
		d.depth, d.priors = x.config.Depth, map[int]int{}
		steps := x.config.Steps
		if steps == 0 && place > 0 {
			steps = x.within[x.shown(place)]
		}
		if steps > 0 {
			for range x.config.Depth - 1 {
				d.points = append(d.points, d.rng.IntN(steps))
			}
		}
	}
	return &Run{plan: d}
}

// shown returns which entry of within the run at a place goes by: about half of the runs before it, so that it does not wait for those under way.
func (x *sampled) shown(place int) int { return bits.Len(uint(place+1)) - 2 } //nolint:gosec // from 1

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
		d.priors[best.Client] = i + 1
	}
}

// prior returns the priority of a client, which is drawn when it is first seen, above those that change points let fall to: they are 1 … d−1.
func (d *draw) prior(client int) int {
	prior, seen := d.priors[client]
	if !seen {
		prior = d.depth + d.rng.IntN(math.MaxInt32) // two of the same are too rare to matter
		d.priors[client] = prior
	}
	return prior
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
	x.longest = max(x.longest, len(r.Schedule))
	for client := range r.plan.(*draw).priors {
		x.clients[client] = true
	}
	if x.turn == 1<<len(x.within) {
		x.within = append(x.within, x.longest)
	}
	return r
}

func (x *sampled) cover(c *Coverage) {
	c.Finished = x.config.Runs > 0 && x.turn == x.config.Runs
	if x.config.Strategy == PCT && x.longest > 0 {
		c.Bound = PCTBound(len(x.clients), max(x.longest, x.config.Steps), x.config.Depth)
	}
}

// PCTBound returns the least chance that one run of pct finds a bug of the depth, among so many clients that take so many steps together.
func PCTBound(clients, steps, depth int) float64 {
	return 1 / (float64(clients) * math.Pow(float64(steps), float64(depth-1)))
}
