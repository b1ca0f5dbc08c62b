package wire

import (
	"bytes"
	"cmp"

	"github.com/jackc/pgx/v5/pgproto3"
)

// itemKind is what an item of the client's stream is.
type itemKind uint8

const (
	extended    itemKind = iota // messages of the extended protocol up to an Execute, a Flush or a Sync, that one not included
	synchronise                 // Sync
	query                       // Query
	call                        // FunctionCall
	rows                        // CopyData
	endOfRows                   // CopyDone, CopyFail
	other                       // whatever else: sent on for the server to judge
	endOfClient                 // the client disconnected
)

// item is what is sent to the server in one go.
type item struct {
	kind     itemKind
	bytes    []byte
	expect   []expectation
	prepares bool // there is a Parse in it, or the Describe of a statement
	binds    bool
	executes bool
	flushed  bool // the client asked for the answers, by Flush
	portal   portal
}

// itemSize is about what an item takes beside its bytes.
const itemSize = 128

func (it *item) size() int { return itemSize + len(it.bytes) }

// expectation is an answer that is due: '1', '2', '3' for Parse, Bind and Close complete, 'd' for a description, 'e' for the end of an
// Execute, 'z' for ReadyForQuery, 'q' for all that comes up to it, 'x' for an error.
type expectation struct {
	kind byte
	hide bool  // the client did not ask for it
	of   *text // what is described
}

// portal is what a Bind made.
type portal struct {
	text       *text
	parameters []Parameter
	formats    []int16 // of the columns; one: of all
}

// cut takes one message of the client and makes items.
func (c *Core) cut(message []byte) {
	if c.stage == authenticating && message[0] == 'p' {
		c.sendRaw(message)
		return
	}
	s := &c.segment
	body := message[header:]
	switch message[0] {
	case 'P':
		c.grow(message, '1')
		s.prepares = true
		var m pgproto3.Parse
		if m.Decode(body) == nil {
			t := parse(m.Query)
			t.types = m.ParameterOIDs
			c.statements[m.Name] = &t
			s.portal = portal{text: &t}
		}
	case 'B':
		c.grow(message, '2')
		s.binds = true
		var m pgproto3.Bind
		if m.Decode(body) == nil {
			p := portal{text: c.statements[m.PreparedStatement], formats: m.ResultFormatCodes}
			p.parameters = parameters(&m, p.text)
			c.portals[m.DestinationPortal] = p
			s.portal = p
		}
	case 'D':
		c.grow(message, 'd')
		s.prepares = s.prepares || len(body) > 0 && body[0] == 'S'
		of := &s.expect[len(s.expect)-1].of
		if name, ok := named(body, 'S'); ok {
			*of = c.statements[name]
			s.portal.text = cmp.Or(s.portal.text, *of)
		} else if name, ok := named(body, 'P'); ok {
			*of = c.portals[name].text
		}
	case 'C':
		c.grow(message, '3')
		if name, ok := named(body, 'S'); ok {
			delete(c.statements, name)
		} else if name, ok := named(body, 'P'); ok {
			delete(c.portals, name)
		}
	case 'E':
		c.grow(message, 'e')
		s.executes = true
		name, _, _ := bytes.Cut(body, []byte{0})
		s.portal = c.portals[string(name)]
		c.endSegment()
	case 'H':
		s.flushed = true
		c.endSegment() // without messages before it, it asks for nothing that we have not asked for
	case 'S':
		c.endSegment()
		c.pushMessage(synchronise, message)
	case 'Q':
		c.endSegment()
		c.pushMessage(query, message)
		delete(c.statements, "") // a Query drops the unnamed ones
		delete(c.portals, "")
	case 'F':
		c.endSegment()
		c.pushMessage(call, message)
	case 'd':
		c.endSegment()
		c.pushMessage(rows, message)
	case 'c', 'f':
		c.endSegment()
		c.pushMessage(endOfRows, message)
	default:
		c.endSegment()
		c.pushMessage(other, message)
	}
}

// grow adds a message to the segment.
func (c *Core) grow(message []byte, answer byte) {
	s := &c.segment
	if len(s.bytes) == 0 && s.expect == nil && len(c.spare) > 0 {
		last := len(c.spare) - 1
		s.bytes, s.expect = c.spare[last].bytes[:0], c.spare[last].expect[:0]
		c.spare = c.spare[:last]
	}
	s.bytes = append(s.bytes, message...)
	s.expect = append(s.expect, expectation{kind: answer})
	c.queued += len(message)
}

func (c *Core) endSegment() {
	if len(c.segment.bytes) > 0 {
		c.queued += itemSize
		c.queue = append(c.queue, c.segment)
	}
	c.segment = item{}
}

func (c *Core) pushMessage(kind itemKind, message []byte) {
	it := item{kind: kind}
	if kind != synchronise { // which is always the same
		it.bytes = append(it.bytes, message...)
	}
	c.push(it)
}

func (c *Core) push(it item) {
	c.queued += it.size()
	c.queue = append(c.queue, it)
}

// pop takes the first item off the queue. Its memory is used again: what is needed of it must have been copied.
func (c *Core) pop() {
	it := c.queue[0]
	c.queued -= it.size()
	copy(c.queue, c.queue[1:])
	c.queue[len(c.queue)-1] = item{}
	c.queue = c.queue[:len(c.queue)-1]
	if it.kind == extended && cap(it.bytes) < 1<<16 && len(c.spare) < 4 {
		c.spare = append(c.spare, it)
	}
}

// named returns the name in a Close or Describe of a statement, 'S', or a portal, 'P'.
func named(body []byte, kind byte) (string, bool) {
	if len(body) < 2 || body[0] != kind {
		return "", false
	}
	name, _, _ := bytes.Cut(body[1:], []byte{0})
	return string(name), true
}

func parameters(m *pgproto3.Bind, of *text) []Parameter {
	if len(m.Parameters) == 0 {
		return nil
	}
	out := make([]Parameter, len(m.Parameters))
	for i, value := range m.Parameters {
		if of != nil && i < len(of.types) {
			out[i].Type = of.types[i]
		}
		switch {
		case value == nil:
			out[i].Null = true
		case isBinary(m.ParameterFormatCodes, i):
			out[i].Binary = bytes.Clone(value)
		default:
			out[i].Text = string(value)
		}
	}
	return out
}

// isBinary says whether the value at i is, by the format codes of a Bind: none is text, a single one is for all.
func isBinary(formats []int16, i int) bool {
	if len(formats) == 1 {
		i = 0
	}
	return i < len(formats) && formats[i] == pgproto3.BinaryFormat
}
