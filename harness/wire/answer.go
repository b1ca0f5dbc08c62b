package wire

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// answer takes one message of the server.
func (c *Core) answer(message []byte) {
	if c.stage == authenticating {
		c.authenticate(message)
		return
	}
	f := &c.flight
	kind, due := message[0], f.due()
	switch kind {
	case '1', '2', '3':
		if due != kind {
			break
		}
		if !f.came() {
			c.give(message)
		}
		c.settle()
		return
	case 't':
		c.describeParameters(message)
	case 'T', 'n':
		if kind == 'T' {
			c.describeRows(message)
		}
		if due != 'd' {
			break
		}
		if hide := f.came(); !hide || kind == 'T' {
			c.give(message)
		}
		c.settle()
		return
	case 'D':
		c.row(message)
		return
	case 'C', 'I', 's':
		c.complete(message)
		return
	case 'G':
		c.unkeep()
		c.give(message)
		c.beginCopy()
		return
	case 'W':
		c.give(message)
		c.obscure()
		return
	case 'S', 'A':
		c.named(message)
		c.aside(message)
		return
	case 'N':
		c.notice(message)
		return
	case 'E':
		c.refuse(message)
		return
	case 'Z':
		c.readyForQuery(message)
		return
	}
	c.unkeep()
	c.give(message)
}

// row passes a row on, or the beginning of one, or of a CopyData.
func (c *Core) row(piece []byte) {
	c.unkeep()
	if piece[0] == 'D' {
		c.flight.rows++
		c.rows.begin(piece)
	}
	c.giveRaw(piece)
}

// describeParameters notes the types of a statement's parameters.
func (c *Core) describeParameters(message []byte) {
	var m pgproto3.ParameterDescription
	if f := &c.flight; f.due() == 'd' && f.expect[f.next].of != nil && m.Decode(message[header:]) == nil {
		f.expect[f.next].of.types = m.ParameterOIDs
	}
}

// describeRows notes the columns of a statement, of what the server executes or of what was prepared.
func (c *Core) describeRows(message []byte) {
	f := &c.flight
	due := f.due()
	var m pgproto3.RowDescription
	if c.config.Keep == 0 || due != 'd' && due != 'q' || m.Decode(message[header:]) != nil {
		return
	}
	columns, formats := described(&m)
	if due == 'q' {
		c.rows = keeper{most: c.rows.most, columns: columns, formats: formats}
		return
	}
	of := f.expect[f.next].of
	if of == nil {
		return
	}
	of.columns = columns
	if of == f.text && c.rows.most > 0 {
		c.rows.columns = columns
	}
}

// complete takes the end of a statement: CommandComplete, EmptyQueryResponse or PortalSuspended.
func (c *Core) complete(message []byte) {
	f := &c.flight
	due := f.due()
	switch {
	case due != 'e' && due != 'q': // not asked for
		c.unkeep()
		c.give(message)
		return
	case due == 'q' && (f.expect[f.next].hide || f.mode == endOfInject || f.mode == undoInject):
		return // of our own BEGIN, COMMIT or ROLLBACK
	}
	f.result.Rows = f.rows
	f.result.Suspended = message[0] == 's'
	tag := ""
	if message[0] == 'C' {
		tag = string(bytes.TrimSuffix(message[header:], []byte{0}))
		if n, err := strconv.ParseInt(tag[strings.LastIndexByte(tag, ' ')+1:], 10, 64); err == nil {
			f.result.Rows = n
		}
	}
	f.result.Tag, f.rows = tag, 0
	c.unkeep()
	if f.mode == convert || f.mode == inject {
		c.kept = append(c.kept, message...)
	} else {
		c.give(message)
	}
	if due == 'e' {
		f.came()
		c.tx.said(f.text, false)
		if f.mode != convert {
			c.tx.completed(f.text, f.step.Kind, tag)
		}
		c.settle()
	}
}

// unkeep passes on what was kept back: something else came before the ReadyForQuery that it was kept for, so that it was not the last.
func (c *Core) unkeep() {
	if len(c.kept) > 0 {
		c.give(c.kept)
		c.kept = c.kept[:0]
	}
}

// aside passes on what the server says between its answers: changed parameters and notifications. If the statement's end is kept back, so is
// what came after it, as long as the commit has not answered.
func (c *Core) aside(message []byte) {
	switch f := &c.flight; {
	case len(c.kept) > 0 && (f.active && f.mode == inject || !f.active):
		c.kept = append(c.kept, message...)
	default:
		c.unkeep()
		c.give(message)
	}
}

