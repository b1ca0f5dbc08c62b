package scenarios

import (
	"fmt"
	"strconv"
	"time"

	"github.com/interlock-pg/interlock/harness"
)

// SessionInvariants returns what must hold of sessions: S1, and S3 to S6 as they apply to them.
func SessionInvariants() []harness.Invariant {
	return []harness.Invariant{S1(), s3(), s4(), s5Sessions(), s6Sessions()}
}

// ScheduleInvariants returns what must hold of schedules: S2, and S3 to S6 as they apply to them.
func ScheduleInvariants(window time.Duration) []harness.Invariant {
	return []harness.Invariant{S2(window), s3(), s4(), s5Schedules(), s6Schedules(window)}
}

// StateInvariants returns the invariants that need nothing but the tables, S1 and S2.
func StateInvariants(window time.Duration) []harness.Invariant {
	return []harness.Invariant{S1(), S2(window)}
}

// S1 is the rule of sessions: at most one open session per device. It finds the devices first, from the partial index where there is one, and
// only then fetches what to show.
func S1() harness.Invariant {
	return harness.Invariant{
		Name: "S1",
		Says: "at most one open session per device",
		SQL: `
with crowded as (
	select equipment_serial from aedpics.inspection_sessions where status in ('active', 'paused') group by equipment_serial having count(*) > 1
)
select s.equipment_serial,
	count(*) as sessions,
	string_agg(s.id::text, ', ' order by s.started_at, s.id) as ids,
	string_agg(s.status::text, ', ' order by s.started_at, s.id) as statuses,
	string_agg(s.inspector_id::text, ', ' order by s.started_at, s.id) as inspectors,
	min(s.started_at) as first_started,
	max(s.started_at) as last_started
from crowded join aedpics.inspection_sessions s using (equipment_serial)
where s.status in ('active', 'paused')
group by s.equipment_serial
order by s.equipment_serial collate "C"`,
	}
}

// S2 is the rule of schedules: no two of one device, neither of them cancelled, less than the window apart.
//
// Comparing neighbours is enough: if any two are too close, so are two neighbours between them. The search is one pass in the order of
// idx_inspection_schedules_active, which holds all it needs; only then are the offending pairs fetched, one by one (offset 0 keeps the planner,
// which cannot know how few they are, from reading the table again for them). NULL and the infinities conflict with nothing. They are left out
// by comparing, since isfinite() hides from the planner that it is true of nearly every row. The window is added to the earlier time and not
// compared with a difference: times may be 300,000 years apart, which overflows an interval, and infinity − infinity is an error before
// Postgres 17.
func S2(window time.Duration) harness.Invariant {
	return harness.Invariant{
		Name: "S2",
		Says: "no two visits to one device less than " + words(window) + " apart",
		SQL: `
with spaced as (
	select aed_data_id, scheduled_for, lag(scheduled_for) over (partition by aed_data_id order by scheduled_for) as previous
	from aedpics.inspection_schedules
	where status <> 'cancelled' and aed_data_id is not null and scheduled_for > '-infinity' and scheduled_for < 'infinity'
), close as materialized (
	select distinct aed_data_id, previous, scheduled_for from spaced where scheduled_for < previous + ` + interval(window) + `
)
select c.aed_data_id,
	b.equipment_serial,
	c.scheduled_for - c.previous as apart,
	c.previous as first_for,
	c.scheduled_for as second_for,
	a.id as first_id,
	b.id as second_id,
	a.status as first_status,
	b.status as second_status
from close c
cross join lateral (
	select id, status from aedpics.inspection_schedules
	where aed_data_id = c.aed_data_id and scheduled_for = c.previous and status <> 'cancelled' offset 0) a
cross join lateral (
	select id, status, equipment_serial from aedpics.inspection_schedules
	where aed_data_id = c.aed_data_id and scheduled_for = c.scheduled_for and status <> 'cancelled' offset 0) b
where c.previous < c.scheduled_for or a.id < b.id
order by c.aed_data_id, c.previous, c.scheduled_for, a.id, b.id`,
	}
}

func s3() harness.Invariant {
	return harness.Invariant{
		Name:     "S3",
		Says:     "a refused request is told conflict, never failed",
		Outcomes: true,
		SQL: `
select client, number, kind, subject, sqlstate, message
from interlock_outcomes
where outcome = 'failed'
order by invoked, client, number`,
	}
}

// s4 lets a slot without a winner pass when a contender's answer was lost: that one may have won.
func s4() harness.Invariant {
	return harness.Invariant{
		Name:     "S4",
		Says:     "of those who contend for one free slot, exactly one is told created",
		Outcomes: true,
		SQL: `
select slot,
	count(*) filter (where outcome = 'created') as created,
	count(*) as contenders,
	string_agg(client || '#' || number || ': ' || outcome, ', ' order by invoked, client, number) as told
from interlock_outcomes
where slot is not null
group by slot
having count(*) filter (where outcome = 'created') > 1
	or count(*) filter (where outcome = 'created') = 0 and count(*) filter (where outcome = 'unknown') = 0
order by slot collate "C"`,
	}
}

// interval returns a duration as an SQL literal, exact to the microsecond.
func interval(d time.Duration) string {
	return fmt.Sprintf("interval '%s seconds'", strconv.FormatFloat(d.Seconds(), 'f', -1, 64))
}

// words returns a duration as people say it, as "30 minutes".
func words(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return d.String()
}
