package sched

import "slices"

// reduced is dynamic partial-order reduction with source sets and sleep sets.
//
// The search proper walks the tree of what runs have shown, alone and in one fixed order, and stops where it needs a run that nobody has made.
// Because it never looks at anything but the tree, it does not matter who made a run, or when: workers are handed the run that the walk
// stands before, and, when that is out, the runs that it will need next further up its stack, whose beginnings are settled already. When
// something is learned about statements that have been compared, the walk begins anew and finds most of its runs in the tree.
type reduced struct {
	names *names
	rules Rules
	known *knowledge // of the walk
	seen  *knowledge // of all runs, settled or not: it only helps runs to choose as the walk will

	root   *node
	first  *Run // the very first run, while it is out
	stack  []frame
	order  order
	turns  []*Run // settled, but not told of
	done   bool
	passes int
	asleep int
}

// frame is one node of the way that the walk stands at.
type frame struct {
	node   *node
	asleep []sleeper
	todo   []int // the clients to go next, in the order of their discovery; no sleeper is among them
	next   int   // todo[:next] have been; the last of them is the way on
}

func newReduced(config Config) *reduced {
	n := newNames()
	return &reduced{
		names: n, rules: config.Rules, root: &node{}, passes: 1,
		known: newKnowledge(n, config.Rules, config.Catalog, config.Watch),
		seen:  newKnowledge(n, config.Rules, config.Catalog, config.Watch),
	}
}

func (d *reduced) next() *Run {
	if d.done {
		return nil
	}
	if !d.root.seen {
		if d.first != nil {
			return nil
		}
		d.first = &Run{plan: &trail{trace: trace{names: d.names, rules: d.rules}}}
		return d.first
	}
	for i := len(d.stack) - 1; i >= 0; i-- {
		f := &d.stack[i]
		if f.next == len(f.todo) || f.node.edge(f.todo[f.next]) != nil {
			continue
		}
		client := f.todo[f.next]
		start := &edge{client: client}
		r := &Run{plan: &trail{trace: trace{names: d.names, rules: d.rules}, asleep: f.sleepers(), at: d.root, start: start}}
		start.pending = r
		f.node.edges = append(f.node.edges, start)
		for _, g := range d.stack[:i] {
			r.prefix = append(r.prefix, g.todo[g.next-1])
		}
		r.prefix = append(r.prefix, client)
		return r
	}
	return nil
}

// sleepers returns who sleeps when the next of todo goes: those who slept, and those who went before.
func (f *frame) sleepers() []sleeper {
	asleep := slices.Clone(f.asleep)
	for _, client := range f.todo[:f.next] {
		asleep = append(asleep, sleeper{client, f.node.edge(client).event})
	}
	return asleep
}

func (d *reduced) pick(r *Run, held []Step) (int, Status) {
	t := r.plan.(*trail)
	t.held = make([]int, len(held))
	for i, step := range held {
		t.held[i] = step.Client
	}
	if t.at != nil && t.at.seen && !slices.Equal(t.at.held, t.held) {
		r.Mismatch = &Mismatch{At: len(r.Schedule), Held: slices.Clone(held)}
		return -1, Diverged
	}
	if len(r.Schedule) < len(r.prefix) {
		return forced(r, held)
	}
	client := r.stay(held, func(client int) bool { return sleeps(t.asleep, client) })
	if client < 0 {
		t.ended = true
		return -1, Asleep
	}
	return client, Running
}

func (d *reduced) observe(r *Run, e Event, client int) error {
	t := r.plan.(*trail)
	event, l := t.trace.observe(e)
	d.seen.learn(l)
	step := trod{held: t.held, client: client}
	var was *edge
	if t.at != nil {
		was = t.at.known(client)
		t.at = nil
	}
	switch sign := sign(e); {
	case was == nil:
		step.edge = &edge{client: client, sign: sign, event: event, lesson: l}
	case was.sign != sign:
		return ErrDiverged
	default:
		t.at = was.to
	}
	t.steps = append(t.steps, step)
	if len(t.steps) >= len(r.prefix) {
		t.asleep = d.seen.still(t.asleep, event)
	}
	return nil
}

