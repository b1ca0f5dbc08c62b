package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// What a session buffers before it makes its client, or the server, wait.
const (
	mostForClient = 16 << 20 // so that a step is seen to end although the client reads slowly, up to here
	mostForServer = 1 << 20
	readSize      = 32 << 10
	// A socket takes this much although nobody reads it: such a write does not block.
	writeAtOnce = 32 << 10
	// A server sends what it has for a client when it has this much, and when it is done.
	sentAtOnce = 8 << 10
)

// patience is how long nobody reads from the server before attend does.
const patience = time.Millisecond

// Session is a connection to a server with the gate on it. It is a [net.Conn], for one client, and what the client's scheduler has hold of.
// Its methods are safe for concurrent use.
//
// What the server says is looked at by the client itself while it reads, which spares it from being woken by another. With [Config].Split, it must
// also be seen when the client does something else: once nobody has read for a moment, a goroutine does, until the client is back.
//
// Who reads never waits for the server to read: if both sides of a connection waited for that, neither would. Whoever causes something to be
// sent sends it, the client that writes or reads, or the caller of Release, if the socket takes it at once; the rest is sent by a goroutine of
// its own.
type Session struct {
	name   string
	gate   *Gate
	core   *Core
	server net.Conn

	readable, written chan struct{} // each of one place: something changed, look again
	reading, writing  deadline

	closeOnce sync.Once
	closed    chan struct{} // the client closed
	endOnce   sync.Once
	ended     chan struct{} // the server's side is over, and readErr is set
	readErr   error

	turn   sync.Mutex  // who has it reads from the server
	in     []byte      // of who has the turn
	wanted atomic.Bool // the client waits for the turn
	armed  atomic.Bool // idle will fire
	idle   *time.Timer

	sending    sync.Mutex // who has it writes to the server
	out        []byte
	unanswered atomic.Int64 // bytes sent since the server last said something
	telling    sync.Mutex   // who has it delivers events
	events     []Event
	work       sync.WaitGroup
	life       sync.Mutex
	dead       bool // nothing is started in work any more
}

func newSession(g *Gate, name string, server net.Conn) *Session {
	if d, ok := server.(*dialed); ok {
		server = d.Conn // which has done what it is for
	}
	s := &Session{
		name: name, gate: g, core: NewCore(g.config), server: server,
		readable: make(chan struct{}, 1), written: make(chan struct{}, 1),
		closed: make(chan struct{}), ended: make(chan struct{}),
	}
	if g.config.Split {
		s.in = make([]byte, readSize)
		s.reading.passes = s.interrupt
		s.turn.Lock()
		s.idle = time.AfterFunc(patience, func() {
			s.armed.Store(false)
			s.start(s.attend)
		})
		s.yield()
	}
	return s
}

// start runs f beside, until which [Gate.Close] waits.
func (s *Session) start(f func()) {
	s.life.Lock()
	defer s.life.Unlock()
	if !s.dead {
		s.work.Go(f)
	}
}

// finish waits until nothing of the session runs any more; its server's side is over.
func (s *Session) finish() {
	<-s.ended
	s.life.Lock()
	s.dead = true
	s.life.Unlock()
	s.work.Wait()
	s.turn.Lock() // the client, which may be telling the end
	defer s.turn.Unlock()
}

// Name is what the session was called.
func (s *Session) Name() string { return s.name }

// State returns where the session stands.
func (s *Session) State() State { return s.core.State() }

// Release lets the held step go to the server. It returns false if that step is not held any more. What became of it is told by its Answered
// event, or by State, and by nothing else.
func (s *Session) Release(index int) bool {
	ok := s.core.Release(index)
	s.follow()
	return ok
}

// Open opens the gate of this session, or shuts it again: open, it holds nothing.
func (s *Session) Open(open bool) {
	s.core.Open(open)
	s.follow()
}

