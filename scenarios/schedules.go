package scenarios

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness"
)

// SchedulesInput is one race for schedules, as plain data.
type SchedulesInput struct {
	Base      string            `json:"base"`      // the time that all others are seen from, in RFC 3339
	Devices   []string          `json:"devices"`   // their serials
	Schedules []StartSchedule   `json:"schedules"` // there before the race
	Clients   []SchedulesClient `json:"clients"`
}

// StartSchedule is a visit that is planned before the race.
type StartSchedule struct {
	Device    int    `json:"device"` // an index into Devices; -1: NULL
	Inspector int    `json:"inspector"`
	At        When   `json:"at"`
	Status    string `json:"status"`
}

func (s StartSchedule) live() bool { return s.Status != "cancelled" }

// SchedulesClient is one planner's client.
type SchedulesClient struct {
	Inspector  int                 `json:"inspector"`
	TimeZone   string              `json:"time_zone"`
	Operations []ScheduleOperation `json:"operations"`
}

// ScheduleOperation is one request. Apart from Create, it is about the client's latest visit to the device.
type ScheduleOperation struct {
	Kind   Kind `json:"kind"`
	Device int  `json:"device"` // an index into Devices; -1: NULL
	At     When `json:"at"`     // where to; Cancel ignores it
}

func (in SchedulesInput) serial(device int) string {
	if device < 0 {
		return "not known yet"
	}
	return in.Devices[device]
}

// scheduleDevice returns the key of a device, nil for NULL.
func scheduleDevice(device int) *int {
	if device < 0 {
		return nil
	}
	id := deviceID(device)
	return &id
}

// slot reports whether creators on the device contend for one slot that exactly one can get: it is free at the start, nothing but creations is
// about it, and each of them would be in the way of each other.
func (in SchedulesInput) slot(device int, window time.Duration) bool {
	if device < 0 {
		return false
	}
	var times []When
	for _, c := range in.Clients {
		for _, op := range c.Operations {
			if op.Device != device {
				continue
			}
			if op.Kind != Create || op.At.Special != "" {
				return false
			}
			times = append(times, op.At)
		}
	}
	for i, at := range times {
		taken := slices.ContainsFunc(in.Schedules, func(s StartSchedule) bool {
			return s.Device == device && s.live() && !s.At.apart(at, window)
		})
		if taken || slices.ContainsFunc(times[:i], func(other When) bool { return at.apart(other, window) }) {
			return false
		}
	}
	return len(times) >= 2
}

// schedulesScenario builds the race of an input, under a defence.
func schedulesScenario(d Defence, in SchedulesInput, window time.Duration) harness.Scenario {
	s := harness.Scenario{
		Start:      func(ctx context.Context, conn *pgx.Conn) error { return in.start(ctx, conn) },
		Invariants: ScheduleInvariants(window),
	}
	for i, c := range in.Clients {
		actor := newScheduleActor(d, in, i, window)
		client := harness.Client{Settings: map[string]string{"TimeZone": c.TimeZone}}
		for _, op := range c.Operations {
			o := actor.operation(op)
			if op.Kind == Create && in.slot(op.Device, window) {
				o.Slot = "the free time of device " + o.Subject
			}
			client.Operations = append(client.Operations, o)
		}
		s.Clients = append(s.Clients, client)
	}
	return s
}

// scheduleRequest is what a request about a schedule carries.
type scheduleRequest struct {
	AedDataID    *int    `json:"aed_data_id"`
	ScheduledFor *string `json:"scheduled_for,omitempty"`
}

// start puts the starting rows in place. The notes of a schedule say where it started, for S6 to read when it has been moved; those of one that
// started cancelled are empty.
func (in SchedulesInput) start(ctx context.Context, conn *pgx.Conn) error {
	batch := &pgx.Batch{}
	queueDevices(batch, in.Devices)
	for i, s := range in.Schedules {
		var notes *string
		if s.live() {
			notes = s.At.text(in.Base)
		}
		batch.Queue(`
			insert into aedpics.inspection_schedules (id, aed_data_id, equipment_serial, scheduled_for, notes, created_by, status)
			values ($1, $2, $3, $4, $5, $6, $7)`,
			startScheduleID(i), scheduleDevice(s.Device), in.serial(s.Device), s.At.value(in.Base, 0), notes, userID(s.Inspector), s.Status)
	}
	return conn.SendBatch(ctx, batch).Close()
}

// scheduleActor is a client's side of the conversation: who it is and what it remembers.
type scheduleActor struct {
	d         Defence
	base      string // the time that all others are seen from, in RFC 3339
	serial    func(device int) string
	window    time.Duration
	inspector string
	latest    map[int]string // the schedule it knows, by device
	jitter    *rand.Rand
}

