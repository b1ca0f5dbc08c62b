package wire

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"sync"
)

// Core is the gate on one session, without input or output: bytes go in from either side, bytes for either side and events come out, and steps
// wait until they are released. Its methods are safe for concurrent use; what they put out is to be taken in order, by one taker a side.
type Core struct {
	mu     sync.Mutex
	config Config
	stage  stage
	client reader
	server reader
	hello  []byte // a startup packet that has begun

	segment item // extended messages since the last that ended an item
	queue   []item
	spare   []item // for their memory
	queued  int    // bytes that queue and segment take
	held    offer
	tail    tail   // how to end what was executed, before the queue goes on
	flight  flight // what the server is at
	kept    []byte // the last CommandComplete of a simple Query, until its commit is answered
	rows    keeper // of what the server is at
	copyIn  bool   // the server reads the rows of a COPY

	statements map[string]*text
	portals    map[string]portal
	tx         transaction
	skipping   bool // after an error, the server ignores what comes before Sync
	pid        uint32
	key        []byte
	name       string // application_name, as the server has said last
	gone       bool   // the client disconnected
	closing    bool   // there is nothing more for the server: close
	ended      bool   // the server's side is over
	open       bool   // no step is held
	fatal      Result

	passed          []string // statements, since the last step
	steps, answered int
	last            Step
	lastResult      Result

	toClient, toServer []byte
	taken              int  // of toClient
	corked             bool // a server alone would not have sent the last of it yet: it waits for the Sync that has come already
	events             []Event
	number             uint64 // of the last
}

// stage is how far a session has come.
type stage uint8

const (
	greeting       stage = iota // the client's startup packet is due
	negotiating                 // the server's single byte is: TLS or not
	authenticating              // until the first ReadyForQuery
	talking
	opaque // not for us: TLS, replication, or no protocol that we know
	over
)

// NewCore returns a gate before the first byte of a session.
func NewCore(config Config) *Core {
	c := &Core{config: config, statements: map[string]*text{}, portals: map[string]portal{}}
	c.tx.start(cmp.Or(config.Isolation, ReadCommitted))
	return c
}

// FromClient takes bytes that the client sent. It does not keep p.
func (c *Core) FromClient(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.config.Split {
		c.toServer = append(c.toServer, p...)
	}
	c.readClient(p)
}

func (c *Core) readClient(p []byte) {
	for len(p) > 0 && c.stage != over {
		switch c.stage {
		case greeting, negotiating:
			p = c.greet(p)
			continue
		case opaque:
			c.sendRaw(p)
			return
		}
		if !c.config.Split {
			return // what the client sends from here on is not looked at
		}
		continues := c.client.body > 0
		piece, rest, whole := c.client.next(p, c.streams)
		p = rest
		switch {
		case c.client.raw:
			c.obscure()
			c.sendRaw(piece)
		case len(piece) == 0:
		case continues || !whole:
			c.sendRaw(piece)
		default:
			c.cut(piece)
		}
	}
	c.pump()
}

// streams says whether a message of the client needs not be whole: rows of a COPY that is under way.
func (c *Core) streams(kind byte) bool {
	return kind == 'd' && c.copyIn && len(c.queue) == 0 && len(c.segment.bytes) == 0
}

// FromServer takes bytes that the server sent. It does not keep p.
func (c *Core) FromServer(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.config.Split {
		c.give(p)
	}
	c.readServer(p)
}

func (c *Core) readServer(p []byte) {
	for len(p) > 0 {
		switch c.stage {
		case negotiating:
			c.negotiated(p[0])
			p = p[1:]
			continue
		case opaque, over, greeting: // before its startup packet, a client is told nothing; what comes is not for us to judge
			c.giveRaw(p)
			return
		}
		continues := c.server.body > 0
		piece, rest, whole := c.server.next(p, streamsFromServer)
		p = rest
		switch {
		case c.server.raw:
			c.obscure()
			c.giveRaw(piece)
		case len(piece) == 0:
		case continues:
			c.rows.more(piece)
			c.giveRaw(piece)
		case !whole:
			c.row(piece)
		case c.config.Split:
			c.answer(piece)
			c.pump()
		default:
			c.observe(piece)
		}
	}
}

func streamsFromServer(kind byte) bool { return kind == 'D' || kind == 'd' }

// obscure gives up reading the session: what was read of it goes where it was going, and so does all that follows.
func (c *Core) obscure() {
	c.unkeep()
	for i := range c.queue {
		c.sendRaw(c.queue[i].bytes)
	}
	c.sendRaw(c.segment.bytes)
	c.sendRaw(c.hello)
	if !c.client.raw {
		c.sendRaw(c.client.take())
	}
	if !c.server.raw {
		c.giveRaw(c.server.take())
	}
	c.queue, c.segment, c.hello, c.queued = nil, item{}, nil, 0
	c.abandon(Result{Lost: true, Status: Unknown})
	c.client.raw, c.server.raw = true, true
	c.stage = opaque
}

