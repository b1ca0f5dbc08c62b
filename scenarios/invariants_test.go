package scenarios

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/race"
)

// told1 is one row of interlock_outcomes, planted by hand.
type told1 struct {
	client, kind, slot, subject, at, outcome, row, sqlstate string
	invoked, returned                                       int
}

// judge returns how many rows break an invariant, given what the clients were told.
func (b bench) judge(inv harness.Invariant, outcomes []told1) int {
	b.Helper()
	b.exec(`delete from interlock_outcomes`)
	for i, o := range outcomes {
		b.exec(`insert into interlock_outcomes (client, number, kind, slot, subject, input, outcome, row_id, sqlstate, attempts, invoked, returned)
			values ($1, $2, $3, nullif($4, ''), nullif($5, ''), jsonb_build_object('scheduled_for', nullif($6::text, '')), $7, nullif($8, ''), nullif($9, ''), 1, $10, $11)`,
			o.client, i, o.kind, o.slot, o.subject, o.at, o.outcome, o.row, o.sqlstate, o.invoked, o.returned)
	}
	rows, err := inv.Offending(b.ctx, b.conn)
	require.NoError(b, err)
	return rows.Total
}

// clear leaves two devices, two inspectors and the rows that the given statements insert.
func (b bench) clear(rows ...string) {
	b.Helper()
	b.exec(`truncate aedpics.aed_data, aedpics.user_profiles, aedpics.inspection_sessions, aedpics.inspection_schedules, aedpics.inspections`)
	b.exec(`insert into aedpics.aed_data (id, equipment_serial) values (1, 'AED-1'), (2, 'AED-2')`)
	b.exec(fmt.Sprintf(`insert into aedpics.user_profiles (id) values ('%s'), ('%s')`, userID(0), userID(1)))
	for _, row := range rows {
		b.exec(row)
	}
}

func session(id, serial, status string) string {
	return fmt.Sprintf(`insert into aedpics.inspection_sessions (id, equipment_serial, inspector_id, status, notes)
		values ('%s', '%s', '%s', '%s', '%[4]s')`, id, serial, userID(0), status)
}

func schedule(id, device, at, status string) string {
	return fmt.Sprintf(`insert into aedpics.inspection_schedules (id, aed_data_id, equipment_serial, scheduled_for, status, notes)
		values ('%s', %s, '', %[3]s, '%[4]s', case when '%[4]s' <> 'cancelled' then (%[3]s)::text end)`, id, device, at, status)
}

// Ids of rows that are there before the race, and of others.
var (
	old1, old2     = startSessionID(0), startSessionID(1)
	visit1, visit2 = startScheduleID(0), startScheduleID(1)
	new1, new2     = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
)

func TestS1(t *testing.T) {
	b := setup(t, 1)
	for name, test := range map[string]struct {
		rows []string
		want int
	}{
		"nothing":             {nil, 0},
		"one":                 {[]string{session(new1, "AED-1", "active")}, 0},
		"two devices":         {[]string{session(new1, "AED-1", "active"), session(new2, "AED-2", "active")}, 0},
		"closed ones":         {[]string{session(new1, "AED-1", "active"), session(new2, "AED-1", "completed"), session(old1, "AED-1", "cancelled")}, 0},
		"in progress is not":  {[]string{session(new1, "AED-1", "active"), session(new2, "AED-1", "in_progress")}, 0},
		"two active":          {[]string{session(new1, "AED-1", "active"), session(new2, "AED-1", "active")}, 1},
		"active and paused":   {[]string{session(new1, "AED-1", "active"), session(new2, "AED-1", "paused")}, 1},
		"two crowded devices": {[]string{session(new1, "AED-1", "active"), session(new2, "AED-1", "paused"), session(old1, "AED-2", "paused"), session(old2, "AED-2", "paused")}, 2},
	} {
		b.clear(test.rows...)
		rows, err := S1().Offending(b.ctx, b.conn)
		require.NoError(t, err)
		require.Equal(t, test.want, rows.Total, name)
		if rows.Total > 0 {
			require.Equal(t, []string{"equipment_serial", "sessions", "ids", "statuses", "inspectors", "first_started", "last_started", "last_accessed"}, rows.Columns)
			require.Equal(t, "AED-1", *rows.Rows[0][0])
			require.Equal(t, "2", *rows.Rows[0][1])
		}
	}
}