func newScheduleActor(d Defence, in SchedulesInput, client int, window time.Duration) *scheduleActor {
	inspector := in.Clients[client].Inspector
	a := &scheduleActor{
		d: d, base: in.Base, serial: in.serial, window: window, inspector: userID(inspector), latest: map[int]string{}, jitter: newJitter(client),
	}
	for i, s := range in.Schedules {
		if s.Inspector == inspector {
			a.latest[s.Device] = startScheduleID(i)
		}
	}
	return a
}

// operation is one request of the client.
func (a *scheduleActor) operation(op ScheduleOperation) harness.Operation {
	o := harness.Operation{Kind: string(op.Kind) + " schedule", Do: a.do(op)}
	request := scheduleRequest{AedDataID: scheduleDevice(op.Device)}
	if op.Kind != Cancel {
		request.ScheduledFor = op.At.text(a.base)
	}
	o.Input = request
	if request.AedDataID != nil {
		o.Subject = strconv.Itoa(*request.AedDataID)
	}
	return o
}

// do returns the client code of an operation.
func (a *scheduleActor) do(op ScheduleOperation) func(context.Context, *pgx.Conn) harness.Answer {
	return func(ctx context.Context, conn *pgx.Conn) harness.Answer {
		answer := a.ask(ctx, conn, op, a.latest[op.Device])
		if op.Kind == Create && answer.Row != "" {
			a.latest[op.Device] = answer.Row
		}
		return answer
	}
}

// ask makes a request. Apart from Create, it is about the visit with that id; empty: the client knows none.
func (a *scheduleActor) ask(ctx context.Context, conn *pgx.Conn, op ScheduleOperation, id string) harness.Answer {
	if op.Kind == Create {
		return a.place(ctx, conn, op, nil)
	}
	if id == "" {
		return harness.Answer{Outcome: harness.NotFound}
	}
	var answer harness.Answer
	switch op.Kind {
	case Reschedule:
		answer = a.place(ctx, conn, op, &id)
	case Cancel:
		answer = a.d.transact(ctx, conn, a.jitter, device{}, func(ctx context.Context, tx pgx.Tx) (harness.Answer, error) {
			return a.change(ctx, tx, `status = 'cancelled'`, id)
		})
	default:
		panic("scenarios: a schedule has no operation " + string(op.Kind))
	}
	answer.Row = id // whatever came of it
	return answer
}

// place plans a visit (id nil) or moves one, if nothing is in the way of the new time.
func (a *scheduleActor) place(ctx context.Context, conn *pgx.Conn, op ScheduleOperation, id *string) harness.Answer {
	on := device{}
	key := scheduleDevice(op.Device)
	if key != nil {
		on = device{column: "id", value: *key, key: fmt.Sprintf("schedule:%d", *key)}
	}
	at := op.At.value(a.base, 0)
	return a.d.transact(ctx, conn, a.jitter, on, func(ctx context.Context, tx pgx.Tx) (harness.Answer, error) {
		if !a.d.Insert {
			taken, err := a.taken(ctx, tx, key, op.At, id)
			if err != nil || taken {
				return harness.Answer{Outcome: harness.Conflict}, err
			}
		}
		if id != nil {
			return a.change(ctx, tx, `scheduled_for = $3`, *id, at)
		}
		created := harness.Answer{Outcome: harness.Created}
		err := tx.QueryRow(ctx, `insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for, created_by)
			values ($1, $2, $3, $4) returning id::text`, key, a.serial(op.Device), at, a.inspector).Scan(&created.Row)
		return created, err
	})
}

// taken looks for a visit in the way of one at the given time. The right rule is symmetric, and a cancelled visit is in nobody's way; production
// looks in [t−window, t+window) and at every status. The visit except does not count.
func (a *scheduleActor) taken(ctx context.Context, tx pgx.Tx, key *int, at When, except *string) (bool, error) {
	rule := `scheduled_for > $2 and scheduled_for < $3 and status <> 'cancelled'`
	if a.d.Naive {
		rule = `scheduled_for >= $2 and scheduled_for < $3`
	}
	var id string
	err := tx.QueryRow(ctx, `select id::text from aedpics.inspection_schedules
		where aed_data_id = $1 and `+rule+` and id is distinct from $4::uuid limit 1`,
		key, at.value(a.base, -a.window), at.value(a.base, a.window), except).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// change updates one of the caller's own schedules: if it is not cancelled, or in production's way, by id alone.
func (a *scheduleActor) change(ctx context.Context, tx pgx.Tx, set, id string, args ...any) (harness.Answer, error) {
	sql := `update aedpics.inspection_schedules set ` + set + `, updated_at = now() where id = $1 and created_by = $2`
	if !a.d.Naive {
		sql += ` and status <> 'cancelled'`
	}
	tag, err := tx.Exec(ctx, sql, append([]any{id, a.inspector}, args...)...)
	if err == nil && tag.RowsAffected() == 0 {
		return harness.Answer{Outcome: harness.NotFound}, nil
	}
	return harness.Answer{}, err
}
