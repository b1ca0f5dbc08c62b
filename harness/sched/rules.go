package sched

import "slices"

// Rules say which steps of different clients can notice each other; the package documentation has the argument. The zero value is the safe
// version: any writes or row locks that overlap are dependent.
type Rules struct {
	// SeenWaiting makes overlapping writes dependent only when, in some run, one was seen waiting for the other's transaction.
	SeenWaiting bool `json:"seen_waiting,omitempty"`

	without rule // left out by a test, to show what it is there for
}

// rule is a set of rules.
type rule uint32

const (
	ruleFailureFrees    rule = 1 << iota // a failing statement is also a ROLLBACK
	ruleSavepoint                        // but not of what was locked before a savepoint
	rulePartialRollback                  // ROLLBACK TO is a ROLLBACK
	ruleFailedPrints                     // a failed statement leaves no locks: close its footprint over the catalog
	ruleUnseenKey                        // a key that was never seen is any key
	ruleCycle                            // two waits that close a cycle are dependent
	ruleLooks                            // some statements notice locks without waiting
	ruleModes                            // table locks conflict, a reader's too
	ruleSerializable                     // SERIALIZABLE: every step and every end in one conflict component
	ruleDeferred                         // deferred constraints make COMMIT a statement
	ruleContinuations                    // what a freed waiter does belongs to the event that freed it
	ruleSnapshot                         // the first statement at REPEATABLE READ takes the snapshot for the whole transaction
	ruleCommitShows                      // a plain read notices a COMMIT
	ruleEndFrees                         // whoever looks at rows to lock or change them notices an end
	ruleKeys                             // advisory keys in common
	ruleBare                             // LOCK takes no snapshot: a later statement does
	ruleOverlap                          // overlapping writes (coarse), or those that were seen to wait
)

func (r Rules) lacks(one rule) bool { return r.without&one != 0 }

// dependent reports whether two events can notice each other, as far as is known. Events of one client are.
func (k *knowledge) dependent(e, f int32) bool {
	pair := uint64(uint32(min(e, f)))<<32 | uint64(uint32(max(e, f))) //nolint:gosec // numbers are not negative
	if d, ok := k.memo[pair]; ok {
		return d
	}
	d := k.eventsDependent(e, f)
	k.memo[pair] = d
	return d
}

func (k *knowledge) eventsDependent(e, f int32) bool {
	for _, i := range k.names.eventParts[e] {
		for _, j := range k.names.eventParts[f] {
			if k.componentsDependent(k.names.components.all[i], k.names.components.all[j]) {
				return true
			}
		}
	}
	return false
}

func (k *knowledge) componentsDependent(a, b component) bool {
	if a.client == b.client {
		return true
	}
	if a.void || b.void {
		return false // F: what had failed holds nothing and is shown nothing
	}
	switch {
	case a.statement >= 0 && b.statement >= 0:
		return k.statementsDependent(a, b)
	case a.statement >= 0:
		return k.noticesEnd(a, b)
	case b.statement >= 0:
		return k.noticesEnd(b, a)
	}
	return k.endsDependent(a, b)
}

// statementsDependent is rule B: neither has ended its transaction, so all that they can notice of each other is locks.
func (k *knowledge) statementsDependent(a, b component) bool {
	p, q := k.prints(a.statement), k.prints(b.statement)
	pair := [2]int32{min(a.statement, b.statement), max(a.statement, b.statement)}
	if !k.rules.lacks(ruleOverlap) && (!k.rules.SeenWaiting || k.waits[pair]) && k.overlap(p, q) {
		return true
	}
	if k.cycles[pair] && !k.rules.lacks(ruleCycle) {
		return true
	}
	if (k.looks(a.statement) || k.looks(b.statement)) && !k.rules.lacks(ruleLooks) && k.overlap(p, q) {
		return true
	}
	if a.level != Serializable || b.level != Serializable || k.rules.lacks(ruleSerializable) {
		return false
	}
	if a.after && b.after && k.group(a.tx) == k.group(b.tx) {
		return true
	}
	return p.any(*q, readsWhatWasWritten) || q.any(*p, readsWhatWasWritten)
}

