package explore

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/wire"
)

// waiting notes that a client's step waits.
func (r *run) waiting(s *strand, resumed bool) []sched.Part {
	part := sched.Part{Step: s.shown, Outcome: sched.Waits, Touched: s.facts.touched}
	step := r.record(s, resumed)
	step.Outcome, step.Lock = history.Waiting, s.waits.lock
	for _, other := range r.strands {
		if other.session != nil && slices.Contains(s.waits.blocker, other.session.State().PID) {
			part.WaitsFor = append(part.WaitsFor, other.number)
			step.WaitsFor = append(step.WaitsFor, other.name)
		}
	}
	return []sched.Part{part}
}

// answered notes how a client's step was answered.
func (r *run) answered(ctx context.Context, s *strand, state wire.State, resumed bool) ([]sched.Part, error) {
	result := state.Result
	s.answered = state.Answered
	if r.application != nil && (result.Status == wire.Idle || result.Status == wire.Unknown) {
		defer r.unbind(s)
	}
	part := sched.Part{Step: s.shown, Outcome: sched.Answered, Tag: result.Tag}
	step := r.record(s, resumed)
	step.Outcome, step.Tag, step.Rows = history.Answered, result.Tag, result.Rows
	if len(result.Columns) > 0 {
		step.Returned = &history.Table{Columns: result.Columns, Rows: result.Values, Total: int(result.Rows)}
	}
	r.layout = r.layout || result.Rows > 1 || step.Isolation == string(sched.Serializable) || s.facts.whole || r.traitsOf(s.step.SQL).layout ||
		result.SQLState == exclusionViolation
	if result.Err() {
		part.Outcome, part.SQLState, part.Tag = sched.Failed, result.SQLState, ""
		step.Outcome, step.SQLState, step.Message = history.Refused, result.SQLState, result.Message
		if result.Lost {
			step.Message = "the connection was lost before the answer came"
		}
	}
	switch s.shown.Kind {
	case sched.Commit, sched.Rollback:
		s.open, s.touched = false, sched.Footprint{}
		return []sched.Part{part}, nil
	case sched.RollbackTo:
		return []sched.Part{part}, nil
	}
	s.open = !result.Err() || !s.shown.Autocommit
	if !result.Err() {
		s.executed = append(s.executed, s.step)
	}
	if err := r.touched(ctx, s, &part); err != nil {
		return nil, err
	}
	if s.step.Kind == wire.Whole && !result.Err() { // it has ended a transaction as well
		s.open = result.Status == wire.InTransaction
		end := sched.Part{Step: s.shown, Outcome: sched.Answered}
		end.Step.Kind = sched.Commit
		return []sched.Part{part, end}, nil
	}
	return []sched.Part{part}, nil
}

// exclusionViolation is an SQLSTATE. In whose way of several a row is depends on where they lie.
const exclusionViolation = "23P01"

// record begins a line of the record.
func (r *run) record(s *strand, resumed bool) *history.Step {
	step := history.Step{
		Number: r.number, Client: s.name, Kind: string(s.shown.Kind), SQL: s.step.SQL, Isolation: string(s.shown.Level),
		Passed: s.step.Passed, Autocommit: s.shown.Autocommit, Begins: !s.open && s.shown.Kind == sched.Statement, Resumed: resumed,
	}
	if !resumed {
		step.Fault = s.fault
	}
	for _, p := range s.step.Parameters {
		var value *string
		if !p.Null {
			text := p.String()
			value = &text
		}
		step.Parameters = append(step.Parameters, value)
		step.Types = append(step.Types, typeName(p.Type))
	}
	s.open = true
	s.client.last = len(r.interleaving.Steps)
	r.interleaving.Steps = append(r.interleaving.Steps, step)
	return &r.interleaving.Steps[s.client.last]
}

// typeName returns what Postgres calls a built-in type; empty: it is none.
func typeName(oid uint32) string {
	if t, ok := builtIn.TypeForOID(oid); ok {
		return t.Name
	}
	return ""
}

var builtIn = pgtype.NewMap()

// tell puts into the record what the client was told since the last time.
func (r *run) tell(c *client) error {
	ops, err := c.operations()
	if err != nil {
		return err
	}
	for _, op := range ops[c.told:] {
		if c.last >= 0 {
			step := &r.interleaving.Steps[c.last]
			step.Told = append(step.Told, history.Told{Operation: op.Number, Kind: op.Kind, Outcome: op.Outcome})
		}
	}
	c.told = len(ops)
	return nil
}

// broke puts into the record that an invariant was seen broken, after the latest release.
func (r *run) broke(invariant string) {
	i := slices.IndexFunc(r.interleaving.Steps, func(s history.Step) bool { return s.Number == r.number })
	if i >= 0 {
		r.interleaving.Steps[i].Broken = append(r.interleaving.Steps[i].Broken, invariant)
	}
}

// touched notes what a statement touched.
func (r *run) touched(ctx context.Context, s *strand, part *sched.Part) error {
	if r.survey == nil {
		return nil
	}
	part.Touched = s.facts.touched
	if part.Outcome == sched.Failed { // its locks are gone
		part.Touched = part.Touched.Join(s.facts.unseen)
		return nil
	}
	if s.facts.vary() {
		now, err := r.locks.held(ctx, s.session.State().PID)
		if err != nil {
			return err
		}
		part.Touched = s.facts.of(now, s.touched)
	}
	s.touched = s.touched.Join(part.Touched)
	return nil
}
