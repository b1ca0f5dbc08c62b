package sched

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
)

// statement tells statements apart, in all runs: advisory keys, waits and transactions are learned by statement.
type statement struct {
	client, index int
	text          text
	looks         bool
	advisory      bool
}

// text is what a statement shares with others that read the same. Relations are learned by text: it may be that a client's third statement
// has only ever failed, which leaves nothing to see, while the same text succeeded elsewhere.
type text struct {
	text          string
	blind, commit bool
	client, index int // of a COMMIT: what it checks is its own
}

// component is what one event does, seen by the rules. It is comparable, so that it can be numbered.
type component struct {
	kind      Kind
	client    int
	statement int32 // -1: an end
	work      int32 // ends: the transaction's statements so far
	tx        int32 // the transaction, by its first statement; -1: none was open
	level     Level
	first     bool // the first statement of its transaction
	after     bool // a serializable transaction had committed before
	void      bool // the transaction had failed, and with it gone what it held
}

// lesson is what can be learned from one event.
type lesson struct {
	touched []touched
	waits   [][2]int32 // pairs of statements of which one waited for the other's transaction
	cycles  [][2]int32 // pairs that closed a cycle together
}

type touched struct {
	statement, tx int32
	serializable  bool
	failed        bool
	commits       int32 // the work that a COMMIT checks; -1: not a COMMIT
	prints        prints
}

// names numbers what the rules compare. Numbers depend on the order in which runs end, so nothing may be decided by their size.
type names struct {
	relations, keys numbers[string]
	statements      numbers[statement]
	texts           numbers[text]
	textOf          []int32 // by statement
	txs             numbers[int32]
	works           numbers[string]
	workLists       [][]int32
	components      numbers[component]
	events          numbers[string]
	eventParts      [][]int32
	clients         []uint64 // by event: the set of its clients, by number modulo 64
	released        []int    // by event: the client that was released
}

// numbers gives each thing a number, from 0.
type numbers[T comparable] struct {
	of  map[T]int32
	all []T
}

func (n *numbers[T]) number(thing T) int32 {
	if i, ok := n.of[thing]; ok {
		return i
	}
	if n.of == nil {
		n.of = map[T]int32{}
	}
	i := int32(len(n.all)) //nolint:gosec // bounded by memory
	n.of[thing] = i
	n.all = append(n.all, thing)
	return i
}

func newNames() *names {
	n := &names{}
	n.keys.number(AnyKey)
	return n
}

func pack(list []int32) string {
	raw := make([]byte, 0, 4*len(list))
	for _, i := range list {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(i)) //nolint:gosec // only told apart
	}
	return string(raw)
}

func (n *names) work(statements []int32) int32 {
	i := n.works.number(pack(statements))
	if int(i) == len(n.workLists) {
		n.workLists = append(n.workLists, slices.Clone(statements))
	}
	return i
}

func (n *names) event(parts []component) int32 {
	var room [8]int32
	list := room[:0]
	var clients uint64
	for _, c := range parts {
		list = append(list, n.components.number(c))
		clients |= 1 << (c.client % 64)
	}
	i := n.events.number(pack(list))
	if int(i) == len(n.eventParts) {
		n.eventParts = append(n.eventParts, slices.Clone(list))
		n.clients = append(n.clients, clients)
		n.released = append(n.released, parts[0].client)
	}
	return i
}

func (n *names) statement(s Step) int32 {
	t := text{text: s.Text, blind: s.Blind}
	if s.Kind == Commit {
		t.commit, t.client, t.index = true, s.Client, s.Index
	}
	i := n.statements.number(statement{s.Client, s.Index, t, s.Looks, s.Advisory})
	if int(i) == len(n.textOf) {
		n.textOf = append(n.textOf, n.texts.number(t))
	}
	return i
}

// prints resolves a footprint. What a blind insert does to rows it does without looking.
func (n *names) prints(f Footprint, blind bool) prints {
	var p prints
	for name, modes := range f.Relations {
		t := touch{relation: n.relations.number(name), modes: modes, plain: modes}
		if blind {
			t.plain &^= RowExclusive
		}
		p.touches = append(p.touches, t)
	}
	slices.SortFunc(p.touches, func(a, b touch) int { return int(a.relation - b.relation) })
	for _, k := range f.Keys {
		p.keys = append(p.keys, n.keys.number(k))
	}
	slices.Sort(p.keys)
	return p
}

// transaction is what is known of a client's transaction at one point of a run.
type transaction struct {
	open, void bool
	id         int32
	level      Level
	statements []int32
	waiting    int32 // the statement that waits; -1: none
	first      bool  // the latest statement is the transaction's first, or all before it were bare
	bare       bool  // all were
}

// trace follows one run, event by event, and turns events into numbers.
type trace struct {
	names   *names
	rules   Rules
	clients []transaction
	after   bool        // a serializable transaction has committed
	parts   []component // room to work in
}

func (t *trace) client(i int) *transaction {
	for len(t.clients) <= i {
		t.clients = append(t.clients, transaction{waiting: -1, id: -1})
	}
	return &t.clients[i]
}

