package scenarios

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness"
)

// Kind names what an operation asks for.
type Kind string

// The kinds of operation. A session knows all but Reschedule; a schedule knows Create, Cancel and Reschedule.
const (
	Create     Kind = "create"
	Pause      Kind = "pause"
	Resume     Kind = "resume"
	Complete   Kind = "complete"
	Cancel     Kind = "cancel"
	CleanUp    Kind = "clean up"
	Reschedule Kind = "reschedule"
)

// SessionsInput is one race for sessions, as plain data.
type SessionsInput struct {
	Devices  []string         `json:"devices"`  // their serials
	Sessions []StartSession   `json:"sessions"` // there before the race
	Clients  []SessionsClient `json:"clients"`
}

// StartSession is a session that is there before the race.
type StartSession struct {
	Device    int    `json:"device"` // an index into Devices
	Inspector int    `json:"inspector"`
	Status    string `json:"status"`
	Stale     bool   `json:"stale,omitempty"` // not accessed for an hour
}

func (s StartSession) open() bool { return s.Status == "active" || s.Status == "paused" }

// SessionsClient is one inspector's client. Two clients may belong to one inspector, who then has two tabs open.
type SessionsClient struct {
	Inspector  int                `json:"inspector"`
	TimeZone   string             `json:"time_zone"`
	Operations []SessionOperation `json:"operations"`
}

// SessionOperation is one request. Apart from Create and CleanUp, it is about the client's latest session on the device.
type SessionOperation struct {
	Kind   Kind `json:"kind"`
	Device int  `json:"device"` // an index into Devices; -1: a device that does not exist
}

// unknownSerial belongs to no device.
const unknownSerial = "no such device"

func (in SessionsInput) serial(device int) string {
	if device < 0 {
		return unknownSerial
	}
	return in.Devices[device]
}

// slot reports whether creators on the device contend for one slot that exactly one can get: it is free at the start, and nothing but
// creations by different inspectors is about it.
func (in SessionsInput) slot(device int) bool {
	if device < 0 || slices.ContainsFunc(in.Sessions, func(s StartSession) bool { return s.Device == device && s.open() }) {
		return false
	}
	creators := map[int]bool{}
	for _, c := range in.Clients {
		for _, op := range c.Operations {
			if op.Device != device || op.Kind == CleanUp { // what a clean-up closes was there before the race
				continue
			}
			if op.Kind != Create || creators[c.Inspector] {
				return false
			}
			creators[c.Inspector] = true
		}
	}
	return len(creators) >= 2
}

// sessionsScenario builds the race of an input, under a defence.
func sessionsScenario(d Defence, in SessionsInput) harness.Scenario {
	s := harness.Scenario{
		Start:      func(ctx context.Context, conn *pgx.Conn) error { return in.start(ctx, conn) },
		Invariants: SessionInvariants(),
	}
	for i, c := range in.Clients {
		actor := newSessionActor(d, in, i)
		client := harness.Client{Settings: map[string]string{"TimeZone": c.TimeZone}}
		for _, op := range c.Operations {
			o := actor.operation(op)
			if op.Kind == Create && in.slot(op.Device) {
				o.Slot = "the session of " + o.Subject
			}
			client.Operations = append(client.Operations, o)
		}
		s.Clients = append(s.Clients, client)
	}
	return s
}

// sessionRequest is what a request about a session carries.
type sessionRequest struct {
	EquipmentSerial string `json:"equipment_serial"`
	Inspector       string `json:"inspector_id"`
}

// start puts the starting rows in place. The notes of a session say how it started, for S6 to read when its status has changed.
func (in SessionsInput) start(ctx context.Context, conn *pgx.Conn) error {
	batch := &pgx.Batch{}
	queueDevices(batch, in.Devices)
	users := map[int]bool{}
	user := func(i int) {
		if !users[i] {
			users[i] = true
			queueUser(batch, i)
		}
	}
	for _, c := range in.Clients {
		user(c.Inspector)
	}
	for i, s := range in.Sessions {
		user(s.Inspector)
		batch.Queue(`
			insert into aedpics.inspection_sessions (id, equipment_serial, inspector_id, status, notes, started_at, last_accessed_at)
			select $1, $2, $3, $4::aedpics.session_status, $4::text, t, t
			from (select case when $5 then now() - interval '1 hour' else now() end) s (t)`,
			startSessionID(i), in.serial(s.Device), userID(s.Inspector), s.Status, s.Stale)
	}
	return conn.SendBatch(ctx, batch).Close()
}

