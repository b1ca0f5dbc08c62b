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
	names        []string // of the clients
	wakes        int      // releases that set several clients free at once
	cut          bool     // the scheduler did not want the rest
	seen         seen     // of an application
	surprise     error    // the application does what it has not done before
}

// run is one execution in the making.
type run struct {
	*stage
	survey     *survey
	scenario   race.Scenario
	invariants []race.Invariant // that are looked at after commits, and have held so far
	clients    []*client
	strands    []*strand
	owners     owners // of an application's sessions
	rehearses  bool
	between    func(*run)
	mayThink   time.Duration // how long an application may think
	delayed    time.Duration // for how long the fault of that name holds a step up
	calmAfter  int           // how many causes the application is calm after
	clock      clock
	number     int             // of the latest release
	queue      []*strand       // who waits, in the order in which they began
	faulty     bool            // faults are among the choices
	faults     []history.Fault // that may still happen
	owed       bool            // something was committed that the invariants have not been looked at after
	played
}

// play runs the scenario once, as the scheduler decides. An error means that the run could not be judged.
func (st *stage) play(ctx context.Context, s race.Scenario, by scheduler, sv *survey, config Config) (played, error) {
	st.hang = config.Hang
	r := &run{stage: st, survey: sv, scenario: s, faulty: len(config.Faults) > 0, faults: config.Faults, rehearses: config.rehearses, between: config.between, delayed: arena.DefaultDelay}
	if s.System != nil {
		habits := arena.Habits(s.System)
		r.mayThink, r.delayed = habits.Settle, habits.Delay
		if config.patient {
			r.mayThink *= patience
		}
	}
	if err := r.seat(ctx); err != nil {
		return played{}, err
	}
	for _, inv := range s.Invariants {
		if !inv.Outcomes && !config.AtEnd {
			r.invariants = append(r.invariants, inv)
		}
	}
	if slices.ContainsFunc(s.Clients, func(c race.Client) bool { return len(c.Settings) > 0 }) {
		for _, c := range r.clients {
			r.interleaving.Settings = append(r.interleaving.Settings, c.Settings)
		}
	}

	for _, c := range r.clients {
		r.names = append(r.names, c.Name)
	}

	running, cancel := context.WithCancel(ctx)
	defer cancel()
	var finished sync.WaitGroup
	for _, c := range r.clients {
		finished.Go(func() { c.act(running, &r.clock, st.gate.Poke) })
	}
	err := r.lead(ctx, by)
	if err == nil && !r.cut && r.rehearses {
		err = r.linger(ctx)
	}
	if err != nil || r.cut {
		err = errors.Join(err, r.dismiss(ctx, cancel, err))
	}
	if err != nil {
		return r.played, r.explain(err)
	}
	finished.Wait()
	r.seen.silent = r.silent()
	st.exact = st.layout
	if r.cut {
		return r.played, nil
	}
	if err := r.orphaned(ctx); err != nil {
		return r.played, r.explain(err)
	}
	return r.played, r.judge(ctx)
}