func TestS2(t *testing.T) {
	b := setup(t, 1)
	const base = `timestamptz '2025-11-10 10:00Z'`
	at := func(offset string) string { return base + ` + interval '` + offset + `'` }
	for name, test := range map[string]struct {
		rows []string
		want int
	}{
		"nothing":          {nil, 0},
		"one":              {[]string{schedule(new1, "1", at("0"), "scheduled")}, 0},
		"same time":        {[]string{schedule(new1, "1", at("0"), "scheduled"), schedule(new2, "1", at("0"), "completed")}, 1},
		"same time, three": {[]string{schedule(new1, "1", at("0"), "scheduled"), schedule(new2, "1", at("0"), "completed"), schedule(visit1, "1", at("0"), "in_progress")}, 1},
		"just inside":      {[]string{schedule(new1, "1", at("0"), "scheduled"), schedule(new2, "1", at("29:59.999999 minutes"), "scheduled")}, 1},
		"a window apart":   {[]string{schedule(new1, "1", at("0"), "scheduled"), schedule(new2, "1", at("30 minutes"), "scheduled")}, 0},
		"a chain":          {[]string{schedule(new1, "1", at("0"), "scheduled"), schedule(new2, "1", at("20 minutes"), "scheduled"), schedule(visit1, "1", at("40 minutes"), "scheduled")}, 1},
		"two chains": {
			[]string{
				schedule(new1, "1", at("0"), "scheduled"), schedule(new2, "1", at("20 minutes"), "scheduled"),
				schedule(visit1, "1", at("50 minutes"), "scheduled"), schedule(visit2, "1", at("50 minutes"), "scheduled"),
			}, 2,
		},
		"two devices": {[]string{schedule(new1, "1", at("0"), "scheduled"), schedule(new2, "2", at("0"), "scheduled")}, 0},
		"cancelled":   {[]string{schedule(new1, "1", at("0"), "scheduled"), schedule(new2, "1", at("0"), "cancelled")}, 0},
		"cancelled between": {
			[]string{schedule(new1, "1", at("0"), "scheduled"), schedule(new2, "1", at("10 minutes"), "cancelled"), schedule(visit1, "1", at("20 minutes"), "scheduled")}, 1,
		},
		"no device": {[]string{schedule(new1, "null", at("0"), "scheduled"), schedule(new2, "null", at("0"), "scheduled")}, 0},
		"no time":   {[]string{schedule(new1, "1", "null::timestamptz", "scheduled"), schedule(new2, "1", "null::timestamptz", "scheduled"), schedule(visit1, "1", at("0"), "scheduled")}, 0},
		"for ever": {
			[]string{
				schedule(new1, "1", "timestamptz 'infinity'", "scheduled"), schedule(new2, "1", "timestamptz 'infinity'", "scheduled"),
				schedule(visit1, "1", "timestamptz '-infinity'", "scheduled"), schedule(visit2, "1", "timestamptz '-infinity'", "scheduled"),
			}, 0,
		},
		"the ends of time": {[]string{schedule(new1, "1", "timestamptz '4713-01-01 BC'", "scheduled"), schedule(new2, "1", "timestamptz '294276-12-31Z'", "scheduled")}, 0},
	} {
		b.clear(test.rows...)
		rows, err := S2(Window).Offending(b.ctx, b.conn)
		require.NoError(t, err, name)
		require.Equal(t, test.want, rows.Total, name)
	}

	b.clear(schedule(new1, "1", at("0"), "scheduled"), schedule(new2, "1", at("2.000001 seconds"), "scheduled"))
	for window, want := range map[time.Duration]int{2 * time.Second: 0, 2*time.Second + time.Microsecond: 0, 2*time.Second + 2*time.Microsecond: 1, 24 * time.Hour: 1} {
		rows, err := S2(window).Offending(b.ctx, b.conn)
		require.NoError(t, err)
		require.Equal(t, want, rows.Total, "%v", window)
	}
}

