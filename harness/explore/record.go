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
func (r *run) waiting(c *client, resumed bool) []sched.Part {
	part := sched.Part{Step: c.shown, Outcome: sched.Waits, Touched: c.facts.touched}
	step := r.record(c, resumed)
	step.Outcome, step.Lock = history.Waiting, c.waits.lock
	for _, other := range r.clients {
		if slices.Contains(c.waits.blocker, other.session.State().PID) {
			part.WaitsFor = append(part.WaitsFor, other.number)
			step.WaitsFor = append(step.WaitsFor, other.Name)
		}
	}
	return []sched.Part{part}
}

// answered notes how a client's step was answered.
func (r *run) answered(ctx context.Context, c *client, state wire.State, resumed bool) ([]sched.Part, error) {
	result := state.Result
	c.answered = state.Answered
	part := sched.Part{Step: c.shown, Outcome: sched.Answered, Tag: result.Tag}
	step := r.record(c, resumed)
	step.Outcome, step.Tag, step.Rows = history.Answered, result.Tag, result.Rows
	if len(result.Columns) > 0 {
		step.Returned = &history.Table{Columns: result.Columns, Rows: result.Values, Total: int(result.Rows)}
	}
	r.layout = r.layout || result.Rows > 1 || step.Isolation == string(sched.Serializable) || c.facts.whole || r.traitsOf(c.step.SQL).layout ||
		result.SQLState == exclusionViolation
	if result.Err() {
		part.Outcome, part.SQLState, part.Tag = sched.Failed, result.SQLState, ""
		step.Outcome, step.SQLState, step.Message = history.Refused, result.SQLState, result.Message
		if result.Lost {
			step.Message = "the connection was lost before the answer came"
		}
	}
	switch c.shown.Kind {
	case sched.Commit, sched.Rollback:
		c.open, c.touched = false, sched.Footprint{}
		return []sched.Part{part}, nil
	case sched.RollbackTo:
		return []sched.Part{part}, nil
	}
	c.open = !result.Err() || !c.shown.Autocommit
	if !result.Err() {
		c.executed = append(c.executed, c.step)
	}
	if err := r.touched(ctx, c, &part); err != nil {
		return nil, err
	}
	if c.step.Kind == wire.Whole && !result.Err() { // it has ended a transaction as well
		c.open = result.Status == wire.InTransaction
		end := sched.Part{Step: c.shown, Outcome: sched.Answered}
		end.Step.Kind = sched.Commit
		return []sched.Part{part, end}, nil
	}
	return []sched.Part{part}, nil
}

// exclusionViolation is an SQLSTATE. In whose way of several a row is depends on where they lie.
const exclusionViolation = "23P01"

// record begins a line of the record.
func (r *run) record(c *client, resumed bool) *history.Step {
	step := history.Step{
		Number: r.number, Client: c.Name, Kind: string(c.shown.Kind), SQL: c.step.SQL, Isolation: string(c.shown.Level),
		Passed: c.step.Passed, Autocommit: c.shown.Autocommit, Begins: !c.open && c.shown.Kind == sched.Statement, Resumed: resumed,
	}
	for _, p := range c.step.Parameters {
		var value *string
		if !p.Null {
			text := p.String()
			value = &text
		}
		step.Parameters = append(step.Parameters, value)
		step.Types = append(step.Types, typeName(p.Type))
	}
	c.open = true
	c.last = len(r.interleaving.Steps)
	r.interleaving.Steps = append(r.interleaving.Steps, step)
	return &r.interleaving.Steps[c.last]
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
		if c.last < len(r.interleaving.Steps) && r.number > 0 && r.interleaving.Steps[c.last].Client == c.Name {
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
func (r *run) touched(ctx context.Context, c *client, part *sched.Part) error {
	if r.survey == nil {
		return nil
	}
	part.Touched = c.facts.touched
	if part.Outcome == sched.Failed { // its locks are gone
		part.Touched = part.Touched.Join(c.facts.unseen)
		return nil
	}
	if c.facts.vary() {
		now, err := r.locks.held(ctx, c.session.State().PID)
		if err != nil {
			return err
		}
		part.Touched = c.facts.of(now, c.touched)
	}
	c.touched = c.touched.Join(part.Touched)
	return nil
}
