package sched

// knowledge is what the runs of a search have shown of its statements. It only grows.
type knowledge struct {
	names *names
	rules Rules

	foreign, deferred [][2]int32 // foreign keys as (child, parent): all, and those that a COMMIT may check
	deferredUnique    []int32
	deferredTriggers  []deferredTrigger
	watch             [][]int32

	texts      []known  // by text: relations
	statements []known  // by statement: advisory keys
	txs        []prints // by transaction: the whole of it, in all runs together
	safe       []bool   // by transaction: serializable
	waits      map[[2]int32]bool
	cycles     map[[2]int32]bool

	// What follows is worked out from the above, and forgotten when that grows.
	memo   map[uint64]bool
	joined []*prints // by statement
	unions []*prints // by work
	groups []int32   // by transaction: the smallest transaction of its conflict component
}

type deferredTrigger struct {
	relation []int32 // one
	touches  prints
}

type known struct {
	prints
	there  bool
	failed bool
}

// news is what came of a lesson.
type news int

const (
	nothing news = iota
	fresh        // something about statements that had never been met
	changed      // something about statements that have been compared already
)

func newKnowledge(n *names, rules Rules, catalog Catalog, watch [][]string) *knowledge {
	k := &knowledge{names: n, rules: rules, waits: map[[2]int32]bool{}, cycles: map[[2]int32]bool{}, memo: map[uint64]bool{}}
	for _, key := range catalog.ForeignKeys {
		pair := [2]int32{n.relations.number(key.Child), n.relations.number(key.Parent)}
		k.foreign = append(k.foreign, pair)
		if key.Deferred {
			k.deferred = append(k.deferred, pair)
		}
	}
	for _, name := range catalog.DeferredUnique {
		k.deferredUnique = append(k.deferredUnique, n.relations.number(name))
	}
	for _, t := range catalog.DeferredTriggers {
		k.deferredTriggers = append(k.deferredTriggers, deferredTrigger{[]int32{n.relations.number(t.Relation)}, n.prints(t.Touched, false)})
	}
	for _, relations := range watch {
		var watched []int32
		for _, name := range relations {
			watched = append(watched, n.relations.number(name))
		}
		k.watch = append(k.watch, watched)
	}
	return k
}

// learn takes in what one event showed.
func (k *knowledge) learn(l *lesson) news {
	found := nothing
	for _, t := range l.touched {
		found = max(found, k.learnTouched(t))
	}
	for _, pair := range l.waits {
		if k.rules.SeenWaiting && !k.waits[pair] {
			k.waits[pair], found = true, changed
			clear(k.memo)
		}
	}
	for _, pair := range l.cycles {
		if !k.cycles[pair] {
			k.cycles[pair], found = true, changed
			clear(k.memo)
		}
	}
	return found
}

// forget drops what was worked out.
func (k *knowledge) forget() {
	clear(k.memo)
	clear(k.joined)
	clear(k.unions)
	k.groups = k.groups[:0]
}

func (k *knowledge) learnTouched(t touched) news {
	if t.commits >= 0 {
		all := k.checked(*k.work(t.commits))
		all.join(t.prints)
		t.prints = all
	}
	found := nothing
	s := at(&k.statements, t.statement)
	if !s.there {
		s.there, found = true, fresh
	}
	if s.join(prints{keys: t.prints.keys}) && found == nothing {
		found = changed
	}
	found = max(found, k.learnText(t))
	if found != nothing {
		k.forget()
	}
	if t.tx < 0 { // a COMMIT without a transaction
		return found
	}
	tx := at(&k.txs, t.tx)
	safe := at(&k.safe, t.tx)
	*safe = *safe || t.serializable
	known := len(tx.touches)+len(tx.keys) > 0
	if tx.join(*k.prints(t.statement)) {
		k.forget()
		found = max(found, fresh)
		if known || t.serializable { // a new member can make one conflict component of two
			found = changed
		}
	}
	return found
}

// learnText takes in the relations that a statement touched.
func (k *knowledge) learnText(t touched) news {
	x := at(&k.texts, k.names.textOf[t.statement])
	was := *x
	x.there, x.failed = true, was.failed || t.failed
	grown := x.join(prints{touches: t.prints.touches})
	if x.failed && !k.rules.lacks(ruleFailedPrints) {
		grown = x.join(closure(x.prints, k.foreign, RowShare|RowExclusive)) || grown
	}
	switch {
	case !was.there:
		return fresh
	case grown:
		return changed
	}
	return nothing
}

