package sched

import "slices"

// order is happens-before in the run that the walk stands at the end of: before[j] has the events that must precede event j, as bits.
type order struct {
	events []int32
	before [][]uint64
}

// cut forgets all but the first n events.
func (o *order) cut(n int) {
	if n < len(o.events) {
		o.events, o.before = o.events[:n], o.before[:n]
	}
}

func (o *order) has(j, i int) bool {
	return i/64 < len(o.before[j]) && o.before[j][i/64]&(1<<(i%64)) != 0
}

// after adds i, and all that precedes it, to what precedes j.
func (o *order) after(j, i int) {
	for w, bits := range o.before[i] {
		o.before[j][w] |= bits
	}
	o.before[j][i/64] |= 1 << (i % 64)
}

// races finds the pairs of events in the run just walked that are dependent, with nothing in between that keeps them in this order, and sees
// to it that the other order is searched as well. Pairs whose later event an earlier run went through have been dealt with then.
func (d *reduced) races() {
	o := &d.order
	n := len(d.stack) - 1
	same := 0
	for same < min(n, len(o.events)) && o.events[same] == d.event(same) {
		same++
	}
	// An equal event under an equal prefix is the same event; the first that differs is where this run left the one before it.
	o.cut(same)
	for j := same; j < n; j++ {
		event := d.event(j)
		client := d.names.released[event]
		o.events = append(o.events, event)
		o.before = append(o.before, make([]uint64, j/64+1))
		for i := j - 1; i >= 0; i-- {
			if o.has(j, i) {
				continue
			}
			switch {
			case d.frees(o.events[i], client):
				o.after(j, i) // its own step before, or what set it free: no other order is possible
			case d.known.dependent(o.events[i], event):
				d.reverse(i, j)
				o.after(j, i)
			}
		}
	}
}

func (d *reduced) event(i int) int32 {
	f := &d.stack[i]
	return f.node.edge(f.todo[f.next-1]).event
}

// frees reports whether the client has a part in the event, so that its next release comes after it.
func (d *reduced) frees(event int32, client int) bool {
	return d.names.clients[event]&(1<<(client%64)) != 0
}

// reverse sees to it that from before event i something is tried that leads to event j first: one of the clients that can begin what happened
// up to j without need of i.
func (d *reduced) reverse(i, j int) {
	o, f := &d.order, &d.stack[i]
	var without []int // the events after i that do not need it, then j
	for k := i + 1; k < j; k++ {
		if !o.has(k, i) {
			without = append(without, k)
		}
	}
	without = append(without, j)
	choice := -1
	for at, k := range without {
		if slices.ContainsFunc(without[:at], func(m int) bool { return o.has(k, m) }) {
			continue
		}
		client := d.names.released[d.event(k)]
		if slices.Contains(f.todo, client) || sleeps(f.asleep, client) {
			return
		}
		if choice < 0 || k == j {
			choice = client
		}
	}
	f.todo = append(f.todo, choice)
}
