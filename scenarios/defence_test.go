package scenarios

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server/servertest"

	"github.com/interlock-pg/interlock/harness"
)

// eachDefence runs a test for every defence at the migration where all of them work, if requests come one after another.
func eachDefence(t *testing.T, test func(t *testing.T, d Defence, b bench)) {
	for _, d := range Defences() {
		t.Run(d.Name, func(t *testing.T) { test(t, d, setup(t, 3)) })
	}
}

// oneByOne makes a client's operations as one after another would, whoever they belong to.
func (b bench) oneByOne(s harness.Scenario, order ...int) (told []harness.Answer) {
	b.Helper()
	require.NoError(b, b.db.Reset(b.ctx, b.conn))
	require.NoError(b, s.Start(b.ctx, b.conn))
	next := make([]int, len(s.Clients))
	for _, client := range order {
		op := s.Clients[client].Operations[next[client]]
		next[client]++
		told = append(told, op.Do(b.ctx, b.conn).Resolve())
	}
	return told
}

func outcomes(answers []harness.Answer) (told []harness.Outcome) {
	for _, a := range answers {
		told = append(told, a.Outcome)
	}
	return told
}

func sessionsOf(inspector int, kinds ...Kind) SessionsClient {
	c := SessionsClient{Inspector: inspector, TimeZone: "UTC"}
	for _, kind := range kinds {
		c.Operations = append(c.Operations, SessionOperation{Kind: kind})
	}
	return c
}

// TestSessionRequests follows one device through requests of two inspectors, A (0) and B (1), that come one after another.
func TestSessionRequests(t *testing.T) {
	const created, resumed, done, conflict, notFound = harness.Created, harness.Resumed, harness.Done, harness.Conflict, harness.NotFound
	type outcomesOf = []harness.Outcome
	tests := []struct {
		name     string
		start    []StartSession
		a, b     []Kind
		order    []int
		told     outcomesOf
		naive    outcomesOf // nil: the same
		statuses string
	}{
		{name: "free", a: []Kind{Create}, order: []int{0}, told: outcomesOf{created}, statuses: "active"},
		{name: "one's own", a: []Kind{Create, Create}, order: []int{0, 0}, told: outcomesOf{created, resumed}, statuses: "active"},
		{name: "one's own, paused", a: []Kind{Create, Pause, Create}, order: []int{0, 0, 0}, told: outcomesOf{created, done, resumed}, statuses: "active"},
		{name: "somebody else's", a: []Kind{Create}, b: []Kind{Create}, order: []int{0, 1}, told: outcomesOf{created, conflict}, statuses: "active"},
		{
			name: "somebody else's, paused", a: []Kind{Create, Pause}, b: []Kind{Create}, order: []int{0, 0, 1},
			told: outcomesOf{created, done, conflict}, statuses: "paused",
		},
		{
			name: "after completion", a: []Kind{Create, Complete}, b: []Kind{Create}, order: []int{0, 0, 1},
			told: outcomesOf{created, done, created}, statuses: "active, completed",
		},
		{
			name: "after cancellation", a: []Kind{Create, Cancel}, b: []Kind{Create}, order: []int{0, 0, 1},
			told: outcomesOf{created, done, created}, statuses: "active, cancelled",
		},
		{name: "pause and resume", a: []Kind{Create, Pause, Resume}, order: []int{0, 0, 0}, told: outcomesOf{created, done, done}, statuses: "active"},
		{name: "nothing known", a: []Kind{Pause, Resume, Complete, Cancel}, order: []int{0, 0, 0, 0}, told: outcomesOf{notFound, notFound, notFound, notFound}},
		{
			name: "a closed one stays closed", a: []Kind{Create, Complete, Resume}, order: []int{0, 0, 0},
			told: outcomesOf{created, done, notFound}, naive: outcomesOf{created, done, done}, statuses: "completed",
		},
		{
			name: "clean-up", start: []StartSession{{Status: "paused", Stale: true}}, a: []Kind{Resume}, b: []Kind{CleanUp, Create}, order: []int{1, 1},
			told: outcomesOf{done, created}, statuses: "active, cancelled",
		},
		{
			name: "clean-up leaves fresh ones", start: []StartSession{{Status: "active"}}, a: []Kind{Pause}, b: []Kind{CleanUp, Create}, order: []int{1, 1},
			told: outcomesOf{done, conflict}, statuses: "active",
		},
		{
			name: "a resumed one is fresh", start: []StartSession{{Status: "active", Stale: true}}, a: []Kind{Resume}, b: []Kind{CleanUp}, order: []int{0, 1},
			told: outcomesOf{done, done}, statuses: "active",
		},
		{
			name: "a starting one is known", start: []StartSession{{Status: "completed"}, {Status: "paused"}, {Status: "cancelled"}}, a: []Kind{Complete},
			order: []int{0}, told: outcomesOf{done}, statuses: "completed, completed, cancelled",
		},
	}
	eachDefence(t, func(t *testing.T, d Defence, b bench) {
		for _, test := range tests {
			in := SessionsInput{
				Devices: []string{"AED-1", "AED-2"}, Sessions: test.start,
				Clients: []SessionsClient{sessionsOf(0, test.a...), sessionsOf(1, test.b...)},
			}
			told := b.oneByOne(sessionsScenario(d, in), test.order...)
			want := test.told
			if d.Naive && test.naive != nil {
				want = test.naive
			}
			require.Equal(t, want, outcomes(told), test.name)
			if d.Naive && test.naive != nil {
				continue
			}
			var statuses, records string
			require.NoError(t, b.conn.QueryRow(b.ctx, `select coalesce(string_agg(status::text, ', ' order by status, id), '') from aedpics.inspection_sessions`).Scan(&statuses))
			require.Equal(t, test.statuses, statuses, test.name)
			require.NoError(t, b.conn.QueryRow(b.ctx, `select count(*) || ' of ' || (select count(*) from aedpics.inspection_sessions s
				where s.status = 'completed' and s.notes is distinct from 'completed') from aedpics.inspections`).Scan(&records))
			require.Contains(t, []string{"0 of 0", "1 of 1"}, records, test.name)
		}

		in := SessionsInput{Clients: []SessionsClient{{TimeZone: "UTC", Operations: []SessionOperation{{Kind: Create, Device: -1}}}}}
		require.Equal(t, outcomesOf{notFound}, outcomes(b.oneByOne(sessionsScenario(d, in), 0)), "a device that does not exist")

		in = SessionsInput{Devices: oddSerials}
		for device := range oddSerials {
			for inspector := range 2 {
				in.Clients = append(in.Clients, SessionsClient{Inspector: inspector, TimeZone: "Asia/Seoul", Operations: []SessionOperation{{Kind: Create, Device: device}}})
			}
		}
		for i, outcome := range outcomes(b.oneByOne(sessionsScenario(d, in), upTo(len(in.Clients))...)) {
			require.Equal(t, []harness.Outcome{created, conflict}[i%2], outcome, "%q", oddSerials[i/2])
		}
	})
}

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

