package wire

import (
	"cmp"
	"slices"

	"github.com/jackc/pgx/v5/pgproto3"
)

// flight is what the server is at. There is one at a time.
type flight struct {
	active bool
	mode   mode
	step   Step // of kind Pass, if it is none
	text   *text
	expect []expectation // those from next on are still due
	next   int
	result Result
	rows   int64
	waits  int // notices that the backend waits for a lock
}

// due returns the answer that is expected next; 0 if none is.
func (f *flight) due() byte {
	if !f.active || f.next == len(f.expect) {
		return 0
	}
	return f.expect[f.next].kind
}

// came crosses the next answer off, and says whether it is to be hidden.
func (f *flight) came() (hide bool) {
	f.next++
	return f.expect[f.next-1].hide
}

// Messages that are always the same.
var (
	syncMessage   = encode(&pgproto3.Sync{})
	flushMessage  = encode(&pgproto3.Flush{})
	closeUnnamed  = encode(&pgproto3.Close{ObjectType: 'S'})
	runUnnamed    = encode(&pgproto3.Bind{}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Flush{})
	beginQuery    = encode(&pgproto3.Query{String: "BEGIN"})
	commitQuery   = encode(&pgproto3.Query{String: "COMMIT"})
	rollbackQuery = encode(&pgproto3.Query{String: "ROLLBACK"})
	failing       = encode(&pgproto3.Bind{PreparedStatement: "canceled by the client while held"})
)

func encode(messages ...pgproto3.FrontendMessage) []byte {
	var p []byte
	for _, m := range messages {
		var err error
		if p, err = m.Encode(p); err != nil {
			panic(err) // only a message that is too long can fail
		}
	}
	return p
}

// pump sends what can be sent, until the server is busy, a step is held, or there is nothing left.
func (c *Core) pump() {
	for c.stage == talking && c.held.step.Index == 0 {
		switch {
		case c.flight.active:
			if !c.copyIn || len(c.queue) == 0 {
				return
			}
			c.feed()
		case c.tail != noTail:
			c.corked = true
			o := offer{step: Step{Kind: Commit, SQL: c.tx.sql.text()}, mode: endOfConvert}
			if c.tail == commitTail {
				o.mode, o.step.Injected = endOfInject, true
			}
			c.offer(o)
		case len(c.queue) == 0:
			return
		default:
			c.corked = c.queue[0].kind == synchronise
			c.offer(c.plan(&c.queue[0]))
		}
	}
}

// offer holds a step, or sends it if it is not to be held.
func (c *Core) offer(o offer) {
	if o.step.Kind == Pass {
		if c.config.Keep > 0 && c.tail == noTail {
			if it := &c.queue[0]; it.portal.text.text() != "" && (it.kind == query || it.executes) {
				c.passed = append(c.passed, it.portal.text.sql)
			}
		}
		c.launch(o)
		return
	}
	o.step.Passed, c.passed = c.passed, nil
	c.steps++
	o.step.Index = c.steps
	o.step.InTransaction = c.tx.block && c.tail == noTail
	o.step.Level = cmp.Or(o.step.Level, c.tx.level)
	o.step.Savepoint = o.step.Savepoint || len(c.tx.savepoints) > 0
	if !c.open && (c.config.Hold == nil || c.config.Hold(o.step)) {
		c.held = o
		c.event(Event{Kind: Held, Step: o.step})
		return
	}
	c.launch(o)
}

// launch sends the tail, or the first item of the queue.
func (c *Core) launch(o offer) {
	if o.step.Index > 0 {
		c.event(Event{Kind: Released, Step: o.step})
	}
	f := &c.flight
	*f = flight{step: o.step, mode: o.mode, expect: f.expect[:0]}
	c.rows = keeper{}
	if c.tail != noTail {
		if c.tail == syncTail {
			c.send(closeUnnamed, syncMessage)
			c.await(expectation{kind: '3', hide: true}, expectation{kind: 'z'})
		} else {
			c.send(commitQuery)
			c.await(expectation{kind: 'q'})
		}
		c.tail = noTail
		return
	}
	it := &c.queue[0]
	f.text = it.portal.text
	switch {
	case it.kind == synchronise:
		c.send(syncMessage)
		c.await(expectation{kind: 'z'})
	case c.skipping:
		c.send(it.bytes) // not answered
	case it.kind == extended:
		c.launchExtended(it)
	case it.kind == query || it.kind == call:
		c.launchQuery(it)
	case it.kind == endOfClient:
		c.closing = true
	default:
		c.send(it.bytes)
	}
	c.pop()
}

