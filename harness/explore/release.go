package explore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/wire"
)

// release lets one client take its step, and sees what comes of it.
func (r *run) release(ctx context.Context, c *client) (sched.Event, error) {
	r.number++
	r.clock.releases.Store(int64(r.number))
	resume := r.stop()
	defer resume(nil)

	waiters := slices.Clone(r.queue)
	c.notices = 0
	c.session.Release(c.step.Index)
	parts, err := r.follow(ctx, c, false)
	if err != nil {
		return sched.Event{}, err
	}
	event := sched.Event{Parts: parts}
	atOnce, err := r.wake(ctx, waiters, resume, &event)
	if atOnce > 1 {
		r.wakes++
	}
	return event, err
}

// wake has those of the waiters go on who can, one after another, and adds what comes of it to the event. It returns how many of them could at the
// same time.
func (r *run) wake(ctx context.Context, waiters []*client, resume func(*client), event *sched.Event) (atOnce int, err error) {
	for len(waiters) > 0 {
		free, err := r.freed(ctx, waiters)
		if err != nil || len(free) == 0 {
			return atOnce, err
		}
		atOnce = max(atOnce, len(free))
		next := free[0]
		resume(next)
		isNext := func(other *client) bool { return other == next }
		r.queue, waiters = slices.DeleteFunc(r.queue, isNext), slices.DeleteFunc(waiters, isNext)
		next.waits = nil
		parts, err := r.follow(ctx, next, true)
		if err != nil {
			return atOnce, err
		}
		event.Parts = append(event.Parts, parts...)
	}
	return atOnce, nil
}

// stop keeps those who wait from going on by themselves, be it only one: who ends a transaction lets go of its row locks before it is known to
// SERIALIZABLE that it has ended, and the one who goes on in between is refused. What it returns lets one of them go on, or, given nil, all.
func (r *run) stop() (resume func(*client)) {
	if !r.stops {
		return func(*client) {}
	}
	stopped := map[*client]uint32{}
	for _, c := range r.queue {
		if pid := c.session.State().PID; stopBackend(pid) {
			stopped[c] = pid
		}
	}
	return func(only *client) {
		for c, pid := range stopped {
			if only == nil || c == only {
				resumeBackend(pid)
				delete(stopped, c)
			}
		}
	}
}

// freed returns who of the waiters does not wait any more, or waits for something new, in the order in which they had begun to wait.
func (r *run) freed(ctx context.Context, waiters []*client) ([]*client, error) {
	pids := make([]uint32, len(waiters))
	for i, c := range waiters {
		pids[i] = c.waits.pid
	}
	now, err := r.locks.waits(ctx, pids)
	if err != nil {
		return nil, err
	}
	var free []*client
	for _, c := range waiters {
		if !slices.ContainsFunc(now, func(w waiting) bool { return w.pid == c.waits.pid && w.same(*c.waits) }) {
			free = append(free, c)
		}
	}
	return free, nil
}

// follow sees a released step answer or wait, and returns what is to be said of it.
func (r *run) follow(ctx context.Context, c *client, resumed bool) ([]sched.Part, error) {
	pause, began := firstLook, time.Now()
	for {
		var state wire.State
		look := func() bool {
			state = c.session.State()
			if over(state, c.step) { // then it is soon at its next step: to be woken once is enough, unless others are to go first
				return len(r.queue) > 0 || c.phase() != busy
			}
			return r.notices && state.Waits > c.notices
		}
		err := r.within(ctx, pause, look)
		switch {
		case over(state, c.step):
			return r.answered(ctx, c, state, resumed)
		case errors.Is(err, errLookAgain) && time.Since(began) > r.hang:
			return nil, fmt.Errorf("%w for %v after the release of client %s at %q", errHangs, r.hang, c.Name, brief(c.step.SQL))
		case errors.Is(err, errLookAgain):
			pause = min(2*pause, lastLook)
		case err != nil:
			return nil, err
		}
		c.notices = state.Waits
		waits, err := r.locks.waits(ctx, []uint32{state.PID})
		if err != nil {
			return nil, err
		}
		if len(waits) > 0 {
			c.waits = &waits[0]
			r.queue = append(r.queue, c)
			return r.waiting(c, resumed), nil
		}
	}
}

// over reports whether all has happened that a step does. A backend says that a statement failed before it lets go of its locks: outside a
// transaction, what it is at then is a Sync of which it knows the answer when it has.
func over(s wire.State, step wire.Step) bool {
	aborting := s.Result.Err() && s.Phase == wire.Working && s.Waits == 0
	return s.Phase == wire.Ended || s.Answered >= step.Index && !aborting
}

// How soon pg_locks is asked whether a backend waits: where backends do not say so, at once and less and less often; where they do, only in case
// that a client has taken its settings back.
const (
	firstLook     = 300 * time.Microsecond
	lastLook      = 10 * time.Millisecond
	noticesDefied = 2 * time.Second
)

var errLookAgain = errors.New("look again")

// within waits until done, or until it is time to ask the server.
func (r *run) within(ctx context.Context, pause time.Duration, done func() bool) error {
	if r.notices {
		pause = max(pause, noticesDefied)
	}
	if done() { // most often, it is a matter of microseconds
		return nil
	}
	short, cancel := context.WithTimeoutCause(ctx, pause, errLookAgain)
	defer cancel()
	return r.gate.Wait(short, done)
}

// outlast waits for Postgres to end waits that no release would end, and adds what comes of it to the event: deadlocks, where they are not found at
// once, and timeouts, where nobody is left to be released.
func (r *run) outlast(ctx context.Context, event *sched.Event) error {
	for {
		if err := r.settle(ctx); err != nil || !r.cycle() && !r.stuck() {
			return err
		}
		if err := r.wait(ctx, func() bool {
			return slices.ContainsFunc(r.queue, func(c *client) bool { return over(c.session.State(), c.step) })
		}); err != nil {
			return fmt.Errorf("nobody can go on: %w while %s", err, r.standing())
		}
		if _, err := r.wake(ctx, slices.Clone(r.queue), func(*client) {}, event); err != nil {
			return err
		}
	}
}

// stuck reports whether all who are not done wait.
func (r *run) stuck() bool {
	return len(r.queue) > 0 && !slices.ContainsFunc(r.clients, func(c *client) bool { return c.phase() == held })
}

// cycle reports whether clients wait for each other.
func (r *run) cycle() bool {
	blocks := func(c *client) []*client {
		var all []*client
		for _, other := range r.queue {
			if c.waits != nil && other.waits != nil && slices.Contains(c.waits.blocker, other.waits.pid) {
				all = append(all, other)
			}
		}
		return all
	}
	for _, c := range r.queue {
		seen := map[*client]bool{}
		next := blocks(c)
		for len(next) > 0 {
			at := next[0]
			next = next[1:]
			if at == c {
				return true
			}
			if !seen[at] {
				seen[at] = true
				next = append(next, blocks(at)...)
			}
		}
	}
	return false
}
