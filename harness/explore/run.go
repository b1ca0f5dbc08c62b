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