// named notes what the server calls the session, if the message is about that.
func (c *Core) named(message []byte) {
	var m pgproto3.ParameterStatus
	if message[0] == 'S' && m.Decode(message[header:]) == nil && m.Name == "application_name" {
		c.name = m.Value
	}
}

// refuse takes an error.
func (c *Core) refuse(message []byte) {
	f := &c.flight
	r := c.failure(message)
	if r.Severity == "FATAL" || r.Severity == "PANIC" {
		c.kept = nil
		c.give(message)
		r.Status = Unknown
		c.fatal = r
		c.end(r)
		return
	}
	if f.active && f.mode == giveUp && f.due() == 'x' {
		f.came()
		message, r = canceled, Result{SQLState: "57014", Severity: "ERROR", Message: "canceling statement due to user request", Canceled: true}
	}
	if f.mode == endOfConvert || f.mode == endOfInject {
		c.kept = c.kept[:0] // a simple Query whose commit fails has no tag
	}
	c.unkeep()
	c.give(message)
	if !f.active {
		return
	}
	tag, rows := f.result.Tag, f.result.Rows
	f.result = r
	f.result.Tag, f.result.Rows = tag, rows
	c.copyIn = false
	if f.due() == 'q' {
		return // ReadyForQuery follows
	}
	// The server skips to Sync.
	for f.due() != 0 && f.due() != 'z' {
		f.came()
	}
	if f.due() == 0 {
		c.skipping = true
		c.tx.implicit = false
		c.tx.failed = c.tx.block
		c.settle()
	}
}

// readyForQuery takes the end of what the server was asked.
func (c *Core) readyForQuery(message []byte) {
	f := &c.flight
	if !f.active {
		c.readiness(message)
		c.unkeep()
		c.give(message)
		return
	}
	for f.due() != 0 && f.due() != 'z' && f.due() != 'q' {
		f.came()
	}
	ofText, hide := f.due() == 'q' && f.text != nil, false
	if f.due() != 0 {
		hide = f.came()
	}
	if ofText && !hide {
		if f.text.ends { // and perhaps begins the next
			c.tx.over(!c.undone(), f.text.chain)
		}
		c.tx.said(f.text, f.result.SQLState != "")
	}
	c.readiness(message)
	if !hide && (f.mode != inject || !c.tx.block) {
		c.unkeep()
		c.give(message)
	}
	c.settle()
}

// readiness reads the state that the server says its transaction is in.
func (c *Core) readiness(message []byte) {
	state := byte('I')
	if len(message) > header {
		state = message[header]
	}
	t := &c.tx
	if state == 'I' {
		t.over(!c.undone(), false)
	}
	t.block, t.failed, t.implicit = state != 'I', state == 'E', false
	c.skipping = false
}

// undone says whether a transaction that ends now is rolled back.
func (c *Core) undone() bool {
	f := &c.flight
	return c.skipping || f.active && (f.mode == undoInject || f.result.SQLState != "" || f.result.Tag == "ROLLBACK")
}

// settle ends the flight if all its answers have come.
func (c *Core) settle() {
	f := &c.flight
	if !f.active || f.due() != 0 {
		return
	}
	f.active = false
	if f.step.Kind == Whole {
		c.tx.snapshot = false // or not: that is not known
	}
	failed := f.result.SQLState != ""
	f.result.Status = c.tx.status()
	switch f.mode {
	case convert:
		if !failed {
			f.result.Status = Implicit
			c.tail = syncTail
		}
	case inject:
		if c.tx.block && !failed {
			f.result.Status = Implicit
			c.tail = commitTail
		} else if c.tx.block {
			f.result.Status = Idle
		}
	}
	if f.step.Index > 0 {
		f.result.Columns, f.result.Values = c.rows.names(), c.rows.values
		c.finish(f.step, f.result)
	}
	switch {
	case f.mode == convert && failed:
		// The server skips to Sync; the statement that we named nothing is not one that the client knows.
		c.skipping = false
		*f = flight{step: Step{Kind: Pass}, expect: f.expect[:0]}
		c.send(syncMessage, closeUnnamed, flushMessage)
		c.await(expectation{kind: 'z'}, expectation{kind: '3', hide: true})
	case f.mode == inject && c.tx.block && failed:
		*f = flight{step: Step{Kind: Pass}, mode: undoInject, expect: f.expect[:0]}
		c.send(rollbackQuery)
		c.await(expectation{kind: 'q'})
	}
}