func queueDevices(batch *pgx.Batch, serials []string) {
	for i, serial := range serials {
		batch.Queue(`insert into aedpics.aed_data (id, equipment_serial) values ($1, $2)`, deviceID(i), serial)
	}
}

func queueUser(batch *pgx.Batch, inspector int) {
	batch.Queue(`insert into aedpics.user_profiles (id, full_name, role) values ($1, $2, 'inspector')`,
		userID(inspector), fmt.Sprintf("inspector %d", inspector+1))
}

// Rows that are there before the race have ids that say so; all others get theirs from gen_random_uuid, which never makes these.
const (
	startSessions  = "5e550000-0000-0000-0000-"
	startSchedules = "5c4e0000-0000-0000-0000-"
)

// users is how the ids of inspectors begin.
const users = "a11ce000-0000-0000-0000-"

func startSessionID(i int) string  { return fmt.Sprintf("%s%012d", startSessions, i+1) }
func startScheduleID(i int) string { return fmt.Sprintf("%s%012d", startSchedules, i+1) }
func userID(inspector int) string  { return fmt.Sprintf("%s%012d", users, inspector+1) }
func deviceID(i int) int           { return i + 1 }

// sessionActor is a client's side of the conversation: who it is and what it remembers.
type sessionActor struct {
	d         Defence
	inspector string
	serial    func(device int) string
	latest    map[int]string // the session it knows, by device
	jitter    *rand.Rand
}

func newSessionActor(d Defence, in SessionsInput, client int) *sessionActor {
	inspector := in.Clients[client].Inspector
	a := &sessionActor{d: d, inspector: userID(inspector), serial: in.serial, latest: map[int]string{}, jitter: newJitter(client)}
	for i, s := range in.Sessions {
		if s.Inspector == inspector && (a.latest[s.Device] == "" || s.open()) {
			a.latest[s.Device] = startSessionID(i)
		}
	}
	return a
}

// operation is one request of the client.
func (a *sessionActor) operation(op SessionOperation) harness.Operation {
	if op.Kind == CleanUp {
		return harness.Operation{Kind: "clean up sessions", Do: a.do(op)}
	}
	serial := a.serial(op.Device)
	request := sessionRequest{EquipmentSerial: serial, Inspector: a.inspector}
	return harness.Operation{Kind: string(op.Kind) + " session", Input: request, Subject: serial, Do: a.do(op)}
}

// do returns the client code of an operation.
func (a *sessionActor) do(op SessionOperation) func(context.Context, *pgx.Conn) harness.Answer {
	return func(ctx context.Context, conn *pgx.Conn) harness.Answer {
		switch op.Kind {
		case Create:
			answer := a.create(ctx, conn, a.serial(op.Device))
			if answer.Row != "" {
				a.latest[op.Device] = answer.Row
			}
			return answer
		case CleanUp:
			return a.d.transact(ctx, conn, a.jitter, device{}, a.cleanUp)
		}
		id := a.latest[op.Device]
		if id == "" {
			return harness.Answer{Outcome: harness.NotFound}
		}
		answer := a.d.transact(ctx, conn, a.jitter, device{}, func(ctx context.Context, tx pgx.Tx) (harness.Answer, error) {
			return a.change(ctx, tx, op.Kind, id)
		})
		answer.Row = id // whatever came of it
		return answer
	}
}

