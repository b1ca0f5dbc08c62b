package scenarios

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
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

// horizon is how far ahead visits are planned, to the minute. Eight planners keep 160 visits at most, so on a hundred devices some two in a hundred
// requests are refused.
const horizon = 3 * 24 * time.Hour

// calendar is what day it is, the same for all planners of a database: one more, whenever each device has had one more visit cancelled. If it were
// always the same day, production's check, for which a cancelled visit is in the way too, would refuse more and more, and in the end everything.
type calendar struct {
	devices   int
	cancelled atomic.Int64
}

// daysOnEnd is how many days there are, as many as a [time.Duration] holds; then they begin again.
const daysOnEnd = 100_000

// today returns how far the day is from the first one.
func (c *calendar) today() time.Duration {
	return time.Duration(c.cancelled.Load()/int64(c.devices)%daysOnEnd) * 24 * time.Hour
}

// schedulesStream is the work of planners: each plans visits to devices as they are asked for, and moves or cancels its own. A visit whose answer
// was lost is left where it is.
func schedulesStream(d Defence, shape harness.Shape, window time.Duration) harness.Stream {
	s := newStage(shape)
	days := &calendar{devices: s.Devices}
	return harness.Stream{
		Fill: s.fill,
		Client: func(n int) func() harness.Operation {
			actor := &scheduleActor{d: d, base: plainBaseTime, serial: filledSerial, window: window, inspector: userID(n), jitter: newJitter(n)}
			return (&planner{stage: s, calendar: days, actor: actor, chance: s.dice(n)}).next
		},
		Invariants: []harness.Invariant{S2(window), s3(), s5Schedules()},
	}
}

// planner is a client of a stream of schedules.
type planner struct {
	stage    stage
	calendar *calendar
	actor    *scheduleActor
	chance   *rand.Rand
	visits   []visit // as far as it was told
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
	op = ScheduleOperation{Kind: Create, Device: device, At: after(p.calendar.today() + minute*time.Minute)}
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
	switch cancelled := op.Kind == Cancel && told.Outcome == harness.Done; {
	case told.Outcome == harness.Created:
		p.visits = append(p.visits, visit{device: op.Device, id: told.Row})
	case cancelled, op.Kind != Create && told.Outcome == harness.NotFound:
		if cancelled {
			p.calendar.cancelled.Add(1)
		}
		p.visits = slices.DeleteFunc(p.visits, func(v visit) bool { return v.id == told.Row })
	}
}
