package sched_test

import (
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/sched"
)

// SERIALIZABLE in the toy: snapshot isolation, and read-write conflicts between concurrent transactions, by table. Of T1→T2→T3 one is
// aborted when T3 commits first: T2 while it can be, else T1. Who is not at work just then is doomed, and fails at its next statement.
type ssi struct {
	read, wrote []string
	out         []*txn // those that wrote, unseen, what this one read
	doomed      bool
}

func (t *txn) aborted() bool { return t.failed || !t.live && t.commit == 0 }

func concurrent(a, b *txn) bool {
	return !a.aborted() && !b.aborted() && (a.commit == 0 || a.commit > b.snapshot) && (b.commit == 0 || b.commit > a.snapshot)
}

// conflicts notes what the statement reads and writes, and what that does to whom.
func (w *world) conflicts(s *statement) string {
	tx, o := s.tx, s.op
	if tx.level != sched.Serializable {
		return ""
	}
	if !strings.HasPrefix(o.do, "insert") || o.do == "insert if none" {
		tx.read = append(tx.read, o.table)
	}
	if strings.HasPrefix(o.do, "insert") || o.do == "update" || o.do == "delete" {
		tx.wrote = append(tx.wrote, o.table)
	}
	for _, u := range w.serial {
		if u == tx || !concurrent(tx, u) {
			continue
		}
		if slices.Contains(tx.read, o.table) && slices.Contains(u.wrote, o.table) && !slices.Contains(tx.out, u) {
			tx.out = append(tx.out, u)
		}
		if slices.Contains(tx.wrote, o.table) && slices.Contains(u.read, o.table) && !slices.Contains(u.out, tx) {
			u.out = append(u.out, tx)
		}
	}
	w.dangerous()
	if tx.doomed {
		return "40001"
	}
	return ""
}

// dangerous dooms where T3 has committed first.
func (w *world) dangerous() {
	for _, t1 := range byClient(w.serial) { // who began first must not show
		for _, t2 := range byClient(t1.out) {
			for _, t3 := range byClient(t2.out) {
				if t1.aborted() || t2.aborted() || t3.commit == 0 || t1.doomed || t2.doomed {
					continue
				}
				if t1 != t3 && t1.commit > 0 && t1.commit < t3.commit || t2.commit > 0 && t2.commit < t3.commit {
					continue
				}
				switch {
				case t2.commit == 0:
					t2.doomed = true
				case t1.commit == 0:
					t1.doomed = true
				}
			}
		}
	}
}

func byClient(txs []*txn) []*txn {
	return slices.SortedStableFunc(slices.Values(txs), func(a, b *txn) int { return a.client - b.client })
}

// doom is what a COMMIT does to others.
func (w *world) doom(me *txn) {
	if me.level == sched.Serializable {
		w.dangerous()
	}
}
