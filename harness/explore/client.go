package explore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/arena"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/wire"
)

// client is one client of a run.
type client struct {
	race.Client
	number   int // from 0
	conn     *pgx.Conn
	session  *wire.Session
	base     int // steps of its session before the run
	answered int // the index of the latest step of its session that was answered

	// What its goroutine tells.
	mu   sync.Mutex
	log  []history.Operation
	err  error
	done atomic.Bool

	// What the driver knows.
	step     wire.Step       // that is held, or was released
	shown    sched.Step      // the same, for the scheduler
	facts    facts           // of it
	touched  sched.Footprint // by its present transaction
	waits    *waiting        // for whom the step waits; nil: it does not
	notices  int             // of waiting, since the step was released, that have been seen
	executed []wire.Step     // statements that it executed before
	open     bool            // it has made a step in its present transaction
	told     int             // operations that have been put into the record
	last     int             // the last of its steps in the record; -1: none
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

// act does the operations of the client, in a goroutine of its own.
func (c *client) act(ctx context.Context, clock *clock) {
	defer c.done.Store(true)
	for n, op := range c.Operations {
		invoked := clock.invoked()
		answer, err := arena.Do(ctx, op, c.conn)
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

// operations returns those that are over.
func (c *client) operations() ([]history.Operation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log, c.err
}

// phase is what a client is at between releases.
type phase int

const (
	busy phase = iota // with its own code, or with what is no step
	held
	blocked // its step, or something that is no step, waits for a lock
	done
)

func (c *client) phase() phase {
	if c.done.Load() {
		return done
	}
	if c.waits != nil {
		return blocked
	}
	switch s := c.session.State(); {
	case s.Phase == wire.Holding:
		return held
	case s.Phase == wire.Working && s.Step.Kind == wire.Pass && s.Waits > 0:
		return blocked
	}
	return busy
}
