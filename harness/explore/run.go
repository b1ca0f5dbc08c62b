package explore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/arena"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/wire"
)

// scheduler decides; a [sched.Run] is one.
type scheduler interface {
	Pick(held []sched.Step) (client int, ok bool)
	Observe(sched.Event) error
}

// played is one execution.
type played struct {
	round        history.Round
	interleaving history.Interleaving
	wakes        int  // releases that set several clients free at once
	cut          bool // the scheduler did not want the rest
}

// run is one execution in the making.
type run struct {
	*stage
	survey     *survey
	scenario   race.Scenario
	invariants []race.Invariant // that are looked at after commits, and have held so far
	clients    []*client
	clock      clock
	number     int       // of the latest release
	queue      []*client // who waits, in the order in which they began
	owed       bool      // something was committed that the invariants have not been looked at after
	played
}

// play runs the scenario once, as the scheduler decides. An error means that the run could not be judged.
func (st *stage) play(ctx context.Context, s race.Scenario, by scheduler, sv *survey, config Config) (played, error) {
	st.hang = config.Hang
	clients, err := st.seat(ctx, s)
	if err != nil {
		return played{}, err
	}
	r := &run{stage: st, survey: sv, scenario: s, clients: clients}
	for _, inv := range s.Invariants {
		if !inv.Outcomes && !config.AtEnd {
			r.invariants = append(r.invariants, inv)
		}
	}
	for _, c := range clients {
		r.interleaving.Clients = append(r.interleaving.Clients, c.Name)
	}
	if slices.ContainsFunc(s.Clients, func(c race.Client) bool { return len(c.Settings) > 0 }) {
		for _, c := range clients {
			r.interleaving.Settings = append(r.interleaving.Settings, c.Settings)
		}
	}

	running, cancel := context.WithCancel(ctx)
	defer cancel()
	var finished sync.WaitGroup
	for _, c := range clients {
		finished.Go(func() {
			c.act(running, &r.clock)
			st.gate.Poke()
		})
	}
	err = r.lead(ctx, by)
	if err != nil || r.cut {
		err = errors.Join(err, r.dismiss(ctx, cancel, err))
	}
	if err != nil {
		return r.played, r.explain(err)
	}
	finished.Wait()
	st.exact = st.layout
	if r.cut {
		return r.played, nil
	}
	return r.played, r.judge(ctx)
}

// lead goes from release to release until all clients are done.
func (r *run) lead(ctx context.Context, by scheduler) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	for {
		steps, err := r.offer(ctx)
		if err != nil || len(steps) == 0 {
			return err
		}
		next, ok := by.Pick(steps)
		if !ok {
			r.cut = true
			return nil
		}
		event, err := r.release(ctx, r.clients[next])
		if err != nil {
			return err
		}
		if err := r.outlast(ctx, &event); err != nil {
			return err
		}
		if err := r.look(ctx, event); err != nil {
			return err
		}
		if err := by.Observe(event); err != nil {
			return err
		}
	}
}

// settle waits until every client is held, waits for a lock, or is done.
func (r *run) settle(ctx context.Context) error {
	var stranger string
	err := r.wait(ctx, func() bool {
		for _, s := range r.gate.Sessions() {
			if !r.mine[s] {
				stranger = s.Name()
				return true
			}
		}
		return !slices.ContainsFunc(r.clients, func(c *client) bool { return c.phase() == busy })
	})
	switch {
	case errors.Is(err, errHangs):
		return fmt.Errorf("%w while %s", err, r.standing())
	case err != nil:
		return err
	case stranger != "":
		return fmt.Errorf("a client opened a second connection (%s); its steps cannot be told from the first one's: give each connection a client of its own", stranger)
	}
	for _, c := range r.clients {
		if err := r.tell(c); err != nil {
			return err
		}
	}
	return nil
}

