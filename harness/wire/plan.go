package wire

import "strings"

// mode is how an item is sent, and its answers are handled.
type mode uint8

const (
	plain   mode = iota
	convert      // a simple Query, as Parse, Bind, Describe, Execute, Flush
	inject       // within BEGIN and COMMIT
	endOfConvert
	endOfInject
	undoInject // the ROLLBACK after an error within inject
	giveUp     // a message that fails, in the place of what the client canceled
)

// offer is a step with the way it is to be sent.
type offer struct {
	step     Step
	mode     mode
	canceled bool // in vain
}

// tail is how to end a statement of which the first step was answered.
type tail uint8

const (
	noTail     tail = iota
	syncTail        // Close of the unnamed statement, and Sync
	commitTail      // COMMIT
)

// plan decides how the first item of the queue is sent. A step of kind [Pass] is none.
func (c *Core) plan(it *item) offer {
	switch it.kind {
	case extended:
		return offer{step: c.extendedStep(it)}
	case synchronise:
		if c.tx.implicit && !c.skipping {
			return offer{step: Step{Kind: Commit, SQL: c.tx.sql.text()}}
		}
	case query:
		return c.planQuery(it)
	case call:
		switch {
		case c.tx.status() == Idle:
			return offer{step: Step{Kind: Statement, SQL: functionCall, Injected: true}, mode: inject}
		case !c.tx.failed:
			return offer{step: Step{Kind: Statement, SQL: functionCall}}
		}
	}
	return offer{step: Step{Kind: Pass}}
}

const functionCall = "(function call)"

// extendedStep says what a batch of the extended protocol is.
func (c *Core) extendedStep(it *item) Step {
	s := Step{Kind: Pass, SQL: it.portal.text.text(), Parameters: it.portal.parameters}
	v := ordinary
	if it.portal.text != nil {
		v = it.portal.text.verb
	}
	harmless := v == quiet || v == empty || v == begin || v == savepoint || v == release || c.tx.block && v == quietIn || !c.tx.block && v == quietOut
	switch {
	case c.skipping || c.tx.failed && v != commit && v != rollback && v != rollbackTo:
	case it.executes:
		s.Kind = kindOf(v, c.tx.block, c.tx.implicit)
	case it.binds && !harmless && !v.control() && (c.tx.block || it.flushed):
		s.Kind = Bind
	case it.prepares && !harmless && !v.control() && !c.tx.snapshot && (c.tx.block || it.flushed) && c.tx.level != ReadCommitted:
		s.Kind = Prepare
	}
	return s
}

// kindOf says what executing one statement is.
func kindOf(v verb, block, implicit bool) Kind {
	open := block || implicit
	switch v {
	case empty, quiet, begin, savepoint, release:
		return Pass
	case quietIn:
		if block {
			return Pass
		}
	case quietOut:
		if !block {
			return Pass
		}
	case commit, prepareTx:
		if open {
			return Commit
		}
		return Pass
	case rollback:
		if open {
			return Rollback
		}
		return Pass
	case rollbackTo:
		if open {
			return RollbackTo
		}
		return Pass
	}
	return Statement
}

// planQuery decides how a simple Query is sent.
func (c *Core) planQuery(it *item) offer {
	sql, _, _ := strings.Cut(string(it.bytes[header:]), "\x00")
	t := parse(sql)
	it.portal = portal{text: &t}
	s := Step{Kind: Pass, SQL: sql}
	if t.statements > 1 {
		s.Statements, s.Level, s.Savepoint = t.statements, t.level, t.savepoints
	}
	o := offer{step: s}
	switch {
	case c.skipping || t.statements == 0 || t.quiet:
	case c.tx.failed && !t.control:
	case t.statements > 1 && t.control, c.tx.implicit && !c.tx.block:
		o.step.Kind = Whole
	case c.tx.block && t.statements > 1:
		o.step.Kind = Statement
	case c.tx.block:
		o.step.Kind = kindOf(t.verb, true, false)
		if c.tx.failed && o.step.Kind == Statement {
			o.step.Kind = Pass
		}
	case t.statements > 1 || t.verb == fetch || t.parameters && kindOf(t.verb, false, false) == Statement:
		o.step.Kind, o.step.Injected, o.mode = Statement, true, inject
	default:
		o.step.Kind = kindOf(t.verb, false, false)
		if o.step.Kind == Statement && t.verb != controls {
			o.mode = convert
		}
	}
	return o
}

// text is the SQL of a statement that may be unknown.
func (t *text) text() string {
	if t == nil {
		return ""
	}
	return t.sql
}