// TestOutcomeInvariants plants rows and answers. Every invariant is seen both to hold and to break.
func TestOutcomeInvariants(t *testing.T) {
	b := setup(t, 1)
	b.exec(race.OutcomesTable)
	const ten, tenThirty = `timestamptz '2025-11-10 10:00Z'`, `timestamptz '2025-11-10 10:30Z'`
	conflicted := told1{client: "Z", kind: "create session", subject: "AED-1", outcome: "conflict", invoked: 100, returned: 200}
	refused := told1{client: "Z", kind: "create schedule", subject: "1", at: "2025-11-10T10:30:00Z", outcome: "conflict", invoked: 100, returned: 200}
	gaveUp := refused
	gaveUp.sqlstate = "40001"

	s5, s6 := s5Sessions(), s6Sessions()
	v5, v6 := s5Schedules(), s6Schedules(Window)
	for _, test := range []struct {
		name string
		inv  harness.Invariant
		rows []string
		told []told1
		want int
	}{
		{"polite", s3(), nil, []told1{{kind: "create session", outcome: "conflict", sqlstate: "23505"}, {outcome: "not found"}, {outcome: "unknown"}}, 0},
		{"a 500", s3(), nil, []told1{{kind: "create session", outcome: "failed", sqlstate: "23505"}}, 1},

		{"no slot", s4(), nil, []told1{{outcome: "conflict"}, {outcome: "conflict"}}, 0},
		{"one winner", s4(), nil, []told1{{slot: "x", outcome: "conflict"}, {slot: "x", outcome: "created"}, {slot: "y", outcome: "created"}}, 0},
		{"two winners", s4(), nil, []told1{{slot: "x", outcome: "created"}, {slot: "x", outcome: "created"}, {slot: "y", outcome: "created"}}, 1},
		{"no winner", s4(), nil, []told1{{slot: "x", outcome: "conflict"}, {slot: "x", outcome: "failed"}}, 1},
		{"perhaps one", s4(), nil, []told1{{slot: "x", outcome: "conflict"}, {slot: "x", outcome: "unknown"}}, 0},

		{"all accounted for", s5, []string{session(new1, "AED-1", "active"), session(old1, "AED-1", "completed")}, []told1{{kind: "create session", outcome: "created", row: new1}}, 0},
		{"lost", s5, nil, []told1{{kind: "create session", outcome: "created", row: new1}}, 1},
		{"resumed and lost", s5, nil, []told1{{kind: "create session", outcome: "resumed", row: new1}}, 1},
		{"out of nowhere", s5, []string{session(new1, "AED-1", "active")}, []told1{{kind: "create session", subject: "AED-1", outcome: "failed"}}, 1},
		{"answer lost", s5, []string{session(new1, "AED-1", "active")}, []told1{{kind: "create session", subject: "AED-1", outcome: "unknown"}}, 0},
		{"answer lost elsewhere", s5, []string{session(new1, "AED-1", "active")}, []told1{{kind: "create session", subject: "AED-2", outcome: "unknown"}}, 1},
		{"cancelled", s5, []string{session(old1, "AED-1", "cancelled")}, []told1{{kind: "cancel session", outcome: "done", row: old1}}, 0},
		{"cancelled, revived", s5, []string{session(old1, "AED-1", "active")}, []told1{{kind: "cancel session", outcome: "done", row: old1}}, 1},
		{"completed", s5, []string{session(old1, "AED-1", "completed"), inspection(old1)}, []told1{{kind: "complete session", outcome: "done", row: old1}}, 0},
		{"completed, no record", s5, []string{session(old1, "AED-1", "completed")}, []told1{{kind: "complete session", outcome: "done", row: old1}}, 1},
		{"completed, two records", s5, []string{session(old1, "AED-1", "completed"), inspection(old1), inspection(old1)}, []told1{{kind: "complete session", outcome: "done", row: old1}}, 1},
		{"completed, revived", s5, []string{session(old1, "AED-1", "paused"), inspection(old1)}, []told1{{kind: "complete session", outcome: "done", row: old1}}, 1},

		{"in the way from the start", s6, []string{session(old1, "AED-1", "paused")}, []told1{conflicted}, 0},
		{"nothing in the way", s6, []string{session(old1, "AED-1", "completed"), session(old2, "AED-2", "active")}, []told1{conflicted}, 1},
		{"in the way while it asked", s6, nil, []told1{{client: "A", kind: "create session", subject: "AED-1", outcome: "created", row: new1, invoked: 200, returned: 210}, conflicted}, 0},
		{"too late to be in the way", s6, nil, []told1{{client: "A", kind: "create session", subject: "AED-1", outcome: "created", row: new1, invoked: 201, returned: 210}, conflicted}, 1},
		{"perhaps in the way", s6, nil, []told1{{client: "A", kind: "create session", subject: "AED-1", outcome: "unknown", invoked: 1, returned: 10}, conflicted}, 0},
		{"gone before it asked", s6, []string{session(old1, "AED-1", "active")}, []told1{{client: "A", kind: "cancel session", subject: "AED-1", outcome: "done", row: old1, invoked: 10, returned: 99}, conflicted}, 1},
		{"gone while it asked", s6, []string{session(old1, "AED-1", "active")}, []told1{{client: "A", kind: "complete session", subject: "AED-1", outcome: "done", row: old1, invoked: 10, returned: 100}, conflicted}, 0},
		{"gone and come back", s6, nil, []told1{
			{client: "A", kind: "create session", subject: "AED-1", outcome: "created", row: new1, invoked: 1, returned: 2},
			{client: "A", kind: "complete session", subject: "AED-1", outcome: "done", row: new1, invoked: 3, returned: 4},
			{client: "A", kind: "resume session", subject: "AED-1", outcome: "done", row: new1, invoked: 5, returned: 6},
			conflicted,
		}, 0},

		{"all accounted for", v5, []string{schedule(new1, "1", ten, "scheduled"), schedule(visit1, "2", ten, "scheduled")}, []told1{{kind: "create schedule", subject: "1", at: "2025-11-10T10:00:00Z", outcome: "created", row: new1}}, 0},
		{"lost", v5, nil, []told1{{kind: "create schedule", outcome: "created", row: new1}}, 1},
		{"out of nowhere", v5, []string{schedule(new1, "1", ten, "scheduled")}, []told1{{kind: "create schedule", subject: "1", outcome: "conflict"}}, 1},
		{"answer lost", v5, []string{schedule(new1, "null", ten, "scheduled")}, []told1{{kind: "create schedule", outcome: "unknown"}}, 0},
		{"cancelled", v5, []string{schedule(visit1, "1", ten, "cancelled")}, []told1{{kind: "cancel schedule", outcome: "done", row: visit1}}, 0},
		{"cancelled, revived", v5, []string{schedule(visit1, "1", ten, "scheduled")}, []told1{{kind: "cancel schedule", outcome: "done", row: visit1}}, 1},
		{"moved", v5, []string{schedule(visit1, "1", tenThirty, "scheduled")}, []told1{
			{kind: "reschedule schedule", at: "2025-11-10T10:00:00Z", outcome: "done", row: visit1, invoked: 1, returned: 2},
			{kind: "reschedule schedule", at: "2025-11-10T19:30:00+09", outcome: "done", row: visit1, invoked: 3, returned: 4},
		}, 0},
		{"moved, and the move lost", v5, []string{schedule(visit1, "1", ten, "scheduled")}, []told1{
			{kind: "reschedule schedule", at: "2025-11-10T10:00:00Z", outcome: "done", row: visit1, invoked: 1, returned: 2},
			{kind: "reschedule schedule", at: "2025-11-10T10:30:00Z", outcome: "done", row: visit1, invoked: 3, returned: 4},
		}, 1},
		{"moved by two at once", v5, []string{schedule(visit1, "1", ten, "scheduled")}, []told1{
			{kind: "reschedule schedule", at: "2025-11-10T10:00:00Z", outcome: "done", row: visit1, invoked: 1, returned: 4},
			{kind: "reschedule schedule", at: "2025-11-10T10:30:00Z", outcome: "done", row: visit1, invoked: 3, returned: 5},
		}, 0},
		{"perhaps moved", v5, []string{schedule(visit1, "1", tenThirty, "scheduled")}, []told1{
			{kind: "reschedule schedule", at: "2025-11-10T10:00:00Z", outcome: "done", row: visit1, invoked: 1, returned: 2},
			{kind: "reschedule schedule", at: "2025-11-10T10:30:00Z", outcome: "unknown", row: visit1, invoked: 3, returned: 4},
		}, 0},

		{"in the way from the start", v6, []string{schedule(visit1, "1", ten+` + interval '1 us'`, "completed")}, []told1{refused}, 0},
		{"a window away (DOMAIN 5)", v6, []string{schedule(visit1, "1", ten, "scheduled")}, []told1{refused}, 1},
		{"cancelled (DOMAIN 6)", v6, []string{schedule(visit1, "1", tenThirty, "cancelled")}, []told1{refused}, 1},
		{"another device", v6, []string{schedule(visit1, "2", tenThirty, "scheduled")}, []told1{refused}, 1},
		{"no device", v6, []string{schedule(visit1, "null", tenThirty, "scheduled")}, []told1{{client: "Z", kind: "create schedule", at: "2025-11-10T10:30:00Z", outcome: "conflict"}}, 1},
		{"no time", v6, []string{schedule(visit1, "1", tenThirty, "scheduled")}, []told1{{client: "Z", kind: "create schedule", subject: "1", outcome: "conflict"}}, 1},
		{"for ever", v6, []string{schedule(visit1, "1", tenThirty, "scheduled")}, []told1{{client: "Z", kind: "create schedule", subject: "1", at: "infinity", outcome: "conflict"}}, 1},
		{"in the way while it asked", v6, nil, []told1{{client: "A", kind: "create schedule", subject: "1", at: "2025-11-10T10:45:00Z", outcome: "created", row: new1, invoked: 200, returned: 210}, refused}, 0},
		{"too late to be in the way", v6, nil, []told1{{client: "A", kind: "create schedule", subject: "1", at: "2025-11-10T10:45:00Z", outcome: "created", row: new1, invoked: 201, returned: 210}, refused}, 1},
		{"refused as well", v6, nil, []told1{{client: "A", kind: "create schedule", subject: "1", at: "2025-11-10T10:45:00Z", outcome: "conflict", invoked: 201, returned: 210}, refused}, 2},
		{"cancelled before it asked", v6, []string{schedule(visit1, "1", tenThirty, "scheduled")}, []told1{{client: "A", kind: "cancel schedule", outcome: "done", row: visit1, invoked: 1, returned: 99}, refused}, 1},
		{"cancelled while it asked", v6, []string{schedule(visit1, "1", tenThirty, "scheduled")}, []told1{{client: "A", kind: "cancel schedule", outcome: "done", row: visit1, invoked: 1, returned: 100}, refused}, 0},
		{"moved away", v6, []string{schedule(visit1, "1", tenThirty, "scheduled")}, []told1{{client: "A", kind: "reschedule schedule", subject: "1", at: "2025-11-10T11:00:00Z", outcome: "done", row: visit1, invoked: 1, returned: 99}, refused}, 1},
		{"moved here", v6, []string{schedule(visit1, "1", `timestamptz '2025-11-10 12:00Z'`, "scheduled")}, []told1{{client: "A", kind: "reschedule schedule", subject: "1", at: "2025-11-10T10:59:59.999999Z", outcome: "done", row: visit1, invoked: 1, returned: 99}, refused}, 0},
		{"only itself in the way", v6, []string{schedule(visit1, "1", tenThirty, "scheduled")}, []told1{{client: "A", kind: "reschedule schedule", subject: "1", at: "2025-11-10T10:30:00Z", outcome: "conflict", row: visit1, invoked: 1, returned: 9}}, 1},
		{"gave up beside somebody", v6, nil, []told1{{client: "A", kind: "create schedule", subject: "2", outcome: "created", row: new1, invoked: 150, returned: 210}, gaveUp}, 0},
		{"gave up beside nobody", v6, nil, []told1{{client: "A", kind: "create schedule", subject: "2", outcome: "created", row: new1, invoked: 1, returned: 99}, gaveUp}, 1},
	} {
		b.clear(test.rows...)
		require.Equal(t, test.want, b.judge(test.inv, test.told), "%s: %s", test.inv.Name, test.name)
	}
}

func inspection(session string) string {
	return fmt.Sprintf(`insert into aedpics.inspections (session_id, inspector_id, equipment_serial) values ('%s', '%s', 'AED-1')`, session, userID(0))
}

func TestWords(t *testing.T) {
	require.Equal(t, "30 minutes", words(Window))
	require.Equal(t, "1m30s", words(90*time.Second))
	require.Equal(t, "interval '1800 seconds'", interval(Window))
	require.Equal(t, "interval '0.000001 seconds'", interval(time.Microsecond))
}
