package wire

import "slices"

// transaction is what is known of the session's transaction before the server says it in ReadyForQuery, and what the server never says.
type transaction struct {
	block, failed bool
	implicit      bool // outside a block, something was executed that Sync will commit
	snapshot      bool // the snapshot is there already
	level         Level
	savepoints    []string // that are open; an empty name is never released
	sql           *text    // of what was executed last outside a block

	later     Level // the level of transactions to come
	atOutset  Level // later, when this one began: what its rollback goes back to
	ofSession Level // later, when the session began: what RESET goes back to
}

func (t *transaction) status() Status {
	switch {
	case t.failed:
		return Failed
	case t.block:
		return InTransaction
	case t.implicit:
		return Implicit
	}
	return Idle
}

// start notes the level that the session begins with.
func (t *transaction) start(level Level) {
	t.level, t.later, t.atOutset, t.ofSession = level, level, level, level
}

// begins notes what goes to the server.
func (t *transaction) begins(x *text, kind Kind) {
	if !t.block {
		t.snapshot = false
	}
	switch kind {
	case Statement:
		t.snapshot = t.snapshot || x == nil || x.verb != locks
	case Prepare, Bind:
		t.snapshot = true
	}
}

// said notes what a text did that the server has executed.
func (t *transaction) said(x *text, failed bool) {
	switch {
	case x == nil:
		return
	case x.statements > 1 && x.savepoints:
		t.savepoints = append(t.savepoints, "") // perhaps: some of the statements may not have been executed
	case failed:
	case x.verb == savepoint:
		t.savepoints = append(t.savepoints, x.savepoint)
	case x.verb == release:
		for i, name := range slices.Backward(t.savepoints) {
			if name == x.savepoint {
				t.savepoints = t.savepoints[:i]
				break
			}
		}
	}
	if failed {
		return
	}
	if x.level != "" {
		t.level = x.level
	}
	if x.resets {
		t.later = t.ofSession
	}
	if x.later != "" {
		t.later = x.later
	}
}

// completed notes that a statement of the extended protocol was executed.
func (t *transaction) completed(x *text, kind Kind, tag string) {
	v := ordinary
	if x != nil {
		v = x.verb
	}
	switch {
	case tag == "BEGIN" || tag == "START TRANSACTION":
		t.block, t.implicit = true, false
	case v == rollbackTo:
		t.failed = false
	case tag == "COMMIT" || tag == "ROLLBACK" || tag == "PREPARE TRANSACTION":
		chained := t.block && x != nil && x.chain
		t.over(tag != "ROLLBACK", chained)
		t.block, t.failed, t.implicit = chained, false, false
	case !t.block && kind != Pass:
		t.implicit = true
	}
}

// over notes that the transaction has ended; chained, the next has begun, of the same level.
func (t *transaction) over(committed, chained bool) {
	if !committed {
		t.later = t.atOutset
	}
	t.atOutset, t.snapshot, t.savepoints = t.later, false, t.savepoints[:0]
	if !chained {
		t.level = t.later
	}
}