func visits(ops ...ScheduleOperation) SchedulesClient {
	return SchedulesClient{TimeZone: "America/New_York", Operations: ops}
}

// TestScheduleRequests makes one client's requests one after another.
func TestScheduleRequests(t *testing.T) {
	servertest.Slow(t)
	const created, done, conflict, notFound = harness.Created, harness.Done, harness.Conflict, harness.NotFound
	type outcomesOf = []harness.Outcome
	create := func(at When) ScheduleOperation { return ScheduleOperation{Kind: Create, At: at} }
	move := func(at When) ScheduleOperation { return ScheduleOperation{Kind: Reschedule, At: at} }
	cancel := ScheduleOperation{Kind: Cancel}
	onNone := func(op ScheduleOperation) ScheduleOperation { op.Device = -1; return op }
	null, infinity, before := When{Special: Null}, When{Special: Infinity}, When{Special: Before}
	const µs = time.Microsecond
	tests := []struct {
		name  string
		start []StartSchedule
		ops   []ScheduleOperation
		told  outcomesOf
		naive outcomesOf // nil: the same
	}{
		{name: "same time", ops: []ScheduleOperation{create(When{}), create(When{})}, told: outcomesOf{created, conflict}},
		{name: "just inside, after", ops: []ScheduleOperation{create(When{}), create(after(Window - µs))}, told: outcomesOf{created, conflict}},
		{name: "just inside, before", ops: []ScheduleOperation{create(When{}), create(after(µs - Window))}, told: outcomesOf{created, conflict}},
		{
			name: "a window after (DOMAIN 5)", ops: []ScheduleOperation{create(When{}), create(after(Window))},
			told: outcomesOf{created, created}, naive: outcomesOf{created, conflict},
		},
		{name: "a window before", ops: []ScheduleOperation{create(When{}), create(after(-Window))}, told: outcomesOf{created, created}},
		{name: "just outside, after", ops: []ScheduleOperation{create(When{}), create(after(Window + µs))}, told: outcomesOf{created, created}},
		{name: "just outside, before", ops: []ScheduleOperation{create(When{}), create(after(-Window - µs))}, told: outcomesOf{created, created}},
		{
			name: "a cancelled one (DOMAIN 6)", ops: []ScheduleOperation{create(When{}), cancel, create(When{})},
			told: outcomesOf{created, done, created}, naive: outcomesOf{created, done, conflict},
		},
		{name: "a completed one", start: []StartSchedule{{Status: "completed"}}, ops: []ScheduleOperation{create(When{})}, told: outcomesOf{conflict}},
		{name: "no time", ops: []ScheduleOperation{create(null), create(null), create(When{})}, told: outcomesOf{created, created, created}},
		{name: "for ever", ops: []ScheduleOperation{create(infinity), create(infinity), create(before), create(before)}, told: outcomesOf{created, created, created, created}},
		{name: "no device", ops: []ScheduleOperation{onNone(create(When{})), onNone(create(When{}))}, told: outcomesOf{created, created}},
		{name: "a move", ops: []ScheduleOperation{create(When{}), move(after(µs)), create(after(Window))}, told: outcomesOf{created, done, conflict}},
		{
			name: "a move makes room", ops: []ScheduleOperation{create(When{}), move(after(2 * Window)), create(When{}), move(after(Window + µs))},
			told: outcomesOf{created, done, created, conflict},
		},
		{
			name: "a move of a cancelled one", ops: []ScheduleOperation{create(When{}), cancel, move(after(Window))},
			told: outcomesOf{created, done, notFound}, naive: outcomesOf{created, done, done},
		},
		{name: "nothing known", ops: []ScheduleOperation{cancel, move(When{})}, told: outcomesOf{notFound, notFound}},
		{name: "a starting one is known", start: []StartSchedule{{Status: "scheduled"}}, ops: []ScheduleOperation{move(after(Window)), cancel}, told: outcomesOf{done, done}},
	}
	eachDefence(t, func(t *testing.T, d Defence, b bench) {
		for _, base := range append([]string{plainBaseTime}, oddBases...) {
			for _, test := range tests {
				in := SchedulesInput{Base: base, Devices: []string{"AED-1"}, Schedules: test.start, Clients: []SchedulesClient{visits(test.ops...)}}
				told := b.oneByOne(schedulesScenario(d, in, Window), make([]int, len(test.ops))...)
				want := test.told
				if d.Naive && test.naive != nil {
					want = test.naive
				}
				got := outcomes(told)
				if d.Name == "none" || d.Isolation == pgx.RepeatableRead { // what the constraint refuses is not theirs to explain
					for i, outcome := range got {
						if outcome == harness.Failed && sqlState(told[i].Err) == exclusionViolation {
							got[i] = conflict
						}
					}
				}
				require.Equal(t, want, got, "%s at %s", test.name, base)
				if !d.Naive {
					rows, err := S2(Window).Offending(b.ctx, b.conn)
					require.NoError(t, err)
					require.Empty(t, rows.Rows, "%s at %s", test.name, base)
				}
			}
		}
	})
}