// sendRaw and giveRaw put out what is not to be changed; without Split, that has gone already.
func (c *Core) sendRaw(p []byte) {
	if c.config.Split {
		c.toServer = append(c.toServer, p...)
	}
}

func (c *Core) giveRaw(p []byte) {
	if c.config.Split {
		c.give(p)
	}
}

func (c *Core) give(p []byte) {
	if !c.gone {
		c.toClient, c.corked = append(c.toClient, p...), false
	}
}

// seen looks at what passed between client and server already, without Split.
func (c *Core) seen(p []byte, fromClient bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fromClient {
		c.readClient(p)
	} else {
		c.readServer(p)
	}
}

// is says whether a cancellation is meant for this session.
func (c *Core) is(pid uint32, key []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid == pid && bytes.Equal(c.key, key) && c.stage == talking
}

// ClientGone says that the client will send nothing more and read nothing more. What it had sent is still carried out, step by step.
func (c *Core) ClientGone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return
	}
	c.gone = true
	c.toClient, c.taken = nil, 0
	if c.stage == over {
		c.closing = true
		return
	}
	c.event(Event{Kind: Gone})
	if c.stage != talking || !c.config.Split {
		c.closing = true
		return
	}
	c.queued -= len(c.segment.bytes)
	c.segment = item{}
	c.push(item{kind: endOfClient})
	c.pump()
}

// ServerGone says that the server's side is over. What is held or under way ends with it.
func (c *Core) ServerGone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	c.end(Result{Lost: true, Status: Unknown})
	c.closing, c.toServer = true, nil
	c.event(Event{Kind: Closed})
}

// end stops the gate: nothing will be sent any more.
func (c *Core) end(r Result) {
	if c.stage == over {
		return
	}
	c.kept = nil
	c.queue, c.segment, c.queued = nil, item{}, 0
	c.stage = over
	c.abandon(r)
}

// abandon ends the step that is held or under way.
func (c *Core) abandon(r Result) {
	step := c.held.step
	if step.Index == 0 && c.flight.active {
		step = c.flight.step
	}
	c.held, c.tail, c.flight.active, c.copyIn, c.corked = offer{}, noTail, false, false, false
	if step.Index > 0 {
		c.finish(step, r)
	}
}

func (c *Core) finish(step Step, r Result) {
	c.answered++
	c.last, c.lastResult = step, r
	c.event(Event{Kind: Answered, Step: step, Result: r})
}

func (c *Core) event(e Event) {
	c.number++
	e.Number = c.number
	c.events = append(c.events, e)
}

// Release lets the held step go on to the server. It returns false if that step is not held. How it ends is told by its Answered event: a server
// that dies at this moment may be noticed only afterwards.
func (c *Core) Release(index int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if index == 0 || c.held.step.Index != index {
		return false
	}
	o := c.held
	c.held = offer{}
	c.launch(o)
	c.pump()
	return true
}

// Open opens the gate, or shuts it again. While it is open, steps are cut and reported, and go on at once, the one that is held first.
func (c *Core) Open(open bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = open
	if open && c.held.step.Index > 0 {
		o := c.held
		c.held = offer{}
		c.launch(o)
		c.pump()
	}
}

// TakeForClient moves bytes for the client to p and returns how many.
func (c *Core) TakeForClient(p []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := copy(p, c.toClient[c.taken:])
	c.taken += n
	if c.taken == len(c.toClient) {
		c.toClient, c.taken = c.toClient[:0], 0
		if cap(c.toClient) > 1<<20 {
			c.toClient = nil
		}
	}
	return n
}

// TakeForServer appends the bytes for the server to p.
func (c *Core) TakeForServer(p []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	p = append(p, c.toServer...)
	c.toServer = c.toServer[:0]
	if cap(c.toServer) > 1<<20 {
		c.toServer = nil
	}
	return p
}

// TakeEvents returns what has happened, in order. The memory of spare is used for what will happen.
func (c *Core) TakeEvents(spare []Event) []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	events := c.events
	clear(spare)
	c.events = spare[:0]
	return events
}

// Pending is how much a core has to be relieved of.
type Pending struct {
	ForClient int  // bytes to take
	Corked    bool // more of these will come, and the client cannot expect them before that
	ForServer int  // bytes to take
	Queued    int  // bytes of the client behind a step that is held or under way, or that came before the server takes commands
	Events    int  // to take
	Close     bool // after these bytes, the connection to the server is to be closed
	Over      bool // the server will send nothing more
}

// Pending returns how much there is to take.
func (c *Core) Pending() Pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	queued := 0
	if c.stage != talking || c.held.step.Index > 0 || c.flight.active && !c.copyIn { // else it is the client that is waited for
		queued = c.queued + len(c.client.partial) + len(c.hello)
	}
	return Pending{
		ForClient: len(c.toClient) - c.taken, Corked: c.corked, ForServer: len(c.toServer), Queued: queued,
		Events: len(c.events), Close: c.closing, Over: c.stage == over,
	}
}

func uint32At(p []byte, at int) uint32 { return binary.BigEndian.Uint32(p[at:]) }
