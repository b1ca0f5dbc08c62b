package scenarios

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness"
)

// Of a hundred operations of a planner, so many are of each kind; the others move a visit.
const (
	createVisit = 35
	cancelVisit = 30
)

// mostVisits is how many visits a planner keeps at most. There it cancels one instead of planning another.
const mostVisits = 20

// horizon is within what time visits are planned, to the minute. Eight planners keep 160 visits at most, so on a hundred devices one or two in a
// hundred requests are refused; on a single device, every other one.
const horizon = 7 * 24 * time.Hour

// schedulesStream is the work of planners: each plans visits to devices as they are asked for, and moves or cancels its own. A visit whose answer
// was lost is left where it is.
func schedulesStream(d Defence, shape harness.Shape, window time.Duration) harness.Stream {
	s := newStage(shape)
	return harness.Stream{
		Fill: s.fill,
		Client: func(n int) func() harness.Operation {
			actor := &scheduleActor{d: d, base: plainBaseTime, serial: filledSerial, window: window, inspector: userID(n), jitter: newJitter(n)}
			return (&planner{stage: s, actor: actor, chance: s.dice(n)}).next
		},
		Invariants: []harness.Invariant{S2(window), s3Served(), s5Schedules()},
	}
}

// planner is a client of a stream of schedules.
type planner struct {
	stage  stage
	actor  *scheduleActor
	chance *rand.Rand
	visits []visit // as far as it was told
}

type visit struct {
	device int
	id     string
}

func (p *planner) next() harness.Operation {
	op, id := p.choose()
	o := p.actor.operation(op)
	o.Do = func(ctx context.Context, conn *pgx.Conn) harness.Answer {
		answer := p.actor.ask(ctx, conn, op, id).Resolve()
		p.learn(op, answer)
		return answer
	}
	return o
}

// choose returns a request, and the visit that it is about; empty: none that is there. It draws as often whatever the planner was told, so that what
// it draws next is the same.
func (p *planner) choose() (op ScheduleOperation, id string) {
	roll, device, which := p.chance.IntN(100), p.stage.device(p.chance), p.chance.Float64()
	minute := time.Duration(p.chance.IntN(int(horizon / time.Minute)))
	op = ScheduleOperation{Kind: Create, Device: device, At: after(minute * time.Minute)}
	if len(p.visits) == 0 || roll < createVisit && len(p.visits) < mostVisits {
		return op, ""
	}
	own := p.visits[int(which*float64(len(p.visits)))]
	op.Kind, op.Device = Reschedule, own.device
	if roll < createVisit+cancelVisit {
		op.Kind, op.At = Cancel, When{}
	}
	return op, own.id
}

// learn remembers what it was told. What is not there any more is forgotten; what failed, or what it got no answer to, is as it was before.
func (p *planner) learn(op ScheduleOperation, told harness.Answer) {
	switch {
	case told.Outcome == harness.Created:
		p.visits = append(p.visits, visit{device: op.Device, id: told.Row})
	case op.Kind != Create && told.Outcome == harness.NotFound, op.Kind == Cancel && told.Outcome == harness.Done:
		p.visits = slices.DeleteFunc(p.visits, func(v visit) bool { return v.id == told.Row })
	}
}