// create opens a session, or resumes the caller's own. A defence that only inserts learns from 23505 that there is one already, and resumes it
// if it is the caller's own and still open.
func (a *sessionActor) create(ctx context.Context, conn *pgx.Conn, serial string) harness.Answer {
	on := device{column: "equipment_serial", value: serial, key: "session:" + serial}
	answer := a.d.transact(ctx, conn, a.jitter, on, func(ctx context.Context, tx pgx.Tx) (harness.Answer, error) {
		if !a.d.Insert {
			answer, err := a.open(ctx, tx, serial)
			if err != nil || answer.Outcome != "" {
				return answer, err
			}
		}
		created := harness.Answer{Outcome: harness.Created}
		err := tx.QueryRow(ctx, `insert into aedpics.inspection_sessions (equipment_serial, inspector_id) values ($1, $2) returning id::text`,
			serial, a.inspector).Scan(&created.Row)
		return created, err
	})
	if !a.d.Insert || sqlState(answer.Err) != uniqueViolation {
		return answer
	}
	resumed := a.d.transact(ctx, conn, a.jitter, device{}, func(ctx context.Context, tx pgx.Tx) (harness.Answer, error) {
		resumed := harness.Answer{Outcome: harness.Resumed, Err: answer.Err}
		err := tx.QueryRow(ctx, `update aedpics.inspection_sessions set `+sessionChange(Resume)+`
			where equipment_serial = $1 and inspector_id = $2 and status in ('active', 'paused') returning id::text`,
			serial, a.inspector).Scan(&resumed.Row)
		if errors.Is(err, pgx.ErrNoRows) {
			return answer, nil
		}
		return resumed, err
	})
	resumed.Attempts += answer.Attempts
	return resumed
}

// open looks for an open session of the device. The answer is empty when there is none: the way is free.
func (a *sessionActor) open(ctx context.Context, tx pgx.Tx, serial string) (harness.Answer, error) {
	var id string
	var own bool
	err := tx.QueryRow(ctx, `select id::text, inspector_id = $2 from aedpics.inspection_sessions
		where equipment_serial = $1 and status in ('active', 'paused') order by started_at, id limit 1`, serial, a.inspector).Scan(&id, &own)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return harness.Answer{}, nil
	case err != nil:
		return harness.Answer{}, err
	case !own:
		return harness.Answer{Outcome: harness.Conflict}, nil
	}
	answer, err := a.change(ctx, tx, Resume, id)
	if err == nil && answer.Outcome == harness.NotFound { // it was closed since we looked
		return harness.Answer{}, nil
	}
	answer.Outcome = harness.Resumed
	return answer, err
}

// sessionChange returns what an operation sets.
func sessionChange(kind Kind) string {
	switch kind {
	case Pause:
		return `status = 'paused', paused_at = now(), last_accessed_at = now(), updated_at = now()`
	case Resume:
		return `status = 'active', resumed_at = now(), last_accessed_at = now(), updated_at = now()`
	case Complete:
		return `status = 'completed', completed_at = now(), last_accessed_at = now(), updated_at = now()`
	case Cancel, CleanUp:
		return `status = 'cancelled', cancelled_at = now(), updated_at = now()`
	}
	panic("scenarios: a session has no operation " + string(kind))
}

// change does to one of the caller's own sessions what is asked for: if it is open, or in production's way, by id alone.
func (a *sessionActor) change(ctx context.Context, tx pgx.Tx, kind Kind, id string) (harness.Answer, error) {
	sql := `update aedpics.inspection_sessions set ` + sessionChange(kind) + ` where id = $1 and inspector_id = $2`
	if !a.d.Naive {
		sql += ` and status in ('active', 'paused')`
	}
	answer := harness.Answer{Row: id}
	tag, err := tx.Exec(ctx, sql, id, a.inspector)
	if err != nil {
		return answer, err
	}
	if tag.RowsAffected() == 0 {
		answer.Outcome = harness.NotFound
		return answer, nil
	}
	if kind == Complete {
		_, err = tx.Exec(ctx, `insert into aedpics.inspections (session_id, inspector_id, equipment_serial)
			select id, inspector_id, equipment_serial from aedpics.inspection_sessions where id = $1`, id)
	}
	return answer, err
}

// cleanUp cancels every open session that nobody has accessed for half an hour. Except in production's way, it leaves alone what somebody is
// changing right now, and takes its locks in order of id, so two clean-ups never wait for each other.
func (a *sessionActor) cleanUp(ctx context.Context, tx pgx.Tx) (harness.Answer, error) {
	const stale = `status in ('active', 'paused') and last_accessed_at < now() - interval '30 minutes'`
	sql := `update aedpics.inspection_sessions set ` + sessionChange(CleanUp) + ` where ` + stale
	if !a.d.Naive {
		sql = `with stale as materialized (
				select id from aedpics.inspection_sessions where ` + stale + ` order by id for update skip locked)
			update aedpics.inspection_sessions s set ` + sessionChange(CleanUp) + ` from stale where s.id = stale.id`
	}
	_, err := tx.Exec(ctx, sql)
	return harness.Answer{}, err
}
