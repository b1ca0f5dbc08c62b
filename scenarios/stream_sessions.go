package scenarios

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness"
)

// Of a hundred operations of an inspector who has a session open, so many are of each kind; the others pause or resume it.
const (
	anotherSession  = 25
	completeSession = 35
	cancelSession   = 10
)

// mostOpen is how many sessions an inspector keeps open at most; one or two are usual.
const mostOpen = 3

// sessionsStream is the work of inspectors: each opens sessions on devices as they are asked for, and pauses, resumes, completes or cancels its own.
func sessionsStream(d Defence, shape harness.Shape) harness.Stream {
	s := newStage(shape)
	return harness.Stream{
		Fill: s.fill,
		Client: func(n int) func() harness.Operation {
			actor := &sessionActor{d: d, inspector: userID(n), serial: filledSerial, latest: map[int]string{}, jitter: newJitter(n)}
			return (&inspector{stage: s, actor: actor, chance: s.dice(n), unsure: -1}).next
		},
		Invariants: []harness.Invariant{S1(), s3(), s5Sessions()},
	}
}

// inspector is a client of a stream of sessions.
type inspector struct {
	stage  stage
	actor  *sessionActor
	chance *rand.Rand
	open   []openSession // as far as it was told
	unsure int           // the device on which it does not know whether it has one, as the answer was lost; -1: none
}

type openSession struct {
	device int
	paused bool
}

func (i *inspector) next() harness.Operation {
	op := i.choose()
	o := i.actor.operation(op)
	do := o.Do
	o.Do = func(ctx context.Context, conn *pgx.Conn) harness.Answer {
		answer := do(ctx, conn).Resolve()
		i.learn(op, answer.Outcome)
		return answer
	}
	return o
}

// choose draws as often whatever the inspector was told, so that what it draws next is the same.
func (i *inspector) choose() SessionOperation {
	roll, device, which := i.chance.IntN(100), i.stage.device(i.chance), i.chance.Float64()
	op := SessionOperation{Kind: Create, Device: device}
	switch {
	case i.unsure >= 0:
		op.Device = i.unsure // asked again, it is told
	case len(i.open) > 0 && (roll >= anotherSession || len(i.open) == mostOpen):
		own := i.open[int(which*float64(len(i.open)))]
		op = SessionOperation{Kind: Pause, Device: own.device}
		switch {
		case roll < anotherSession+completeSession:
			op.Kind = Complete
		case roll < anotherSession+completeSession+cancelSession:
			op.Kind = Cancel
		case own.paused:
			op.Kind = Resume
		}
	}
	return op
}

// learn remembers what it was told. What is not there any more is forgotten; what failed, or what it got no answer to, is as it was before.
func (i *inspector) learn(op SessionOperation, told harness.Outcome) {
	if op.Kind == Create {
		i.unsure = -1
		if told == harness.Unknown {
			i.unsure = op.Device
		}
	}
	there := told == harness.Created || told == harness.Resumed || told == harness.Done && (op.Kind == Pause || op.Kind == Resume)
	gone := told == harness.NotFound || told == harness.Done && !there
	if there || gone {
		i.open = slices.DeleteFunc(i.open, func(s openSession) bool { return s.device == op.Device })
	}
	if there {
		i.open = append(i.open, openSession{device: op.Device, paused: op.Kind == Pause})
	}
}
