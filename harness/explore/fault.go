package explore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/internal/pause"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/wire"
)

// meets reports whether the fault may happen to who is held at the step, the first of those who are held or not.
func meets(step wire.Step, fault history.Fault, first bool) bool {
	switch fault {
	case history.LostAck:
		return step.Kind == wire.Commit || step.Kind == wire.Whole
	case history.Restart:
		return first // it happens to all of them
	}
	return true
}

// under returns the step as the scheduler knows it: meeting a fault is a step of another client.
func under(fault history.Fault, step sched.Step) sched.Step {
	step.Client = history.Choice(step.Client, fault)
	return step
}

// meet has a strand meet a fault at the step that it is held at, and returns what is to be said of that. Then no other fault happens in this run.
// Backends that are stopped have to be resumed for some.
func (r *run) meet(ctx context.Context, s *strand, fault history.Fault, resume func(*strand)) ([]sched.Part, error) {
	s.fault, r.faults = fault, nil
	defer func() { s.fault = "" }()
	switch fault {
	case history.LostAck:
		return r.lose(s), nil
	case history.Disconnect:
		_ = s.session.Abort()
		if err := r.departed(ctx, s); err != nil {
			return nil, err
		}
	case history.Terminate:
		if _, err := r.arena.Control.Exec(ctx, `select pg_terminate_backend($1)`, int32(s.session.State().PID)); err != nil {
			return nil, fmt.Errorf("ending the session of client %s: %w", s.name, err)
		}
		if err := r.departed(ctx, s); err != nil {
			return nil, err
		}
	case history.Delay:
		if held, err := r.delay(ctx, s); held || err != nil {
			return r.later(s, fault), err
		}
	case history.Restart:
		resume(nil)
		if err := r.restart(ctx); err != nil {
			return nil, fmt.Errorf("restarting the server: %w", err)
		}
	}
	parts, err := r.follow(ctx, s, false)
	if err == nil {
		parts[0].Step = under(fault, parts[0].Step)
	}
	return parts, err
}

// departed waits until the backend of a strand has gone, and with it its locks: the connection ends before.
func (r *run) departed(ctx context.Context, s *strand) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.hang, fmt.Errorf("the backend of client %s is still there after %v; does the server see that the connection is gone?", s.name, r.hang))
	defer cancel()
	for wait := firstLook; ; wait = min(2*wait, lastLook) {
		var there bool
		err := r.arena.Control.QueryRow(ctx, `select exists (select from pg_stat_activity where pid = $1)`, int32(s.session.State().PID)).Scan(&there)
		switch {
		case err != nil:
			return fmt.Errorf("waiting for the backend of client %s to go: %w", s.name, errors.Join(context.Cause(ctx), err))
		case !there:
			return nil
		}
		if pause.For(ctx, wait) != nil {
			return context.Cause(ctx)
		}
	}
}

// lose cuts the connection while the end of a transaction is on its way: the client will not have its answer, and the server gets it when the strand
// is released, now or after what the client does next.
func (r *run) lose(s *strand) []sched.Part {
	parts := r.later(s, history.LostAck)
	s.detach()
	_ = s.session.Close() // what was sent is still carried out
	return parts
}

// later returns what is to be said of a fault at a step that is still held.
func (r *run) later(s *strand, fault history.Fault) []sched.Part {
	r.record(s, false).Outcome = history.Answered
	return []sched.Part{{Step: under(fault, s.shown), Outcome: sched.Answered}}
}

// givenUp reports whether the client of a session does not want what is held any more.
func givenUp(s wire.State) bool { return s.Phase == wire.Holding && (s.Gone || s.Canceled) }

// detach makes a strand one that its client has nothing to do with any more. What it is held at will still be carried out.
func (s *strand) detach() {
	s.client.strands = slices.DeleteFunc(s.client.strands, func(other *strand) bool { return other == s })
}

var errDelayed = errors.New("delayed")

// delay lets time pass, in which the client may give up, and reports whether the step is still held.
func (r *run) delay(ctx context.Context, s *strand) (held bool, err error) {
	short, cancel := context.WithTimeoutCause(ctx, r.delayed, errDelayed)
	defer cancel()
	err = r.gate.Wait(short, func() bool {
		state := s.session.State()
		held = state.Phase == wire.Holding && state.Step.Index == s.step.Index
		return !held || givenUp(state)
	})
	if errors.Is(err, errDelayed) {
		err = nil
	}
	return held, err
}

// restartable returns an error unless the server is one that may be restarted, and can be.
func restartable(srv *server.Server) error {
	if srv.Owned && srv.Superuser {
		return nil
	}
	return fmt.Errorf("the server is not ours to restart: %s; try --postgres local, or other faults", srv.Where)
}

// restart has the server crash and recover: a backend that is killed takes all others with it. What has been committed is there afterwards, whatever the
// server's settings. Who connects meanwhile waits until the server is up again.
func (r *run) restart(ctx context.Context) error {
	if r.application != nil {
		defer r.application.Suspend()()
	}
	var sessions []*wire.Session
	for _, s := range r.gate.Sessions() {
		if s.State().Phase != wire.Opaque {
			sessions = append(sessions, s)
		}
	}
	if err := restartable(r.template.Server()); err != nil {
		return err
	}
	r.crashed = true
	if _, err := r.arena.Control.Exec(ctx, `checkpoint`); err != nil { // our settings do not wait for the log to be written, production's do
		return err
	}
	if _, err := r.arena.Control.Exec(ctx, `copy (select 1) to program 'kill -9 $PPID'`); err == nil {
		return errors.New("it could not be made to; try --postgres local")
	}
	if err := r.arena.Reconnect(ctx); err != nil {
		return err
	}
	if err := r.watch(ctx); err != nil {
		return err
	}
	gone := func(s *wire.Session) bool { return s.State().Phase == wire.Ended }
	if err := r.wait(ctx, func() bool { return !slices.ContainsFunc(sessions, func(s *wire.Session) bool { return !gone(s) }) }); err != nil {
		return fmt.Errorf("sessions outlive it: %w", err)
	}
	for _, s := range r.strands {
		s.open, s.touched = false, sched.Footprint{}
	}
	return nil
}
