package sched_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/sched"
)

// body executes the operations that are statements.
func (w *world) body(s *statement) (result, code string) {
	o := s.op
	switch o.do {
	case "error":
		return "", "22012"
	case "advisory":
		s.touched = s.touched.Join(sched.Footprint{Keys: []string{fmt.Sprint(o.key)}})
		if code := w.await(s, &waiter{blocked: func() []*txn { return w.owner(s.tx, o.key) }}); code != "" {
			return "", code
		}
		w.own(s, o.key)
		return "locked", ""
	case "try":
		return fmt.Sprint(w.try(s, o.key)), ""
	case "lock":
		return "locked", w.lockTable(s, o.table, o.mode, o.how == "nowait")
	case "truncate":
		if code := w.lockTable(s, o.table, sched.AccessExclusive, false); code != "" {
			return "", code
		}
		t := w.tables[o.table]
		rows := t.rows
		if t.cut != s.tx {
			t.cut, t.was = s.tx, rows
			s.tx.undo = append(s.tx.undo, func() { t.cut = nil })
		}
		t.rows = nil
		s.tx.undo = append(s.tx.undo, func() { t.rows = rows })
		return "truncated", ""
	}
	if code := w.lockTable(s, o.table, explained(o), false); code != "" {
		return "", code
	}
	if !s.tx.fixed() {
		s.at = w.clock // the table is locked before the snapshot is taken
	}
	if code := w.conflicts(s); code != "" {
		return "", code
	}
	switch o.do {
	case "select":
		var rows []string
		for _, r := range w.tables[o.table].rows {
			if v, ok := r.visible(s.tx, s.at); ok && (o.key == 0 || r.key == o.key) {
				rows = append(rows, fmt.Sprintf("%d=%d", r.key, v.value))
			}
		}
		slices.Sort(rows)
		return "[" + strings.Join(rows, " ") + "]", ""
	case "insert if none":
		for _, r := range w.tables[o.table].rows {
			if _, ok := r.visible(s.tx, s.at); ok && r.key == o.key {
				return "none", ""
			}
		}
		return w.insert(s)
	case "insert if try":
		if !w.try(s, 2) {
			return "none", ""
		}
		return w.insert(s)
	case "insert", "insert or nothing":
		return w.insert(s)
	}
	return w.change(s) // for update, for share, update, delete
}

// explained returns the table lock that a plan shows without being executed.
func explained(o op) sched.Modes {
	switch o.do {
	case "select":
		return sched.AccessShare
	case "for update", "for share":
		return sched.RowShare
	case "insert if none":
		return sched.AccessShare | sched.RowExclusive
	case "lock":
		return o.mode
	case "truncate":
		return sched.AccessExclusive
	}
	return sched.RowExclusive
}

func (w *world) owner(tx *txn, key int) []*txn {
	if owner := w.advisory[key]; owner != nil && owner != tx {
		return []*txn{owner}
	}
	return nil
}

func (w *world) own(s *statement, key int) {
	if w.advisory[key] == s.tx {
		return
	}
	w.advisory[key] = s.tx
	s.tx.undo = append(s.tx.undo, func() { delete(w.advisory, key) })
}

// try takes an advisory lock if it is free; one that was not free leaves nothing to see.
func (w *world) try(s *statement, key int) bool {
	if len(w.owner(s.tx, key)) > 0 {
		return false
	}
	w.own(s, key)
	s.touched = s.touched.Join(sched.Footprint{Keys: []string{fmt.Sprint(key)}})
	return true
}

