package explore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/wire"
)

// release lets one client take its step, or meet a fault, and sees what comes of it.
func (r *run) release(ctx context.Context, s *strand, fault history.Fault) (sched.Event, error) {
	r.number++
	r.clock.releases.Store(int64(r.number))
	resume := r.stop()
	defer resume(nil)

	waiters := slices.Clone(r.queue)
	s.notices = 0
	var parts []sched.Part
	var err error
	if fault != "" {
		parts, err = r.meet(ctx, s, fault, resume)
	} else {
		s.session.Release(s.step.Index)
		parts, err = r.follow(ctx, s, false)
	}
	if err != nil {
		return sched.Event{}, err
	}
	event := sched.Event{Parts: parts}
	if err := r.calm(ctx); err != nil {
		return sched.Event{}, err
	}
	atOnce, err := r.wake(ctx, waiters, resume, &event)
	if atOnce > 1 {
		r.wakes++
	}
	return event, err
}

// wake has those of the waiters go on who can, one after another, and adds what comes of it to the event. It returns how many of them could at the
// same time.
func (r *run) wake(ctx context.Context, waiters []*strand, resume func(*strand), event *sched.Event) (atOnce int, err error) {
	for len(waiters) > 0 {
		free, err := r.freed(ctx, waiters)
		if err != nil || len(free) == 0 {
			return atOnce, err
		}
		atOnce = max(atOnce, len(free))
		next := free[0]
		resume(next)
		isNext := func(other *strand) bool { return other == next }
		r.queue, waiters = slices.DeleteFunc(r.queue, isNext), slices.DeleteFunc(waiters, isNext)
		next.waits = nil
		parts, err := r.follow(ctx, next, true)
		if err != nil {
			return atOnce, err
		}
		event.Parts = append(event.Parts, parts...)
		if err := r.calm(ctx); err != nil {
			return atOnce, err
		}
	}
	return atOnce, nil
}

// stop keeps those who wait from going on by themselves, be it only one: who ends a transaction lets go of its row locks before it is known to
// SERIALIZABLE that it has ended, and the one who goes on in between is refused. What it returns lets one of them go on, or, given nil, all.
func (r *run) stop() (resume func(*strand)) {
	if !r.stops {
		return func(*strand) {}
	}
	stopped := map[*strand]uint32{}
	for _, s := range r.queue {
		if pid := s.session.State().PID; stopBackend(pid) {
			stopped[s] = pid
		}
	}
	return func(only *strand) {
		for s, pid := range stopped {
			if only == nil || s == only {
				resumeBackend(pid)
				delete(stopped, s)
			}
		}
	}
}

// freed returns who of the waiters does not wait any more, or waits for something new, in the order in which they had begun to wait.
func (r *run) freed(ctx context.Context, waiters []*strand) ([]*strand, error) {
	pids := make([]uint32, len(waiters))
	for i, s := range waiters {
		pids[i] = s.waits.pid
	}
	now, err := r.locks.waits(ctx, pids)
	if err != nil {
		return nil, err
	}
	var free []*strand
	for _, s := range waiters {
		if !slices.ContainsFunc(now, func(w waiting) bool { return w.pid == s.waits.pid && w.same(*s.waits) }) {
			free = append(free, s)
		}
	}
	return free, nil
}

// stirred waits for those who waited at something that is no step, as to have a statement parsed, and do not any more. It reports whether there were any.
func (r *run) stirred(ctx context.Context) (bool, error) {
	var waiters []*strand
	var pids []uint32
	for _, s := range r.strands {
		if s.session != nil && s.waits == nil && passWaits(s.session.State()) {
			waiters, pids = append(waiters, s), append(pids, s.session.State().PID)
		}
	}
	if waiters == nil {
		return false, nil
	}
	now, err := r.locks.waits(ctx, pids)
	if err != nil {
		return false, err
	}
	waiters = slices.DeleteFunc(waiters, func(s *strand) bool {
		return slices.ContainsFunc(now, func(w waiting) bool { return w.pid == s.session.State().PID })
	})
	for _, s := range waiters {
		waited := s.session.State().Waits
		if err := r.wait(ctx, func() bool {
			state := s.session.State()
			return !passWaits(state) || state.Waits > waited
		}); err != nil {
			return false, fmt.Errorf("client %s: %w after its lock was free", s.name, err)
		}
	}
	return len(waiters) > 0, nil
}

// follow sees a released step answer or wait, and returns what is to be said of it.
func (r *run) follow(ctx context.Context, s *strand, resumed bool) ([]sched.Part, error) {
	pause, began := firstLook, time.Now()
	for {
		var state wire.State
		look := func() bool {
			state = s.session.State()
			if over(state, s.step) { // then it is soon at its next step: to be woken once is enough, unless others are to go first
				return len(r.queue) > 0 || r.application != nil || s.client.phase() != busy
			}
			return r.notices && state.Waits > s.notices
		}
		err := r.within(ctx, pause, look)
		switch {
		case over(state, s.step):
			return r.answered(ctx, s, state, resumed)
		case errors.Is(err, errLookAgain) && time.Since(began) > r.hang:
			return nil, fmt.Errorf("%w for %v after the release of client %s at %q", errHangs, r.hang, s.name, brief(s.step.SQL))
		case errors.Is(err, errLookAgain):
			pause = min(2*pause, lastLook)
		case err != nil:
			return nil, err
		}
		s.notices = state.Waits
		waits, err := r.locks.waits(ctx, []uint32{state.PID})
		if err != nil {
			return nil, err
		}
		if len(waits) > 0 {
			s.waits = &waits[0]
			r.queue = append(r.queue, s)
			return r.waiting(s, resumed), nil
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
			return slices.ContainsFunc(r.queue, func(s *strand) bool { return over(s.session.State(), s.step) })
		}); err != nil {
			return fmt.Errorf("nobody can go on: %w while %s", err, r.standing())
		}
		if _, err := r.wake(ctx, slices.Clone(r.queue), func(*strand) {}, event); err != nil {
			return err
		}
	}
}

// stuck reports whether all who are not done wait.
func (r *run) stuck() bool {
	return len(r.queue) > 0 && !r.held()
}

// cycle reports whether clients wait for each other.
func (r *run) cycle() bool {
	blocks := func(s *strand) []*strand {
		var all []*strand
		for _, other := range r.queue {
			if s.waits != nil && other.waits != nil && slices.Contains(s.waits.blocker, other.waits.pid) {
				all = append(all, other)
			}
		}
		return all
	}
	for _, s := range r.queue {
		seen := map[*strand]bool{}
		next := blocks(s)
		for len(next) > 0 {
			at := next[0]
			next = next[1:]
			if at == s {
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