// silent returns the clients that made no step.
func (r *run) silent() (names []string) {
	for _, c := range r.clients {
		if c.last < 0 {
			names = append(names, c.Name)
		}
	}
	return names
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
		if r.between != nil {
			r.between(r)
		}
		next, ok := by.Pick(steps)
		if !ok {
			r.cut = true
			return nil
		}
		client, fault := next, history.Fault("")
		if r.faulty {
			client, fault = history.Chosen(next)
		}
		event, err := r.release(ctx, r.strands[client], fault)
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

// settle waits until every client is held, waits for a lock, or is done; those that need leave to begin their next operation are given it, one
// after another.
func (r *run) settle(ctx context.Context) error {
	for {
		if err := r.rest(ctx); err != nil {
			return err
		}
		if stirred, err := r.stirred(ctx); err != nil {
			return err
		} else if stirred {
			continue
		}
		i := slices.IndexFunc(r.clients, func(c *client) bool { return c.phase() == ready })
		if i < 0 {
			break
		}
		r.clients[i].permit()
	}
	for _, c := range r.clients {
		if err := r.tell(c); err != nil {
			return err
		}
	}
	return nil
}

// rest waits until no client is busy.
func (r *run) rest(ctx context.Context) error {
	if r.application != nil {
		return r.calmed(ctx)
	}
	var stranger string
	err := r.wait(ctx, func() bool {
		for _, s := range r.gate.Sessions() {
			if !r.mine[s] && s.State().Phase != wire.Ended { // that of an earlier run is soon forgotten
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
	return nil
}

// standing says what each client is at, for people.
func (r *run) standing() string {
	var parts []string
	for _, c := range r.clients {
		switch c.phase() {
		case held:
			for _, s := range c.strands {
				if s.phase() == held {
					parts = append(parts, s.name+" is held at "+brief(s.session.State().Step.SQL))
				}
			}
		case blocked:
			parts = append(parts, c.Name+" waits for a lock")
		case done:
			parts = append(parts, c.Name+" is done")
		case ready:
			parts = append(parts, c.Name+" is about to ask")
		case busy:
			parts = append(parts, c.Name+" neither asks the database for anything nor returns")
		}
	}
	return strings.Join(parts, ", ")
}

// offer returns the step of each strand that is held, and the faults that it may meet instead. None: all clients are done.
func (r *run) offer(ctx context.Context) ([]sched.Step, error) {
	var steps []sched.Step
	for _, s := range r.strands {
		if s.phase() != held {
			continue
		}
		if state := s.session.State(); state.Step.Index != s.step.Index {
			if err := r.hold(ctx, s, state); err != nil {
				return nil, err
			}
		}
		steps = append(steps, s.shown)
		first := len(steps) == 1
		for _, fault := range r.faults {
			if meets(s.step, fault, first) {
				steps = append(steps, under(fault, s.shown))
			}
		}
	}
	return steps, nil
}

// hold takes note of the step that a strand is held at.
func (r *run) hold(ctx context.Context, s *strand, state wire.State) error {
	step := state.Step
	s.step = step
	s.shown = sched.Step{
		Client: s.number, Index: s.steps, Kind: sched.Statement, Text: r.text(step), Level: sched.Level(step.Level),
		Autocommit: !step.InTransaction, Savepoint: step.Savepoint,
	}
	s.steps++
	switch step.Kind {
	case wire.Commit:
		s.shown.Kind = sched.Commit
	case wire.Rollback:
		s.shown.Kind = sched.Rollback
	case wire.RollbackTo:
		s.shown.Kind = sched.RollbackTo
	default:
		known := r.traitsOf(step.SQL)
		s.shown.Looks, s.shown.Advisory = known.looks, known.advisory
		if r.survey == nil {
			return nil
		}
		var err error
		if s.facts, err = r.survey.of(ctx, s.client.number, s.executed, step, known); err != nil {
			return err
		}
		s.shown.Blind, s.shown.Looks, s.shown.Bare = s.facts.blind, s.facts.looks, known.bare
		return nil
	}
	return nil
}

// finish lets the clients finish, as they have prepared.
func (r *run) finish(ctx context.Context) error {
	r.holds.Store(false)
	if r.application != nil {
		return r.leave(ctx)
	}
	conns := make([]*pgx.Conn, len(r.clients))
	for i, c := range r.clients {
		if !r.crashed {
			conns[i] = c.Conn
		}
	}
	return arena.Finish(ctx, r.scenario.Clients, conns)
}

// dismiss gets rid of the clients: they go on as they like until they are done, or are cut off if something was wrong.
func (r *run) dismiss(ctx context.Context, cancel func(), trouble error) error {
	gone := func() bool { return !slices.ContainsFunc(r.clients, func(c *client) bool { return !c.done.Load() }) }
	r.holds.Store(false)
	sessions := r.gate.Sessions()
	for _, s := range sessions {
		s.Open(true)
		defer s.Open(false)
	}
	for _, c := range r.clients {
		if c.Instance != nil {
			close(c.permits)
		}
	}
	after, stop := context.WithTimeout(context.WithoutCancel(ctx), dismissal)
	defer stop()
	if calm := trouble == nil || errors.Is(trouble, sched.ErrDiverged); calm && r.gate.Wait(after, gone) == nil {
		return r.finish(after)
	}
	cancel()
	for _, s := range sessions {
		_ = s.Abort()
	}
	after, stop = context.WithTimeout(context.WithoutCancel(ctx), dismissal)
	defer stop()
	if r.gate.Wait(after, gone) == nil {
		for _, c := range r.clients {
			c.Close(after) // its connection does not know yet that it has been cut off
		}
		return r.unhost(context.WithoutCancel(ctx)) // which may go on with what nobody waits for any more
	}
	err := fmt.Errorf("%s and heeds no context", r.standing())
	if r.application != nil {
		return err
	}
	var hung []int
	for _, c := range r.clients {
		if !c.done.Load() {
			hung = append(hung, c.number)
		}
	}
	return errors.Join(err, r.arena.Abandon(context.WithoutCancel(ctx), hung))
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
