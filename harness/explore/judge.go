package explore

import (
	"context"
	"errors"
	"slices"

	"github.com/interlock-pg/interlock/harness/arena"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
)

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
		if arena.Locked(failed) {
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
	invariants := r.scenario.Invariants
	if r.faulty && r.faults == nil { // one has happened
		invariants = slices.DeleteFunc(slices.Clone(invariants), func(inv race.Invariant) bool { return inv.Undisturbed })
	}
	atRest, err := r.arena.Judge(ctx, invariants, r.round.Operations)
	for _, v := range atRest {
		if !slices.ContainsFunc(r.round.Violations, func(seen history.Violation) bool { return seen.Invariant == v.Invariant }) {
			r.broke(v.Invariant)
		}
	}
	r.round.Violations = append(r.round.Violations, atRest...)
	return err
}
