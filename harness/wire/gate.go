package wire

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
)

// Gate is the gates on the sessions of several clients, with one order of events among them. Its methods are safe for concurrent use.
type Gate struct {
	config   Config
	mu       sync.Mutex
	sessions []*Session    // that are not over, in the order in which they came
	number   atomic.Uint64 // of the last event

	waiting sync.Mutex // for waiters, and while their conditions are looked at
	waiters []*waiter
}

// waiter is a call of Wait under way.
type waiter struct {
	done  func() bool
	ready chan struct{} // closed when it is
}

// New returns a gate without sessions.
func New(config Config) *Gate { return &Gate{config: config} }

// Attach makes every connection that is opened with config a session called name. Requests of the client to cancel what it does are led through
// the gate too, unless the connection is encrypted.
func (g *Gate) Attach(config *pgconn.Config, name string) {
	dial, before := config.DialFunc, config.AfterNetConnect
	if dial != nil && g.config.Split {
		config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return conn, err
			}
			return &dialed{Conn: conn, gate: g}, nil
		}
	}
	config.AfterNetConnect = func(ctx context.Context, config *pgconn.Config, conn net.Conn) (net.Conn, error) {
		if before != nil {
			var err error
			if conn, err = before(ctx, config, conn); err != nil {
				return conn, err
			}
		}
		return g.Conn(name, conn), nil
	}
}

// Conn puts the gate on a connection to a server, before the first byte of the protocol and after TLS.
func (g *Gate) Conn(name string, server net.Conn) *Session {
	s := newSession(g, name, server)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !isClosed(s.ended) {
		g.sessions = append(g.sessions, s)
	}
	return s
}

// SessionOf returns the session that a connection of pgx is; nil if it was not opened through a gate.
func SessionOf(conn *pgconn.PgConn) *Session {
	s, _ := conn.Conn().(*Session)
	return s
}

// Sessions returns those that are not over, in the order in which they came.
func (g *Gate) Sessions() []*Session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.sessions)
}

// Wait returns when done says so. It is called now and whenever something has changed in a session (see [Session.State]), each time by whoever has
// changed it, and never twice at once. So the caller is woken only when there is something for it to do. It must be quick, and neither wait nor
// change anything of a session.
func (g *Gate) Wait(ctx context.Context, done func() bool) error {
	w := &waiter{done: done, ready: make(chan struct{})}
	if g.await(w) {
		return nil
	}
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	g.waiting.Lock()
	defer g.waiting.Unlock()
	if isClosed(w.ready) {
		return nil
	}
	g.waiters = slices.DeleteFunc(g.waiters, func(other *waiter) bool { return other == w })
	return context.Cause(ctx)
}

// await looks whether w is done, and has it looked at from now on if it is not.
func (g *Gate) await(w *waiter) (done bool) {
	g.waiting.Lock()
	defer g.waiting.Unlock()
	if w.done() {
		return true
	}
	g.waiters = append(g.waiters, w)
	return false
}

// Poke makes those who Wait look again: for what they look at beside sessions.
func (g *Gate) Poke() { g.notify() }

func (g *Gate) notify() {
	g.waiting.Lock()
	defer g.waiting.Unlock()
	g.waiters = slices.DeleteFunc(g.waiters, func(w *waiter) bool {
		done := w.done()
		if done {
			close(w.ready)
		}
		return done
	})
}

// Close ends all sessions and waits until nothing of them runs any more. It is not to be called by [Config].Events.
func (g *Gate) Close() error {
	var err error
	for _, s := range g.Sessions() {
		if e := s.End(); err == nil {
			err = e
		}
	}
	return err
}

// event numbers and delivers an event.
func (g *Gate) event(s *Session, e *Event) {
	e.Number, e.Session = g.number.Add(1), s.name
	if g.config.Events != nil {
		g.config.Events(*e)
	}
}

func (g *Gate) forget(s *Session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sessions = slices.DeleteFunc(g.sessions, func(other *Session) bool { return other == s })
}

// Cancel takes a request to cancel what a session does, as [CancelTarget] reads it, from whoever listens for clients. It returns whose it is, nil if
// no session has that key, and whether the server is to be asked: not where a step is held, which then fails as [Core.Cancel] tells.
func (g *Gate) Cancel(pid uint32, key []byte) (of *Session, forward bool) {
	for _, s := range g.Sessions() {
		switch {
		case !s.core.is(pid, key):
		case !g.config.Split:
			return s, true
		default:
			forward = s.core.Cancel()
			s.follow()
			return s, forward
		}
	}
	return nil, true
}

// dialed is a connection of which we do not know yet whether it is to be a session, or to ask for a cancellation.
type dialed struct {
	net.Conn
	gate    *Gate
	settled bool
	served  bool // a request that the gate has dealt with
}

// Write implements [net.Conn].
func (d *dialed) Write(p []byte) (int, error) {
	if d.settled {
		return d.Conn.Write(p)
	}
	d.settled = true
	if pid, key, ok := CancelTarget(p); ok {
		if _, forward := d.gate.Cancel(pid, key); !forward {
			d.served = true
			return len(p), nil
		}
	}
	return d.Conn.Write(p)
}

// Read implements [net.Conn]. The server closes a connection when it has read a request.
func (d *dialed) Read(p []byte) (int, error) {
	if d.served {
		return 0, io.EOF
	}
	return d.Conn.Read(p)
}
