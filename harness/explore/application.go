package explore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/interlock-pg/interlock/harness/arena"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/wire"
)

// application is one that has been started behind the gate of a stage.
type application struct {
	*arena.Application
	played   bool // it has been in a run
	watching sync.WaitGroup
}

// host sees to it that the system of the scenario is running on the database of the stage, and no other; where runs begin with a fresh process, one that
// has been in none.
func (st *stage) host(ctx context.Context, s race.Scenario) error {
	if a := st.application; a != nil && a.System == s.System && (!a.played || !a.Habits.Anew()) {
		return nil
	}
	if err := st.unhost(ctx); err != nil || s.System == nil {
		return err
	}
	launched, err := arena.Launch(ctx, s.System, st.arena.Database, st.gate, st.outspoken())
	if err != nil {
		return err
	}
	a := &application{Application: launched}
	a.watching.Go(func() {
		<-a.Instance.Ended()
		st.gate.Poke()
	})
	st.application = a
	if a.Habits.Cold || a.Habits.Rehearsal == nil {
		return nil
	}
	return st.warm(ctx, s)
}

// warm makes the rehearsal once, one client after another and then all at once, so that pools and caches are filled.
func (st *stage) warm(ctx context.Context, s race.Scenario) error {
	ask := func(c race.Client) error {
		for _, op := range c.Operations {
			if err := st.application.Greet(ctx, c.Name, op, st.hang); err != nil {
				return err
			}
		}
		return nil
	}
	named := func() []race.Client { return race.Scenario{Clients: st.application.Habits.Rehearsal()}.Named().Clients }
	for _, c := range named() {
		if err := ask(c); err != nil {
			return err
		}
	}
	if err := st.again(ctx, s); err != nil {
		return err
	}
	clients := named()
	errs := make([]error, len(clients))
	var asked sync.WaitGroup
	for i, c := range clients {
		asked.Go(func() { errs[i] = ask(c) })
	}
	asked.Wait()
	if err := errors.Join(errs...); errors.Is(err, arena.ErrUnanswered) {
		return fmt.Errorf("%w; one after another they were answered, and then all were asked at once: does each take more than one connection of the application's "+
			"pool? Try a larger pool", err)
	} else if err != nil {
		return err
	}
	return st.again(ctx, s)
}

// again puts the starting rows in place when the application is at rest.
func (st *stage) again(ctx context.Context, s race.Scenario) error {
	if err := st.idle(ctx, func(*wire.Session, wire.Step) {}); err != nil {
		return err
	}
	return st.prepare(ctx, s)
}

// rehearse has clients of the rehearsal do what they do alone, each kind of operation once, and finds out whether the application makes queries for them
// at the same time.
func (st *stage) rehearse(ctx context.Context, s race.Scenario, hang time.Duration) (parallel bool, err error) {
	st.hang = hang
	if err := errors.Join(st.prepare(ctx, s), st.host(ctx, s)); err != nil {
		return false, err
	}
	kinds := map[string]bool{}
	for _, c := range st.application.Habits.Rehearsal() {
		if !slices.ContainsFunc(c.Operations, func(op race.Operation) bool { return !kinds[op.Kind] }) {
			continue
		}
		for _, op := range c.Operations {
			kinds[op.Kind] = true
		}
		alone := race.Scenario{System: s.System, Start: s.Start, Clients: []race.Client{c}}.Named()
		p, err := st.play(ctx, alone, inTurn{}, nil, Config{Hang: hang, rehearses: true})
		if err != nil {
			return false, fmt.Errorf("rehearsing client %s alone: %w", c.Name, err)
		}
		parallel = parallel || p.surprise != nil
	}
	return parallel, nil
}

// inTurn is a scheduler that lets the first go on who can.
type inTurn struct{}

func (inTurn) Pick(held []sched.Step) (int, bool) { return held[0].Client, true }

func (inTurn) Observe(sched.Event) error { return nil }

// unhost ends the application, if there is one.
func (st *stage) unhost(ctx context.Context) error {
	a := st.application
	if a == nil {
		return nil
	}
	st.application = nil
	err := a.Close(ctx)
	a.watching.Wait()
	return err
}

// idle waits until no session of the application is in a transaction. Steps are not held any more; those that still are go on, and are told of.
func (st *stage) idle(ctx context.Context, released func(*wire.Session, wire.Step)) error {
	for {
		var left string
		var holding []*wire.Session
		err := st.wait(ctx, func() bool {
			left, holding = "", nil
			for _, s := range st.gate.Sessions() {
				switch state := s.State(); {
				case state.Phase == wire.Opaque || state.Phase == wire.Ended || state.Phase == wire.Starting:
				case state.Phase == wire.Holding:
					holding = append(holding, s)
				case state.Phase != wire.Quiet || state.Status != wire.Idle:
					left = fmt.Sprintf("%s (%s, after %q)", s.Name(), state.Status, brief(state.Last.SQL))
				}
			}
			return left == "" || holding != nil
		})
		if errors.Is(err, errHangs) {
			return fmt.Errorf("all clients have their answers, and a session of the application is still in a transaction: %s; does it forget to end one?", left)
		}
		if err != nil || holding == nil {
			return err
		}
		for _, s := range holding {
			step := s.State().Step
			if s.Release(step.Index) {
				released(s, step)
			}
		}
	}
}

// leave lets everything through that was held back, and waits until the application is at rest.
func (r *run) leave(ctx context.Context) error {
	return r.idle(ctx, func(s *wire.Session, step wire.Step) {
		if r.owners.frozen[s] != step.Index { // or it has been counted
			r.seen.note(step, false)
		}
	})
}