func (d *reduced) end(r *Run) {
	t := r.plan.(*trail)
	d.clear(r)
	last := t.plant(d.root)
	switch {
	case t.ended:
		last.seen, last.held = true, t.held
	case last.run == nil && (r.Status == TooLong || len(last.held) == 0):
		last.seen, last.run = true, r
	}
	r.plan = nil
	d.walk()
}

// clear takes back that the run is on its way.
func (d *reduced) clear(r *Run) {
	if r == d.first {
		d.first = nil
	}
	start := r.plan.(*trail).start
	if start == nil || start.pending != r {
		return
	}
	n := d.root
	for _, client := range r.prefix[:len(r.prefix)-1] {
		n = n.known(client).to
	}
	n.edges = slices.DeleteFunc(n.edges, func(e *edge) bool { return e == start })
}

func (d *reduced) abandon(r *Run) { d.clear(r) }

// restart begins a new pass.
func (d *reduced) restart() {
	if len(d.stack) > 0 || d.done {
		d.passes++
	}
	d.stack, d.order, d.asleep, d.done = d.stack[:0], order{}, 0, false
}

// walk goes on with the search until it needs a run that is not in the tree.
func (d *reduced) walk() {
	for !d.done && d.root.seen {
		if len(d.stack) == 0 {
			d.push(d.root, nil, -1)
			d.arrive()
			continue
		}
		i := len(d.stack) - 1
		f := &d.stack[i]
		if f.next == len(f.todo) {
			d.stack = d.stack[:i]
			d.done = i == 0
			continue
		}
		client := f.todo[f.next]
		e := f.node.known(client)
		if e == nil || !e.to.seen {
			return
		}
		asleep := d.known.still(f.sleepers(), e.event)
		f.next++
		d.push(e.to, asleep, client)
		d.arrive()
	}
}

// push enters a node with one client to go next: the one that went last when it can.
func (d *reduced) push(n *node, asleep []sleeper, last int) {
	f := frame{node: n, asleep: asleep}
	choice := -1
	for _, client := range n.held {
		if !sleeps(asleep, client) && (choice < 0 || client == last) {
			choice = client
		}
	}
	if choice >= 0 && n.run == nil {
		f.todo = []int{choice}
	}
	d.stack = append(d.stack, f)
}

// arrive deals with the node just entered if a run ends there.
func (d *reduced) arrive() {
	if len(d.stack[len(d.stack)-1].todo) > 0 {
		return
	}
	for i := range d.stack[:len(d.stack)-1] {
		f := &d.stack[i]
		e := f.node.edge(f.todo[f.next-1])
		if e.lesson == nil {
			continue
		}
		was := d.known.learn(e.lesson)
		e.lesson = nil
		switch was {
		case changed:
			d.restart()
			return
		case fresh: // from here on, it was not known what to compare: go this way again
			for j := i + 1; j < len(d.stack)-1; j++ {
				g := &d.stack[j]
				if l := g.node.edge(g.todo[g.next-1]); l.lesson != nil {
					if d.known.learn(l.lesson) == changed {
						l.lesson = nil
						d.restart()
						return
					}
					l.lesson = nil
				}
			}
			d.stack = d.stack[:i+1]
			d.stack[i].next--
			d.order.cut(i)
			return
		}
	}
	d.races()
	switch n := d.stack[len(d.stack)-1].node; {
	case n.run == nil:
		d.asleep++
	case !n.told:
		n.told = true
		d.turns = append(d.turns, n.run)
	}
}

func (d *reduced) settle() *Run {
	if len(d.turns) == 0 {
		return nil
	}
	r := d.turns[0]
	d.turns = d.turns[1:]
	return r
}

func (d *reduced) cover(c *Coverage) {
	c.Finished, c.Exhaustive = d.done, d.done
	c.Asleep, c.Passes = d.asleep, d.passes
	c.Preemptions = -1
}