// overlap reports whether one could wait for the other: both leave something on a relation, lock it in modes that conflict, or use a key.
// Two blind inserts look at nothing that the other leaves.
func (k *knowledge) overlap(p, q *prints) bool {
	if !k.rules.lacks(ruleKeys) && p.commonKey(*q) {
		return true
	}
	return p.any(*q, func(s, t touch) bool {
		return s.modes&works != 0 && t.modes&works != 0 && (s.plain|t.plain)&works != 0 ||
			!k.rules.lacks(ruleModes) && s.modes.Conflict(t.modes)
	})
}

// noticesEnd is rules C and D: what a statement can notice of a COMMIT (rows and freed locks) or of a ROLLBACK (freed locks).
func (k *knowledge) noticesEnd(s, end component) bool {
	p, work := k.prints(s.statement), k.work(end.work)
	if !k.rules.lacks(ruleKeys) && p.commonKey(*work) {
		return true
	}
	if !k.rules.lacks(ruleModes) && p.any(*work, func(a, b touch) bool { return a.modes.Conflict(b.modes) }) {
		return true
	}
	if !k.rules.lacks(ruleEndFrees) && p.any(*work, func(a, b touch) bool { return a.plain&works != 0 && b.modes&works != 0 }) {
		return true
	}
	if s.level == Serializable && end.level == Serializable && !k.rules.lacks(ruleSerializable) && k.group(s.tx) == k.group(end.tx) {
		return true
	}
	if end.kind != Commit {
		return false
	}
	if k.hides(*p, *work) {
		return true
	}
	fresh := s.level == "" || s.level == ReadCommitted || s.first // it takes a snapshot
	if fresh && !k.rules.lacks(ruleCommitShows) && p.any(*work, readsWhatWasWritten) {
		return true
	}
	if s.first && s.level != "" && s.level != ReadCommitted && !k.rules.lacks(ruleSnapshot) {
		return k.whole(s.tx).any(*work, readsWhatWasWritten)
	}
	return false
}

// readsWhatWasWritten: whatever is not a blind insert looks at rows, an UPDATE as well.
func readsWhatWasWritten(a, b touch) bool { return a.plain != 0 && b.modes&writes != 0 }

// endsDependent is rule E, and what a look at the invariants after every commit adds.
func (k *knowledge) endsDependent(a, b component) bool {
	if a.level == Serializable && b.level == Serializable && !k.rules.lacks(ruleSerializable) && k.group(a.tx) == k.group(b.tx) {
		return true
	}
	p, q := k.work(a.work), k.work(b.work)
	if b.kind == Commit && k.hides(*p, *q) || a.kind == Commit && k.hides(*q, *p) {
		return true
	}
	if a.kind != Commit || b.kind != Commit {
		return false
	}
	if p.any(*q, func(s, t touch) bool {
		return s.modes&t.modes&writes != 0 && slices.Contains(k.deferredUnique, s.relation)
	}) {
		return true
	}
	return slices.ContainsFunc(k.watch, func(watched []int32) bool { return p.writesOneOf(watched) && q.writesOneOf(watched) })
}

// hides reports whether p keeps a look from seeing what the COMMIT of q did: it locks a relation that is looked at against readers.
func (k *knowledge) hides(p, q prints) bool {
	return slices.ContainsFunc(k.watch, func(watched []int32) bool {
		return q.writesOneOf(watched) && slices.ContainsFunc(p.touches, func(t touch) bool {
			return t.modes&AccessExclusive != 0 && slices.Contains(watched, t.relation)
		})
	})
}

func (p prints) writesOneOf(relations []int32) bool {
	return slices.ContainsFunc(p.touches, func(t touch) bool { return t.modes&writes != 0 && slices.Contains(relations, t.relation) })
}
