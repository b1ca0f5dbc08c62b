package sched

import "slices"

// exhaustive runs every order once, by the number of preemptions. A branch is a prefix of choices; the run that follows it goes on without
// preempting, and leaves its own other choices as branches: those that cost no preemption more on this level, the others on the next.
// Within a level the branches are a stack, so the order in which runs settle is fixed, while any of them can be made ahead of its turn.
type exhaustive struct {
	bound  int // -1: none
	levels [][]*branch
	level  int
}

type branch struct {
	prefix      []byte
	past        uint64 // the chain of what all choices but the last have caused when they were made before
	out, ready  bool
	run         *Run
	at          uint64   // who could be chosen where it parts from the run that it is a branch of
	held        []uint64 // by step: who could be chosen
	chain       []uint64 // by step: who could be chosen, and what the choices until then have caused
	choices     [][]byte // by step after the prefix: the clients that could have been chosen instead
	preempts    []bool   // by step after the prefix: choosing one of them costs a preemption more
	preemptions int
}

// ahead is how many branches of the stack are looked at for one that nobody runs yet.
const ahead = 1 << 10

func newExhaustive(config Config) *exhaustive {
	x := &exhaustive{bound: config.Preemptions, levels: [][]*branch{{{}}}}
	switch {
	case config.Preemptions == 0:
		x.bound = -1
	case config.Preemptions < 0:
		x.bound = 0
	}
	return x
}

func (x *exhaustive) next() *Run {
	for level := x.level; level < len(x.levels) && (x.bound < 0 || level <= x.bound); level++ {
		stack := x.levels[level]
		for i := len(stack) - 1; i >= max(0, len(stack)-ahead); i-- {
			b := stack[i]
			if b.out || b.ready {
				continue
			}
			b.out = true
			r := &Run{plan: b}
			for _, c := range b.prefix {
				r.prefix = append(r.prefix, int(c))
			}
			return r
		}
	}
	return nil
}

func (x *exhaustive) pick(r *Run, held []Step) (int, Status) {
	b, at := r.plan.(*branch), len(r.Schedule)
	b.held = append(b.held, clients(held))
	if at == len(r.prefix)-1 && b.held[at] != b.at {
		r.Mismatch = &Mismatch{At: at, Want: &Step{Client: r.prefix[at]}, Held: slices.Clone(held)}
		return -1, Diverged
	}
	if at < len(r.prefix) {
		return forced(r, held)
	}
	client := r.stay(held, nobody)
	var others []byte
	for _, step := range held {
		if step.Client != client {
			others = append(others, byte(step.Client))
		}
	}
	b.choices = append(b.choices, others)
	b.preempts = append(b.preempts, client == r.last)
	return client, Running
}

// clients is a number for who is held.
func clients(held []Step) (sum uint64) {
	for _, step := range held {
		sum = sum*prime + uint64(step.Client) + 1 //nolint:gosec // not negative
	}
	return sum
}

// forced returns the next choice of the prefix.
func forced(r *Run, held []Step) (int, Status) {
	client := r.prefix[len(r.Schedule)]
	if find(held, client) < 0 {
		r.Mismatch = &Mismatch{At: len(r.Schedule), Want: &Step{Client: client}, Held: slices.Clone(held)}
		return -1, Diverged
	}
	return client, Running
}

func (x *exhaustive) observe(r *Run, e Event, _ int) error {
	b := r.plan.(*branch)
	var past uint64
	if n := len(b.chain); n > 0 {
		past = b.chain[n-1]
	}
	b.chain = append(b.chain, (past*prime^b.held[len(b.chain)])*prime^sign(e))
	if at := len(b.chain); at == len(b.prefix)-1 && b.chain[at-1] != b.past {
		return ErrDiverged
	}
	return nil
}

// prime is odd, so that multiplying by it loses nothing.
const prime = 0x100000001b3

func (x *exhaustive) end(r *Run) {
	b := r.plan.(*branch)
	b.out, b.ready, b.run, b.preemptions = false, true, r, r.Preemptions
}

func (x *exhaustive) abandon(r *Run) {
	b := r.plan.(*branch)
	*b = branch{prefix: b.prefix, past: b.past, at: b.at}
}

func (x *exhaustive) settle() *Run {
	for len(x.levels[x.level]) == 0 {
		if x.level+1 == len(x.levels) || x.level == x.bound {
			return nil
		}
		x.level++
	}
	stack := x.levels[x.level]
	b := stack[len(stack)-1]
	if !b.ready {
		return nil
	}
	x.levels[x.level] = stack[:len(stack)-1]
	at := len(b.prefix)
	for i, others := range b.choices {
		level := x.level
		if b.preempts[i] {
			level++
		}
		if level == len(x.levels) && len(others) > 0 {
			x.levels = append(x.levels, nil)
		}
		var past uint64
		if at+i > 0 {
			past = b.chain[at+i-1]
		}
		for _, client := range others {
			prefix := make([]byte, 0, at+i+1)
			for _, step := range b.run.Schedule[:at+i] {
				prefix = append(prefix, byte(step.Client))
			}
			x.levels[level] = append(x.levels[level], &branch{prefix: append(prefix, client), past: past, at: b.held[at+i]})
		}
	}
	return b.run
}

func (x *exhaustive) cover(c *Coverage) {
	done := len(x.levels[x.level]) == 0
	last := x.level+1 == len(x.levels)
	c.Finished = done && (last || x.level == x.bound)
	c.Exhaustive = done && last
	c.Preemptions = x.level - 1
	if done {
		c.Preemptions = x.level
	}
}
