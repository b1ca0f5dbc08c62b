package explore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sqltext"
	"github.com/interlock-pg/interlock/harness/wire"
)

// seen is what was seen of an application in a run.
type seen struct {
	thought int            // times that others went on without a client for which it was busy
	passed  map[string]int // statements that were no client's, and went through
	frozen  map[string]int // those that waited until the clients were done
	silent  []string       // clients that made no statement
}

// note counts a statement that was no client's.
func (s *seen) note(step wire.Step, frozen bool) {
	counts := &s.passed
	if frozen {
		counts = &s.frozen
	}
	if *counts == nil {
		*counts = map[string]int{}
	}
	(*counts)[sqltext.Normal(step.SQL)]++
}

// calm waits until an application has nothing more to do because of what has just happened, so that what happens next is because of something else.
func (r *run) calm(ctx context.Context) error {
	if r.application == nil {
		return nil
	}
	return r.calmed(ctx)
}

var errThinks = errors.New("thinks")

// calmed waits until no client is busy, and every step that is held is somebody's. Where an application makes queries at the same time, it waits for
// more of them as well.
func (r *run) calmed(ctx context.Context) error {
	causes := r.number + len(r.clients)
	for _, c := range r.clients {
		causes += c.begun
	}
	patient := (r.parallel[r.scenario.System] || r.rehearses) && causes != r.calmAfter
	r.calmAfter = causes
	rests := func() bool { return len(r.owners.pending) == 0 && r.still() }
	limit := func() time.Time { // of what follows when nothing happens until then
		if patient && rests() {
			return time.Now().Add(r.mayThink / pauses)
		}
		return time.Now().Add(r.mayThink)
	}
	began := time.Now()
	for posture, due := r.posture(), limit(); ; {
		var background []*wire.Session
		short, cancel := context.WithDeadlineCause(ctx, due, errThinks)
		err := r.gate.Wait(short, func() bool {
			background = r.assign()
			return len(background) > 0 || r.ended() || rests() && (!patient || !r.more())
		})
		cancel()
		now := r.posture()
		switch {
		case err != nil && !errors.Is(err, errThinks):
			return err
		case r.surprise != nil && !r.rehearses:
			return r.surprise
		case r.ended():
			return r.application.Lost(ctx)
		case len(background) > 0:
			r.pass(background)
		case err == nil, now == posture && rests():
			r.arrange()
			return nil
		case now == posture:
			if err := r.ponder(time.Since(began)); err != nil {
				return err
			}
		}
		if now != posture || err != nil {
			posture, due = now, limit()
		}
	}
}

// pauses is how many times as long as it is waited for more queries of a client that is held an application may think.
const pauses = 5

// posture is what clients are at, as far as a change of it shows that the application has not come to rest.
func (r *run) posture() string {
	var b strings.Builder
	for _, c := range r.clients {
		fmt.Fprintf(&b, "%d %d %t\n", c.begun, c.phase(), c.thinks)
		for _, s := range c.strands {
			if s.session != nil {
				fmt.Fprintf(&b, "%p %d\n", s.session, s.session.State().Step.Index)
			}
		}
	}
	return b.String()
}

// pass lets through what is no client's.
func (r *run) pass(background []*wire.Session) {
	for _, s := range background {
		state := s.State()
		r.seen.note(state.Step, false)
		s.Release(state.Step.Index)
	}
}

func (r *run) ended() bool {
	select {
	case <-r.application.Instance.Ended():
		return true
	default:
		return false
	}
}

// orphaned returns an error if the application has ended amid the last of its answers: one that is lost may be the first that is seen of that.
func (r *run) orphaned(ctx context.Context) error {
	lost := func(op history.Operation) bool { return op.Outcome == string(race.Unknown) }
	if r.application == nil || !slices.ContainsFunc(r.clients, func(c *client) bool { return slices.ContainsFunc(c.log, lost) }) {
		return nil
	}
	short, cancel := context.WithTimeout(ctx, r.mayThink)
	defer cancel()
	select {
	case <-r.application.Instance.Ended():
	case <-short.Done():
	}
	return r.application.Lost(ctx)
}

// held reports whether some strand is.
func (r *run) held() bool {
	return slices.ContainsFunc(r.strands, func(s *strand) bool { return s.phase() == held })
}

// still reports whether nobody is busy, but for those without whom others can go on.
func (r *run) still() bool {
	thinks := false
	for _, c := range r.clients {
		if c.works() {
			return false
		}
		thinks = thinks || c.thinks
	}
	return !thinks || r.held()
}

// more reports whether more queries may come of a client that is held.
func (r *run) more() bool {
	return slices.ContainsFunc(r.flying(), func(c *client) bool { p := c.phase(); return p == held || p == blocked })
}

// works reports whether the client is busy, and not for so long that others go on.
func (c *client) works() bool {
	if c.phase() != busy {
		c.thinks = false
	}
	return c.phase() == busy && !c.thinks
}

// patience is how many times as long as an application may think it may leave it open whose a step is; and how many times as long it may think where that
// must not be a matter of how busy the machine is.
const patience = 4

// only returns the one client that has asked for anything in this run; nil: there are several, of which one that has its answer may have left something to
// be done.
func (r *run) only() (only *client) {
	for _, c := range r.clients {
		switch {
		case c.begun == 0:
		case only != nil:
			return nil
		default:
			only = c
		}
	}
	return only
}

// linger waits whether an application that is rehearsed goes on when all clients have their answers: such work could be taken for a client's.
func (r *run) linger(ctx context.Context) error {
	short, cancel := context.WithTimeoutCause(ctx, r.mayThink/pauses, errThinks)
	defer cancel()
	for {
		var background []*wire.Session
		err := r.gate.Wait(short, func() bool {
			background = r.assign()
			return len(background) > 0 || len(r.owners.pending) > 0
		})
		switch {
		case errors.Is(err, errThinks):
			return nil
		case err != nil:
			return err
		}
		r.pass(background)
		for s := range r.owners.pending {
			return fmt.Errorf("after its answer the application went on, and among other clients' statements it could not be told whose this is: %s; name it as "+
				"background in the target file, or have the application put what the request's traceparent header says into a comment of its SQL",
				brief(s.State().Step.SQL))
		}
	}
}

// ponder decides what becomes of what has not come to rest in time.
func (r *run) ponder(waited time.Duration) error {
	if most := max(r.hang, 2*patience*r.mayThink); waited > most { // for half of which it may be open whose a statement is
		return fmt.Errorf("%w for %v while %s", errHangs, most, r.standing())
	}
	for s, p := range r.owners.pending {
		switch only := r.only(); {
		case len(p.by) == 0 && only != nil && !only.done.Load():
			r.bind(s, only, s.State())
		case len(p.by) > 1 && time.Since(p.since) < patience*r.mayThink:
		default:
			return r.errWhose(s, p)
		}
	}
	if !r.held() {
		return nil // nobody else can go on
	}
	for _, c := range r.clients {
		if c.works() && !slices.ContainsFunc(c.strands, func(s *strand) bool { return s.phase() == busy }) {
			c.thinks = true
			r.seen.thought++
		}
	}
	return nil
}
