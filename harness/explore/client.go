package explore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/interlock-pg/interlock/harness/arena"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/wire"
)

// client is one client of a run.
type client struct {
	race.Client
	arena.Actor
	number  int           // from 0
	permits chan struct{} // each lets it begin one operation, if it asks an application
	strands []*strand     // but for those that are cut off from it

	// What its goroutine tells.
	mu    sync.Mutex
	log   []history.Operation
	err   error
	ready atomic.Bool // it waits for a permit
	done  atomic.Bool

	// What the driver knows.
	begun  int  // permits that it was given
	spun   int  // strands that it has had
	thinks bool // it has been busy for so long that others go on
	told   int  // operations that have been put into the record
	last   int  // the last of its steps in the record; -1: none
}

// strand is a sequence of steps of one client, one after another: those of its connection. Where an application makes queries for it at the same
// time, on several connections, it has several; and where a connection is cut, it may go on with another one.
type strand struct {
	client   *client
	number   int    // among those of the run: the scheduler's
	name     string // that of the client, and a number behind it for all but the first
	session  *wire.Session
	from     int // the step of the session at which it became that of the strand, if the client asks an application
	steps    int // that it has been held at
	answered int // the index of the latest step of its session that was answered

	step     wire.Step       // that is held, or was released
	shown    sched.Step      // the same, for the scheduler
	facts    facts           // of it
	touched  sched.Footprint // by its present transaction
	waits    *waiting        // for whom the step waits; nil: it does not
	fault    history.Fault   // that it meets at the step
	notices  int             // of waiting, since the step was released, that have been seen
	executed []wire.Step     // statements that it executed before
	open     bool            // it has made a step in its present transaction
}

// clock counts releases, for operations to be timed by: the same schedule gives the same times.
type clock struct{ releases atomic.Int64 }

// invoked is the time of something that begins after the latest release, returned of something that ends after it: before what begins then.
func (c *clock) invoked() time.Duration {
	return time.Duration(2*c.releases.Load()+2) * time.Microsecond
}

func (c *clock) returned() time.Duration {
	return time.Duration(2*c.releases.Load()+1) * time.Microsecond
}

// act does the operations of the client, in a goroutine of its own. poke tells of what the gate does not see.
func (c *client) act(ctx context.Context, clock *clock, poke func()) {
	defer poke()
	defer c.done.Store(true)
	for n, op := range c.Operations {
		if !c.permitted(ctx, poke) {
			return
		}
		invoked := clock.invoked()
		answer, err := c.Do(ctx, op)
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		c.log = append(c.log, arena.Record(c.Name, n, op, answer, invoked, max(invoked, clock.returned())))
		if err != nil {
			c.err = fmt.Errorf("client %s, operation %d (%s): %w", c.Name, n+1, op.Kind, err)
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// permitted waits until the client may begin its next operation. Those that ask an application begin one at a time, so that it is known whose
// statements are the ones that come.
func (c *client) permitted(ctx context.Context, poke func()) bool {
	if c.Instance == nil {
		return true
	}
	c.ready.Store(true)
	poke()
	select {
	case <-c.permits:
		return true
	case <-ctx.Done():
		return false
	}
}

// permit lets the client begin its next operation.
func (c *client) permit() {
	c.ready.Store(false)
	c.begun++
	c.permits <- struct{}{}
}

// operations returns those that are over.
func (c *client) operations() ([]history.Operation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log, c.err
}

// phase is what a client, or a strand of it, is at between releases.
type phase int

const (
	busy    phase = iota // a client is at its own code, or it or a strand is at what is no step
	held                 // at a step; a client: some strand is, or is blocked, and none is busy
	blocked              // its step, or something that is no step, waits for a lock
	quiet                // a strand: nothing of it is at the gate or under way
	ready                // a client: it waits for leave to begin an operation
	done                 // a client: it has made all its operations
)

func (c *client) phase() phase {
	if c.Conn != nil && c.done.Load() {
		return done
	}
	rest := quiet
	for _, s := range c.strands {
		switch p := s.phase(); p {
		case busy:
			return busy
		case held:
			rest = held
		case blocked:
			if rest == quiet {
				rest = blocked
			}
		}
	}
	switch {
	case rest != quiet:
		return rest
	case c.done.Load():
		return done
	case c.ready.Load():
		return ready
	}
	return busy
}

func (s *strand) phase() phase {
	switch {
	case s.waits != nil:
		return blocked
	case s.session == nil:
		return quiet
	}
	switch state := s.session.State(); {
	case state.Phase == wire.Holding:
		return held
	case passWaits(state):
		return blocked
	case state.Phase == wire.Working:
		return busy
	}
	return quiet
}

// passWaits reports whether the session is at something that is no step and waits for a lock all the same.
func passWaits(s wire.State) bool {
	return s.Phase == wire.Working && s.Step.Kind == wire.Pass && s.Waits > 0
}

// strand returns one more strand of the client.
func (r *run) strand(c *client) *strand {
	s := &strand{client: c, number: len(r.strands), name: c.Name}
	if c.spun++; c.spun > 1 {
		s.name = fmt.Sprintf("%s/%d", c.Name, c.spun)
	}
	if r.application != nil && s.number >= history.MostClients {
		r.surprise = fmt.Errorf("the application made more than %d queries at the same time, or one after another on connections that were cut: they cannot all be "+
			"told apart; try fewer clients", history.MostClients)
	}
	c.strands = append(c.strands, s)
	r.strands = append(r.strands, s)
	r.interleaving.Clients = append(r.interleaving.Clients, s.name)
	return s
}