// observe returns the number of the event and what can be learned from it.
func (t *trace) observe(e Event) (int32, *lesson) {
	parts := t.parts[:0]
	l := &lesson{}
	released := e.Client()
	after := t.after
	for i, p := range e.Parts {
		t.client(p.Step.Client) // clients does not move from here on
		for _, c := range p.WaitsFor {
			t.client(c)
		}
		shown := parts
		switch p.Step.Kind {
		case Commit, Rollback:
			shown = append(shown, t.end(p, after, l)...)
		case RollbackTo:
			tx := t.client(p.Step.Client)
			if !t.rules.lacks(rulePartialRollback) {
				shown = append(shown, component{
					kind: Rollback, client: p.Step.Client, statement: -1, work: t.names.work(tx.statements), tx: tx.id, level: tx.level, after: after,
				})
			}
			tx.void = false
		default:
			shown = append(shown, t.statement(p, after, l)...)
		}
		if i == 0 || p.Step.Client == released || !t.rules.lacks(ruleContinuations) {
			parts = shown
		}
		if len(parts) == 0 { // an event has a client, whatever the rules see in it
			parts = append(parts, component{kind: Rollback, client: p.Step.Client, statement: -1, work: t.names.work(nil), tx: -1, void: true})
		}
	}
	t.parts = parts
	return t.names.event(parts), l
}

func (t *trace) statement(p Part, after bool, l *lesson) []component {
	tx, n := t.client(p.Step.Client), t.names
	s := n.statement(p.Step)
	if tx.waiting < 0 {
		if !tx.open {
			*tx = transaction{open: true, bare: true, id: n.txs.number(s), level: p.Step.Level, waiting: -1}
		}
		tx.first = tx.bare
		tx.bare = tx.bare && p.Step.Bare && !t.rules.lacks(ruleBare)
		tx.statements = append(tx.statements[:len(tx.statements):len(tx.statements)], s)
	}
	tx.waiting = -1
	shown := []component{{
		kind: Statement, client: p.Step.Client, statement: s, work: -1, tx: tx.id, level: tx.level, first: tx.first, after: after, void: tx.void,
	}}
	l.touched = append(l.touched, touched{
		statement: s, tx: tx.id, serializable: tx.level == Serializable, failed: p.Outcome == Failed, commits: -1,
		prints: n.prints(p.Touched, p.Step.Blind),
	})
	switch p.Outcome {
	case Waits:
		t.wait(p, s, l)
	case Failed:
		if !t.rules.lacks(ruleFailureFrees) {
			shown = append(shown, component{
				kind: Rollback, client: p.Step.Client, statement: -1, work: n.work(tx.statements), tx: tx.id, level: tx.level, after: after, void: tx.void,
			})
		}
		if p.SQLState == deadlock {
			t.cycle(s, l)
		}
		tx.void = !p.Step.Savepoint || t.rules.lacks(ruleSavepoint)
		if p.Step.Autocommit {
			*tx = transaction{waiting: -1, id: -1}
		}
	}
	return shown
}

// deadlock is the SQLSTATE of a deadlock's victim.
const deadlock = "40P01"

func (t *trace) end(p Part, after bool, l *lesson) []component {
	tx, n := t.client(p.Step.Client), t.names
	work := n.work(tx.statements)
	shown := []component{{
		kind: p.Step.Kind, client: p.Step.Client, statement: -1, work: work, tx: tx.id, level: tx.level, after: after, void: tx.void,
	}}
	if p.Step.Kind == Commit && !tx.void {
		// Deferred constraints are checked now: the COMMIT is a statement as well. Where there are none it touches nothing.
		s := n.statement(p.Step)
		if !t.rules.lacks(ruleDeferred) {
			shown[0].work = n.work(append(tx.statements[:len(tx.statements):len(tx.statements)], s)) // it shows what it does itself
			shown = append(shown, component{kind: Statement, client: p.Step.Client, statement: s, work: -1, tx: tx.id, level: tx.level, after: after})
		}
		l.touched = append(l.touched, touched{
			statement: s, tx: tx.id, serializable: tx.level == Serializable, commits: work, prints: n.prints(p.Touched, false),
		})
		switch {
		case p.Outcome == Waits:
			t.wait(p, s, l)
			return shown
		case p.SQLState == deadlock:
			t.cycle(s, l)
		case p.Outcome != Failed && tx.level == Serializable:
			t.after = true
		}
	}
	*tx = transaction{waiting: -1, id: -1}
	return shown
}

// wait notes that s waits. When it is not known for whom, it may be anyone.
func (t *trace) wait(p Part, s int32, l *lesson) {
	t.client(p.Step.Client).waiting = s
	for c := range t.clients {
		if c == p.Step.Client || len(p.WaitsFor) > 0 && !slices.Contains(p.WaitsFor, c) {
			continue
		}
		for _, held := range t.clients[c].statements {
			l.waits = append(l.waits, [2]int32{min(s, held), max(s, held)})
		}
	}
}

// cycle notes that s was the victim of a deadlock. Who else was in it is not known for certain: all who wait may have been.
func (t *trace) cycle(s int32, l *lesson) {
	in := []int32{s}
	for _, tx := range t.clients {
		if tx.waiting >= 0 {
			in = append(in, tx.waiting)
		}
	}
	for i, a := range in {
		for _, b := range in[:i] {
			l.cycles = append(l.cycles, [2]int32{min(a, b), max(a, b)})
		}
	}
}

var seed = maphash.MakeSeed()

// sign returns a number that two events share only when they look the same, footprints apart: the same steps with the same outcomes.
func sign(e Event) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, p := range e.Parts {
		outcome := p.Outcome
		if outcome == "" {
			outcome = Answered
		}
		for _, word := range []string{string(p.Step.Kind), p.Step.Text, string(outcome), p.SQLState, p.Tag} {
			_, _ = h.WriteString(word)
			_ = h.WriteByte(0)
		}
		_ = h.WriteByte(byte(p.Step.Client))
		_ = h.WriteByte(byte(p.Step.Index))
	}
	return h.Sum64()
}