// Abort ends the session at once, whatever is held, as if the network had gone. The server rolls back what it has not committed.
func (s *Session) Abort() error {
	err := s.server.Close()
	if s.gate.config.Split {
		s.start(func() {
			s.turn.Lock()
			defer s.yield()
			s.receive() // that it is over
		})
	} else {
		s.end(net.ErrClosed)
		s.tell()
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// End is Abort, and waits until nothing of the session runs any more. Like [Gate.Close], it is not to be called by [Config].Events.
func (s *Session) End() error {
	err := s.Abort()
	s.finish()
	return err
}

// Ended is closed when the server's side is over.
func (s *Session) Ended() <-chan struct{} { return s.ended }

// Read implements [net.Conn].
func (s *Session) Read(p []byte) (int, error) {
	if !s.gate.config.Split {
		return s.readThrough(p)
	}
	for {
		limit := s.reading.channel()
		n, err := s.take(p, limit)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		s.wanted.Store(true)
		if !s.turn.TryLock() {
			select {
			case <-s.readable:
			case <-s.ended:
			case <-s.closed:
			case <-limit:
			}
			continue
		}
		s.wanted.Store(false)
		// Whoever had the turn before may have received what we wait for.
		if n, err = s.take(p, limit); n == 0 && err == nil {
			s.receive()
		}
		s.yield()
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// take returns what there is for the client: bytes, an error, or nothing yet.
func (s *Session) take(p []byte, limit <-chan struct{}) (int, error) {
	switch {
	case isClosed(s.closed):
		return 0, net.ErrClosed
	case isClosed(limit):
		return 0, os.ErrDeadlineExceeded
	}
	ended := isClosed(s.ended) // looked at before the bytes: none come after it
	if s.ready() {
		n := s.core.TakeForClient(p)
		if n == len(p) {
			wake(s.readable) // there may be more, for somebody else who reads
		}
		return n, nil
	}
	if ended {
		wake(s.readable)
		return 0, s.readErr
	}
	return 0, nil
}

func (s *Session) readThrough(p []byte) (int, error) {
	n, err := s.server.Read(p)
	if n > 0 {
		s.core.seen(p[:n], false)
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.end(err)
	}
	s.tell()
	return n, err
}

// Write implements [net.Conn]. What it takes goes to the server in its order, some of it after Write has returned.
func (s *Session) Write(p []byte) (int, error) {
	if !s.gate.config.Split {
		n, err := s.server.Write(p)
		s.core.seen(p[:n], true)
		return n, err
	}
	for {
		limit := s.writing.channel()
		switch {
		case isClosed(s.closed):
			return 0, net.ErrClosed
		case isClosed(limit):
			return 0, os.ErrDeadlineExceeded
		}
		pending := s.core.Pending()
		if isClosed(s.ended) && pending.ForClient == 0 {
			return 0, syscall.EPIPE
		}
		if pending.Over || pending.Queued < mostForServer && pending.ForServer < mostForServer {
			break
		}
		select {
		case <-s.written:
		case <-s.ended:
		case <-s.closed:
		case <-limit:
		}
	}
	s.core.FromClient(p)
	s.follow()
	return len(p), nil
}

// Close implements [net.Conn], for the client. What it had sent is still carried out, as it would be without a gate: the connection to the server
// is closed when that is done, when the last step has been released.
func (s *Session) Close() error {
	err := net.ErrClosed
	s.closeOnce.Do(func() {
		err = nil
		s.core.ClientGone()
		close(s.closed)
		if !s.gate.config.Split {
			if err = s.server.Close(); isClosed(s.ended) {
				err = nil // it was closed already
			}
			s.end(net.ErrClosed)
			s.tell()
			return
		}
		s.interrupt()
		s.follow()
		s.start(s.attend)
	})
	return err
}

// receive takes what the server says next. The caller has the turn.
func (s *Session) receive() {
	n, err := s.server.Read(s.in)
	if n > 0 {
		s.unanswered.Store(0)
		s.core.FromServer(s.in[:n])
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		_ = s.server.SetReadDeadline(time.Time{}) // it was an interruption
	case err != nil:
		s.end(err)
	}
	s.follow()
}

// interrupt makes who reads from the server look around; what there is to see has been set before.
func (s *Session) interrupt() { _ = s.server.SetReadDeadline(time.Unix(1, 0)) }

// yield gives the turn back. Somebody will take it: the client that waits for it or is back within a moment, or else attend.
func (s *Session) yield() {
	s.turn.Unlock()
	if s.wanted.Swap(false) {
		wake(s.readable)
	}
	if !isClosed(s.ended) && s.armed.CompareAndSwap(false, true) {
		s.idle.Reset(patience)
	}
}

// attend reads from the server until the client wants to.
func (s *Session) attend() {
	if !s.turn.TryLock() {
		return
	}
	defer s.yield()
	for !isClosed(s.ended) && !s.wanted.Load() && s.core.Pending().ForClient < mostForClient {
		s.receive()
	}
}

// end notes that the server's side is over.
func (s *Session) end(err error) {
	s.endOnce.Do(func() {
		s.readErr = err
		if errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) {
			s.readErr = io.EOF
		}
		s.core.ServerGone()
		close(s.ended)
		if s.idle != nil {
			s.idle.Stop()
		}
		s.gate.forget(s)
		_ = s.server.Close() // of what is over, nothing can be lost
		wake(s.written)
	})
}

// follow does what an input to the core has led to: it reports events, sends what is to be sent and wakes the client.
func (s *Session) follow() {
	s.tell()
	s.flush()
	if s.ready() || isClosed(s.ended) {
		wake(s.readable)
	}
	wake(s.written) // what was under way may be over
	s.gate.notify()
}

// ready says whether the client has something to read.
func (s *Session) ready() bool {
	p := s.core.Pending()
	return p.ForClient > 0 && (!p.Corked || p.ForClient > sentAtOnce)
}

// tell delivers events. If somebody else is at it, that one will deliver these as well.
func (s *Session) tell() {
	for s.core.Pending().Events > 0 && s.telling.TryLock() {
		s.events = s.core.TakeEvents(s.events)
		for i := range s.events {
			s.gate.event(s, &s.events[i])
		}
		s.telling.Unlock()
		s.gate.notify()
	}
}

// flush sends what there is to send, leaving what may block to a goroutine. As long as there are events, whoever tells them is to send it afterwards:
// that a step was released is told before anything that comes of it.
func (s *Session) flush() {
	for {
		p := s.core.Pending()
		switch {
		case p.ForServer == 0 && !p.Close, p.Events > 0, isClosed(s.ended):
			return
		case s.unanswered.Load()+int64(p.ForServer) > writeAtOnce:
			s.start(s.drain)
			return
		case !s.sending.TryLock():
			return // whoever has it looks again afterwards
		}
		done := s.sendOnce()
		s.sending.Unlock()
		if done {
			return
		}
	}
}

// drain sends what there is to send, and may block.
func (s *Session) drain() {
	for s.sending.TryLock() {
		done := s.sendOnce()
		s.sending.Unlock()
		if p := s.core.Pending(); done || p.ForServer == 0 && !p.Close || p.Events > 0 {
			return
		}
	}
}

// sendOnce sends what there is, and closes the connection if that was all. The caller has sending.
func (s *Session) sendOnce() (closed bool) {
	s.out = s.core.TakeForServer(s.out[:0])
	if len(s.out) > 0 {
		s.unanswered.Add(int64(len(s.out)))
		_, _ = s.server.Write(s.out) // that it failed is told by reading, together with the server's last words
		if cap(s.out) > mostForServer {
			s.out = nil
		}
		wake(s.written)
	}
	if p := s.core.Pending(); p.Close && p.ForServer == 0 {
		_ = s.server.Close()
		return true
	}
	return false
}

// LocalAddr implements [net.Conn].
func (s *Session) LocalAddr() net.Addr { return s.server.LocalAddr() }

// RemoteAddr implements [net.Conn].
func (s *Session) RemoteAddr() net.Addr { return s.server.RemoteAddr() }

// wake tells whoever waits on c to look again.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