// standing says what each client is at, for people.
func (r *run) standing() string {
	var parts []string
	for _, c := range r.clients {
		switch c.phase() {
		case held:
			parts = append(parts, c.Name+" is held at "+brief(c.session.State().Step.SQL))
		case blocked:
			parts = append(parts, c.Name+" waits for a lock")
		case done:
			parts = append(parts, c.Name+" is done")
		case busy:
			parts = append(parts, c.Name+" neither asks the database for anything nor returns")
		}
	}
	return strings.Join(parts, ", ")
}

// offer returns the step of each client that is held. None: all are done.
func (r *run) offer(ctx context.Context) ([]sched.Step, error) {
	var steps []sched.Step
	for _, c := range r.clients {
		if c.phase() != held {
			continue
		}
		if state := c.session.State(); state.Step.Index != c.step.Index {
			if err := r.hold(ctx, c, state); err != nil {
				return nil, err
			}
		}
		steps = append(steps, c.shown)
	}
	return steps, nil
}

// hold takes note of the step that a client is held at.
func (r *run) hold(ctx context.Context, c *client, state wire.State) error {
	step := state.Step
	c.step = step
	c.shown = sched.Step{
		Client: c.number, Index: step.Index - c.base - 1, Kind: sched.Statement, Text: step.SQL, Level: sched.Level(step.Level),
		Autocommit: !step.InTransaction, Savepoint: step.Savepoint,
	}
	switch step.Kind {
	case wire.Commit:
		c.shown.Kind = sched.Commit
	case wire.Rollback:
		c.shown.Kind = sched.Rollback
	case wire.RollbackTo:
		c.shown.Kind = sched.RollbackTo
	default:
		known := r.traitsOf(step.SQL)
		c.shown.Looks, c.shown.Advisory = known.looks, known.advisory
		if r.survey == nil {
			return nil
		}
		var err error
		if c.facts, err = r.survey.of(ctx, c.number, c.executed, step, known); err != nil {
			return err
		}
		c.shown.Blind, c.shown.Looks, c.shown.Bare = c.facts.blind, c.facts.looks, known.bare
		return nil
	}
	return nil
}