func (c *Core) launchExtended(it *item) {
	f := &c.flight
	commits := !c.tx.block && (c.tx.implicit || f.step.Index > 0) // then Sync is a step of its own
	c.tx.begins(it.portal.text, f.step.Kind)
	if f.step.Index > 0 && it.executes && !c.tx.block {
		c.tx.sql = it.portal.text
	}
	if it.executes && f.step.Index > 0 {
		c.rows = keeper{most: c.config.Keep, formats: it.portal.formats}
		if f.text != nil {
			c.rows.columns = f.text.columns
		}
	}
	c.send(it.bytes)
	f.expect = append(f.expect, it.expect...)
	if len(c.queue) > 1 && c.queue[1].kind == synchronise && !commits {
		c.queued -= c.queue[1].size()
		copy(c.queue[1:], c.queue[2:])
		c.queue[len(c.queue)-1] = item{}
		c.queue = c.queue[:len(c.queue)-1]
		c.send(syncMessage)
		c.await(expectation{kind: 'z'})
		return
	}
	c.send(flushMessage)
	c.await()
}

func (c *Core) launchQuery(it *item) {
	f := &c.flight
	c.tx.begins(it.portal.text, f.step.Kind)
	if !c.tx.block {
		c.tx.sql = it.portal.text
	}
	if f.step.Index > 0 {
		c.rows.most = c.config.Keep
	}
	switch f.mode {
	case convert:
		c.toServer, _ = (&pgproto3.Parse{Query: f.text.sql}).Encode(c.toServer)
		c.send(runUnnamed)
		c.await(expectation{kind: '1', hide: true}, expectation{kind: '2', hide: true}, expectation{kind: 'd', hide: true, of: f.text}, expectation{kind: 'e'})
	case inject:
		c.send(beginQuery, it.bytes)
		c.await(expectation{kind: 'q', hide: true}, expectation{kind: 'q'})
	default:
		c.send(it.bytes)
		c.await(expectation{kind: 'q'})
	}
}

// feed goes on with the client's stream while the server reads the rows of a COPY. It then swallows Sync and Flush, so we do not send them.
func (c *Core) feed() {
	switch it := &c.queue[0]; it.kind {
	case synchronise:
	case endOfRows:
		c.copyIn = false
		c.send(it.bytes)
		if c.flight.due() != 'q' {
			c.send(flushMessage)
		}
	case endOfClient:
		c.closing, c.copyIn = true, false
	default:
		c.send(it.bytes)
	}
	c.pop()
}

func (c *Core) send(messages ...[]byte) {
	for _, m := range messages {
		c.toServer = append(c.toServer, m...)
	}
}

// await expects answers, after those that are expected already. With none at all, the server is not busy.
func (c *Core) await(answers ...expectation) {
	f := &c.flight
	f.expect = append(f.expect, answers...)
	f.active = len(f.expect) > 0
}

// beginCopy: the server wants rows. A Sync that the client sent along with its Execute comes before the first of them, and is swallowed.
func (c *Core) beginCopy() {
	c.copyIn = true
	if f := &c.flight; f.active && len(f.expect) > 0 && f.expect[len(f.expect)-1].kind == 'z' {
		f.expect = f.expect[:len(f.expect)-1]
	}
	for len(c.queue) > 0 && c.queue[0].kind == synchronise {
		c.pop()
	}
}

// Cancel says that the client asked for what it has sent to be canceled. It returns whether the server should be told. A step that is held does
// not reach the server any more: it fails there with query_canceled, as if it had begun, and the client is told so. A commit that is held has
// nothing to cancel, as a commit that the server is at; nor has what a client sent that is gone: it has been on its way for longer.
func (c *Core) Cancel() (forward bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.event(Event{Kind: Canceled})
	o := c.held
	if o.step.Index == 0 {
		return true
	}
	if o.step.Kind == Commit || c.gone || len(c.queue) == 0 {
		c.held.canceled = true
		return false
	}
	c.held = offer{}
	it := &c.queue[0]
	c.flight, c.rows = flight{step: o.step, mode: giveUp, expect: c.flight.expect[:0]}, keeper{}
	c.send(failing)
	if it.kind == extended {
		c.send(flushMessage)
		c.await(expectation{kind: 'x'})
	} else {
		c.send(syncMessage)
		c.await(expectation{kind: 'x'}, expectation{kind: 'z'})
	}
	c.pop()
	c.pump()
	return false
}

// canceled is what the server says to a client that canceled.
var canceled = func() []byte {
	p, _ := (&pgproto3.ErrorResponse{
		Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "57014", Message: "canceling statement due to user request",
		File: "postgres.c", Routine: "ProcessInterrupts",
	}).Encode(nil)
	return slices.Clip(p)
}()