// TestAnswers is the table of what a client is told when the database says no.
func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		err           error
		polite, naive harness.Outcome
		lost          bool
	}{
		{&pgconn.PgError{Code: "23505"}, harness.Conflict, harness.Failed, true},
		{&pgconn.PgError{Code: "23P01"}, harness.Conflict, harness.Failed, true},
		{&pgconn.PgError{Code: "40001"}, harness.Conflict, harness.Failed, true},
		{fmt.Errorf("commit: %w", &pgconn.PgError{Code: "40P01"}), harness.Conflict, harness.Failed, true},
		{&pgconn.PgError{Code: "23503"}, harness.NotFound, harness.NotFound, false},
		{&pgconn.PgError{Code: "42P01"}, harness.Failed, harness.Failed, false},
		{errNoDevice, harness.NotFound, harness.NotFound, false},
		{errors.New("boom"), harness.Failed, harness.Failed, false},
	} {
		require.Equal(t, test.polite, defence(t, "serializable").refuse(test.err).Outcome, "%v", test.err)
		require.Equal(t, test.naive, defence(t, "none").refuse(test.err).Outcome, "%v", test.err)
		require.Equal(t, test.lost, defence(t, "serializable").lost(test.err), "%v", test.err)
	}
	require.False(t, defence(t, "constraint").lost(&pgconn.PgError{Code: "23P01"}), "who does not look does not learn from looking again")
}

// TestTransactGivesUp has a transaction lose every time.
func TestTransactGivesUp(t *testing.T) {
	b := setup(t, 1)
	loses := func(ctx context.Context, tx pgx.Tx) (harness.Answer, error) {
		_, err := tx.Exec(ctx, `do $$ begin raise sqlstate '40001'; end $$`)
		return harness.Answer{}, err
	}
	answer := defence(t, "serializable").transact(b.ctx, b.conn, newJitter(0), device{}, loses)
	require.Equal(t, harness.Conflict, answer.Outcome)
	require.Equal(t, tries, answer.Attempts)
	require.Equal(t, serializationFailure, sqlState(answer.Err))

	answer = defence(t, "repeatable-read").transact(b.ctx, b.conn, newJitter(0), device{}, loses)
	require.Equal(t, harness.Failed, answer.Outcome)
	require.Equal(t, 1, answer.Attempts)
	require.Equal(t, byte('I'), b.conn.PgConn().TxStatus())

	ctx, cancel := context.WithCancel(b.ctx)
	conn := b.connect("cut off")
	answer = defence(t, "serializable").transact(ctx, conn, newJitter(0), device{}, func(ctx context.Context, tx pgx.Tx) (harness.Answer, error) {
		cancel()
		return loses(ctx, tx)
	})
	require.Equal(t, harness.Unknown, answer.Outcome)
}

func TestJitterIsRepeatable(t *testing.T) {
	first, again, other := newJitter(1), newJitter(1), newJitter(2)
	same := true
	for range 10 {
		n := first.Int64()
		require.Equal(t, n, again.Int64())
		same = same && n == other.Int64()
	}
	require.False(t, same)
}