// release lets one client take its step, and sees what comes of it.
func (r *run) release(ctx context.Context, c *client) (sched.Event, error) {
	r.number++
	r.clock.releases.Store(int64(r.number))
	resume := r.stop()
	defer resume(nil)

	waiters := slices.Clone(r.queue)
	c.notices = 0
	c.session.Release(c.step.Index)
	part, err := r.follow(ctx, c, false)
	if err != nil {
		return sched.Event{}, err
	}
	event := sched.Event{Parts: part}
	woken := 0
	for len(waiters) > 0 {
		free, err := r.freed(ctx, waiters)
		if err != nil {
			return event, err
		}
		if len(free) == 0 {
			break
		}
		woken = max(woken, len(free))
		next := free[0]
		resume(next)
		r.queue = slices.DeleteFunc(r.queue, func(other *client) bool { return other == next })
		waiters = slices.DeleteFunc(waiters, func(other *client) bool { return other == next })
		next.waits = nil
		part, err := r.follow(ctx, next, true)
		if err != nil {
			return event, err
		}
		event.Parts = append(event.Parts, part...)
	}
	if woken > 1 {
		r.wakes++
	}
	return event, nil
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
		var ended *client
		err := r.wait(ctx, func() bool {
			i := slices.IndexFunc(r.queue, func(c *client) bool { return over(c.session.State(), c.step) })
			if i >= 0 {
				ended = r.queue[i]
			}
			return i >= 0
		})
		if err != nil {
			return fmt.Errorf("nobody can go on: %w while %s", err, r.standing())
		}
		for free := []*client{ended}; len(free) > 0; {
			next := free[0]
			next.waits = nil
			r.queue = slices.DeleteFunc(r.queue, func(other *client) bool { return other == next })
			parts, err := r.follow(ctx, next, true)
			if err != nil {
				return err
			}
			event.Parts = append(event.Parts, parts...)
			if free, err = r.freed(ctx, r.queue); err != nil {
				return err
			}
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

// look looks at the invariants if something was committed. Where a client has locked a table against everyone, even readers, they are looked at
// when it has let go.
func (r *run) look(ctx context.Context, event sched.Event) error {
	r.owed = r.owed || slices.ContainsFunc(event.Parts, func(p sched.Part) bool {
		return p.Step.Kind == sched.Commit && p.Outcome == sched.Answered && p.Tag != "ROLLBACK"
	})
	if !r.owed {
		return nil
	}
	r.owed = false
	var err error
	r.invariants = slices.DeleteFunc(r.invariants, func(inv race.Invariant) bool {
		rows, failed := inv.Offending(ctx, r.arena.Watcher)
		if isLocked(failed) {
			r.owed = true
			return false
		}
		err = errors.Join(err, failed)
		r.round.Looks++
		if len(rows.Rows) == 0 {
			return false
		}
		r.round.Violations = append(r.round.Violations, history.Violation{Invariant: inv.Name, Moment: history.Running, Rows: rows})
		r.broke(inv.Name)
		return true
	})
	return err
}

// judge looks at all invariants when the clients are done.
func (r *run) judge(ctx context.Context) error {
	for _, c := range r.clients {
		ops, err := c.operations()
		if err != nil {
			return err
		}
		r.round.Operations = append(r.round.Operations, ops...)
	}
	slices.SortStableFunc(r.round.Operations, func(a, b history.Operation) int { return int(a.Invoked - b.Invoked) })
	if err := r.finish(ctx); err != nil {
		return err
	}
	atRest, err := r.arena.Judge(ctx, r.scenario.Invariants, r.round.Operations)
	for _, v := range atRest {
		if !slices.ContainsFunc(r.round.Violations, func(seen history.Violation) bool { return seen.Invariant == v.Invariant }) {
			r.broke(v.Invariant)
		}
	}
	r.round.Violations = append(r.round.Violations, atRest...)
	return err
}

// finish lets the clients finish, as they have prepared.
func (r *run) finish(ctx context.Context) error {
	conns := make([]*pgx.Conn, len(r.clients))
	for i, c := range r.clients {
		conns[i] = c.conn
	}
	r.holds.Store(false)
	return arena.Finish(ctx, r.scenario.Clients, conns)
}

// dismiss gets rid of the clients: they go on as they like until they are done, or are cut off if something was wrong.
func (r *run) dismiss(ctx context.Context, cancel func(), trouble error) error {
	gone := func() bool { return !slices.ContainsFunc(r.clients, func(c *client) bool { return !c.done.Load() }) }
	r.holds.Store(false)
	for _, c := range r.clients {
		c.session.Open(true)
		defer c.session.Open(false)
	}
	after, stop := context.WithTimeout(context.WithoutCancel(ctx), dismissal)
	defer stop()
	if trouble == nil && r.gate.Wait(after, gone) == nil {
		return r.finish(after)
	}
	cancel()
	for _, c := range r.clients {
		_ = c.session.Abort()
	}
	after, stop = context.WithTimeout(context.WithoutCancel(ctx), dismissal)
	defer stop()
	if r.gate.Wait(after, gone) == nil {
		for _, c := range r.clients {
			_ = c.conn.Close(after) // which does not know yet that it has been cut off
		}
		return nil
	}
	var hung []int
	for _, c := range r.clients {
		if !c.done.Load() {
			hung = append(hung, c.number)
		}
	}
	return errors.Join(fmt.Errorf("%s and heeds no context", r.standing()), r.arena.Abandon(context.WithoutCancel(ctx), hung))
}

// dismissal is how long clients may take to end when nobody holds them.
const dismissal = 2 * time.Second

// explain adds to an error what was seen until then.
func (r *run) explain(err error) error {
	var order []string
	for _, s := range r.interleaving.Steps {
		order = append(order, fmt.Sprintf("%s: %s", s.Client, cmp.Or(brief(s.SQL), s.Kind)))
	}
	if len(order) == 0 {
		return err
	}
	return fmt.Errorf("%w; after %s", err, strings.Join(order, " · "))
}
