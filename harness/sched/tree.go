package sched

import "slices"

// node is a point that some run has been at: everything that is known of what can follow. The tree of them is the cache of all runs, by
// schedule; it outlives a pass of the search.
type node struct {
	seen  bool  // held is known
	held  []int // the clients that can run; none: the run is over
	edges []*edge
	run   *Run // the run that ended here, complete or too long
	told  bool // it has been settled
}

// edge is what one choice came to.
type edge struct {
	client  int
	sign    uint64
	event   int32
	lesson  *lesson // nil: nothing to learn, or learned already
	to      *node
	pending *Run // a run is on its way here; the rest is not known yet
}

func (n *node) edge(client int) *edge {
	for _, e := range n.edges {
		if e.client == client {
			return e
		}
	}
	return nil
}

// known returns the edge if some run has been through it.
func (n *node) known(client int) *edge {
	if e := n.edge(client); e != nil && e.pending == nil {
		return e
	}
	return nil
}

// sleeper is a client that must not go next: an order that begins with its event has been searched, and nothing since then could have
// noticed the difference.
type sleeper struct {
	client int
	event  int32
}

func sleeps(asleep []sleeper, client int) bool {
	return slices.ContainsFunc(asleep, func(s sleeper) bool { return s.client == client })
}

// still returns those that the event lets sleep on.
func (k *knowledge) still(asleep []sleeper, event int32) []sleeper {
	var still []sleeper
	for _, s := range asleep {
		if !k.dependent(s.event, event) {
			still = append(still, s)
		}
	}
	return still
}

// trail is the way of one run that is being made.
type trail struct {
	trace  trace
	asleep []sleeper // from the end of the prefix on
	at     *node     // nil: where no run has been
	start  *edge     // the edge that is marked as pending; nil: the very first run
	steps  []trod
	held   []int // at the latest pick
	ended  bool  // the latest pick was the last: nobody may go on
}

type trod struct {
	held   []int
	client int
	edge   *edge // for the tree; nil: it has one
}

// plant puts the steps of a run that is over into the tree and returns the node that it ended at.
func (t *trail) plant(root *node) *node {
	n := root
	for _, s := range t.steps {
		n.seen, n.held = true, s.held
		switch e := n.edge(s.client); {
		case e == nil:
			s.edge.to = &node{}
			n.edges = append(n.edges, s.edge)
			n = s.edge.to
		case e.pending != nil:
			s.edge.to = &node{}
			*e = *s.edge
			n = e.to
		default:
			n = e.to
		}
	}
	return n
}