// at returns the i-th of a list, which is as long as it has to be.
func at[T any](list *[]T, i int32) *T {
	for int(i) >= len(*list) {
		var zero T
		*list = append(*list, zero)
	}
	return &(*list)[i]
}

// prints returns what a statement touches, as far as is known.
func (k *knowledge) prints(s int32) *prints {
	p := at(&k.joined, s)
	if *p == nil {
		joined := prints{touches: at(&k.texts, k.names.textOf[s]).touches, keys: at(&k.statements, s).keys}
		if len(joined.keys) == 0 && k.names.statements.all[s].advisory && !k.rules.lacks(ruleUnseenKey) {
			joined.keys = []int32{anyKey} // it uses advisory locks, and no key of it was ever seen
		}
		*p = &joined
	}
	return *p
}

// looks reports whether the statement can notice what others do while neither can be seen to wait for the other. A row that a deferred unique
// constraint is about is checked at COMMIT only if, when it was written, somebody else's was in its way.
func (k *knowledge) looks(s int32) bool {
	return k.names.statements.all[s].looks || k.prints(s).writesOneOf(k.deferredUnique)
}

// work returns what the statements of a work touch together.
func (k *knowledge) work(w int32) *prints {
	union := at(&k.unions, w)
	if *union == nil {
		all := &prints{}
		for _, s := range k.names.workLists[w] {
			all.join(*k.prints(s))
		}
		*union = all
	}
	return *union
}

// whole returns what a transaction touches from its beginning to its end.
func (k *knowledge) whole(tx int32) *prints {
	if tx < 0 || int(tx) >= len(k.txs) {
		return &prints{}
	}
	return &k.txs[tx]
}

// closure returns what the checks of foreign keys touch: a changed child locks its parent, a changed parent looks for its children, in these modes
// (with ON DELETE CASCADE, which is never deferred, it changes them).
func closure(p prints, foreign [][2]int32, child Modes) prints {
	closed := prints{}
	for range len(foreign) + 1 { // keys of keys; each round goes one further
		grown := false
		for _, key := range foreign {
			for _, from := range []prints{p, closed} {
				for _, t := range from.touches {
					if t.relation == key[0] && t.modes&writes != 0 {
						grown = closed.join(prints{touches: []touch{{key[1], RowShare, RowShare}}}) || grown
					}
					if t.relation == key[1] && t.plain&writes != 0 {
						grown = closed.join(prints{touches: []touch{{key[0], child, child}}}) || grown
					}
				}
			}
		}
		if !grown {
			break
		}
	}
	return closed
}

// checked returns what a COMMIT of the work touches, where constraints or triggers are deferred.
func (k *knowledge) checked(work prints) prints {
	p := closure(work, k.deferred, RowShare)
	for _, t := range k.deferredTriggers {
		if work.writesOneOf(t.relation) {
			p.join(t.touches)
			p.join(closure(t.touches, k.foreign, RowShare|RowExclusive))
		}
	}
	for _, t := range work.touches {
		for _, r := range k.deferredUnique {
			if t.relation == r && t.modes&writes != 0 {
				p.join(prints{touches: []touch{{r, t.modes, t.modes}}})
			}
		}
	}
	return p
}

// group returns the conflict component of a serializable transaction: those that share a relation which one of them writes, and so on.
func (k *knowledge) group(tx int32) int32 {
	if tx < 0 || int(tx) >= len(k.txs) {
		return -2 - tx // alone
	}
	if len(k.groups) != len(k.txs) {
		k.groups = make([]int32, len(k.txs))
		for i := range k.groups {
			k.groups[i] = int32(i) //nolint:gosec // bounded by memory
		}
		for i := range k.txs {
			for j := range i {
				if !k.safe[i] || !k.safe[j] || k.groups[i] == k.groups[j] {
					continue
				}
				if k.txs[i].any(k.txs[j], func(a, b touch) bool { return (a.modes|b.modes)&writes != 0 }) {
					from, to := max(k.groups[i], k.groups[j]), min(k.groups[i], k.groups[j])
					for g := range k.groups {
						if k.groups[g] == from {
							k.groups[g] = to
						}
					}
				}
			}
		}
	}
	return k.groups[tx]
}
