package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/arena"
	"github.com/interlock-pg/interlock/harness/internal/pause"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server"
)

// client is one client of a ground. It is used by one goroutine at a time.
type client struct {
	n        int
	config   *pgx.ConnConfig
	mu       sync.Mutex // guards conn and cut against stop
	conn     *pgx.Conn
	instance race.Instance      // that it asks, instead of having a connection; nil: none
	cut      context.CancelFunc // ends what it asks for; nil: nothing
	next     func() race.Operation
	number   int // of the next operation

	records []record      // of this slice
	refused []unreachable // the server, in this slice
	missed  []time.Duration
	mistake error           // of the operation's own code
	gone    []chan struct{} // of connections that were lost: closed, when nothing is left of them
}

// record is one operation and what was told. Times are since the run began.
type record struct {
	client, number         int
	kind, subject          string
	input                  any
	outcome                race.Outcome
	rowID                  string
	sqlState, message      string
	failure                string // the SQLSTATE, or the kind of failure where there is none; empty: there was no error
	attempts               int
	due, invoked, returned time.Duration // due: when it should have begun
	trouble                bool          // the server did not serve
}

// latency is what the record counts with.
func (r record) latency() time.Duration { return r.returned - r.due }

// unreachable is an attempt to connect that came to nothing.
type unreachable struct {
	at      time.Duration
	failure string
	err     error
}

// do has the client do its next operation, which should have begun at due; negative: now.
func (c *client) do(ctx context.Context, began time.Time, due time.Duration) {
	var op race.Operation
	if err := arena.Guard(func() error { op = c.next(); return nil }); err != nil {
		c.mistake = fmt.Errorf("client %d, asked for operation %d: %w", c.n+1, c.number+1, err)
		return
	}
	invoked := time.Since(began)
	answer, err := c.ask(ctx, op)
	returned := time.Since(began)
	if errors.Is(answer.Err, race.ErrNotAsked) {
		return
	}
	if due < 0 {
		due = invoked
	}
	r := record{
		client: c.n, number: c.number, kind: op.Kind, subject: op.Subject, input: op.Input, outcome: answer.Outcome, rowID: answer.Row,
		attempts: answer.Attempts, due: due, invoked: invoked, returned: returned,
	}
	c.number++
	if answer.Err != nil {
		r.failure, r.sqlState, r.message = describe(answer.Err)
		r.trouble = answer.Outcome != race.Conflict && server.IsTrouble(answer.Err)
	}
	if c.instance != nil {
		r.trouble = answer.Outcome == race.Unknown
	}
	if r.trouble { // whether the database did it, nobody told
		r.outcome = race.Unknown
	}
	c.records = append(c.records, r)
	if err != nil {
		c.mistake = fmt.Errorf("client %d, operation %d (%s): %w", c.n+1, r.number+1, op.Kind, err)
		arena.Actor{Conn: c.conn}.Close(ctx)
	}
}

// ask has the client do an operation. One that asks an application can be cut off by its context, which costs little beside a request.
func (c *client) ask(ctx context.Context, op race.Operation) (race.Answer, error) {
	if c.instance == nil {
		return arena.Do(ctx, op, c.conn)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.cut = cancel
	c.mu.Unlock()
	return arena.Actor{Instance: c.instance}.Do(ctx, op)
}

// lost reports whether the client has lost its connection.
func (c *client) lost() bool { return c.instance == nil && c.conn.IsClosed() }

// deserted reports whether the application that the client asks has ended.
func (c *client) deserted() bool {
	if c.instance == nil {
		return false
	}
	select {
	case <-c.instance.Ended():
		return true
	default:
		return false
	}
}

// describe returns what kind of failure an error is, its SQLSTATE and its words.
func describe(err error) (failure, sqlState, message string) {
	message = strings.ToValidUTF8(err.Error(), "?")
	var pg *pgconn.PgError
	var network net.Error
	var said interface{ Failure() string }
	switch {
	case errors.As(err, &said):
		return said.Failure(), "", message
	case errors.As(err, &pg):
		return pg.Code, pg.Code, pg.Message
	case errors.As(err, &network) && network.Timeout():
		return "timeout", "", message
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return "refused connection", "", message
	case server.IsTrouble(err):
		return "lost connection", "", message
	}
	return "error of the client", "", message
}

// How long a client waits before it tries to connect again: twice as long each time.
const (
	firstWait   = 5 * time.Millisecond
	longestWait = 500 * time.Millisecond
)

// lastCall is how long an attempt to connect may last beyond the deadline: one that was cut off would look like a failure of the server.
const lastCall = time.Second

// reconnect connects a client that has lost its connection. False: it could not until the deadline.
func (c *client) reconnect(ctx context.Context, began time.Time, deadline time.Duration) bool {
	for wait := firstWait; c.conn.IsClosed(); wait = min(2*wait, longestWait) {
		left := deadline - time.Since(began)
		if left <= 0 || ctx.Err() != nil {
			return false
		}
		short, cancel := context.WithTimeout(ctx, left+lastCall)
		conn, err := pgx.ConnectConfig(short, c.config)
		cancel()
		if err == nil {
			c.gone = append(c.gone, c.conn.PgConn().CleanupDone())
			c.mu.Lock()
			c.conn = conn
			c.mu.Unlock()
			return true
		}
		failure, _, _ := describe(err)
		c.refused = append(c.refused, unreachable{time.Since(began), failure, err})
		_ = pause.For(ctx, min(wait, left))
	}
	return true
}

// stop makes whatever the client is at fail.
func (c *client) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.instance != nil {
		if c.cut != nil {
			c.cut()
		}
		return
	}
	_ = c.conn.PgConn().Conn().SetDeadline(time.Unix(1, 0))
}

// close disconnects, and waits until nothing is left of lost connections either: pgx cancels what they were at, in the background, for 15 s at most.
func (c *client) close(ctx context.Context) {
	if c.conn == nil {
		return
	}
	_ = c.conn.Close(ctx)
	for _, gone := range append(c.gone, c.conn.PgConn().CleanupDone()) {
		<-gone
	}
}