// change locks the rows that the statement sees, in the order of their keys, and changes them.
func (w *world) change(s *statement) (result, code string) {
	o := s.op
	want := map[string]strength{"for update": update, "for share": share, "update": noKeyUpdate, "delete": update}[o.do]
	var rows []*row
	for _, r := range w.tables[o.table].rows {
		if _, ok := r.visible(s.tx, s.at); ok && (o.key == 0 || r.key == o.key) {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b *row) int { return (a.key-b.key)*1000 + a.uid - b.uid })
	var got []string
	for _, r := range rows {
		skipped, code := w.lockRow(s, r, want, o.how)
		if code != "" {
			return "", code
		}
		if skipped {
			continue
		}
		v := r.latest()
		if v.by != s.tx && v.by.commit > s.at && s.tx.fixed() {
			return "", "40001"
		}
		if v.gone {
			continue
		}
		got = append(got, fmt.Sprintf("%d=%d", r.key, v.value))
		switch o.do {
		case "update":
			w.write(s, r, version{value: v.value*2 + o.value, by: s.tx})
		case "delete":
			w.write(s, r, version{gone: true, by: s.tx})
			if code := w.childless(s, r.key); code != "" {
				return "", code
			}
		}
	}
	return "[" + strings.Join(got, " ") + "]", ""
}

func (w *world) write(s *statement, r *row, v version) {
	r.versions = append(r.versions, v)
	s.tx.undo = append(s.tx.undo, func() {
		i := len(r.versions) - 1
		for r.versions[i] != v {
			i--
		}
		r.versions = slices.Delete(r.versions, i, i+1)
	})
}

func (w *world) insert(s *statement) (result, code string) {
	o, t := s.op, w.tables[s.op.table]
	if w.unique[o.table] {
		for again := true; again; {
			again = false
			for _, r := range slices.Clone(t.rows) {
				if r.key != o.key {
					continue
				}
				if by := r.latest().by; by.live && by != s.tx {
					blocked := func() []*txn {
						if by.live && slices.ContainsFunc(r.versions, func(v version) bool { return v.by == by }) {
							return []*txn{by}
						}
						return nil
					}
					if code := w.await(s, &waiter{blocked: blocked}); code != "" {
						return "", code
					}
					again = true
					break
				}
				if len(r.versions) == 0 || r.latest().gone || !slices.Contains(t.rows, r) {
					continue
				}
				if o.do != "insert or nothing" {
					return "", "23505"
				}
				if _, ok := r.visible(s.tx, s.at); !ok && s.tx.fixed() {
					return "", "40001"
				}
				return "nothing", ""
			}
		}
	}
	r := &row{o.key, 100*(s.tx.client+1) + s.step.Index, []version{{o.value, false, s.tx}}, map[*txn]strength{s.tx: update}}
	t.rows = append(t.rows, r)
	s.tx.undo = append(s.tx.undo, func() { t.rows = slices.DeleteFunc(t.rows, func(x *row) bool { return x == r }) })
	if parent := w.foreign[o.table]; parent != "" {
		check := func(s *statement) string { return w.parent(s, parent, o.value) }
		if w.later {
			s.tx.checks = append(s.tx.checks, check)
		} else if code := check(s); code != "" {
			return "", code
		}
	}
	return "inserted", ""
}

// parent locks the row that a child refers to.
func (w *world) parent(s *statement, name string, key int) string {
	if code := w.lockTable(s, name, sched.RowShare, false); code != "" {
		return code
	}
	at := w.clock
	for _, r := range slices.Clone(w.tables[name].rows) {
		if _, ok := r.visible(s.tx, at); !ok || r.key != key {
			continue
		}
		if _, code := w.lockRow(s, r, keyShare, ""); code != "" {
			return code
		}
		if !r.latest().gone {
			return ""
		}
	}
	return "23503"
}

// childless checks that nothing refers to a row that was deleted.
func (w *world) childless(s *statement, key int) string {
	for child, parent := range w.foreign {
		if parent != s.op.table {
			continue
		}
		check := func(s *statement) string {
			if code := w.lockTable(s, child, sched.RowShare, false); code != "" {
				return code
			}
			for _, p := range w.tables[parent].rows {
				if v, ok := p.visible(s.tx, w.clock); ok && p.key == key && !v.gone {
					return ""
				}
			}
			for _, r := range slices.Clone(w.tables[child].rows) {
				if v, ok := r.visible(s.tx, w.clock); ok && v.value == key {
					if _, code := w.lockRow(s, r, keyShare, ""); code != "" {
						return code
					}
					if !r.latest().gone {
						return "23503"
					}
				}
			}
			return ""
		}
		if w.later {
			s.tx.checks = append(s.tx.checks, check)
		} else if code := check(s); code != "" {
			return code
		}
	}
	return ""
}
