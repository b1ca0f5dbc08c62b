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

// crowded finds those of the devices with more than one open session, from the partial index where there is one.
func crowded(devices string) string {
	return `
	select equipment_serial from aedpics.inspection_sessions
	where status in ('active', 'paused') and ` + devices + `
	group by equipment_serial having count(*) > 1
`
}

// S1 is the rule of sessions: at most one open session per device. It finds the devices first, and only then fetches what to show.
func S1() harness.Invariant {
	return harness.Invariant{
		Name: "S1",
		Says: "at most one open session per device",
		Size: "sessions", First: "first_started", Last: "last_started",
		SQL: openSessions(`true`),
	}
}

// openSessions returns S1's query for some devices.
func openSessions(devices string) string {
	return `
with crowded as (` + crowded(devices) + `)
select s.equipment_serial,
	count(*) as sessions,
	string_agg(s.id::text, ', ' order by s.started_at, s.id) as ids,
	string_agg(s.status::text, ', ' order by s.started_at, s.id) as statuses,
	string_agg(coalesce(s.inspector_id::text, 'nobody'), ', ' order by s.started_at, s.id) as inspectors,
	min(s.started_at) as first_started,
	max(s.started_at) as last_started,
	max(s.last_accessed_at) as last_accessed
from crowded join aedpics.inspection_sessions s using (equipment_serial)
where s.status in ('active', 'paused')
group by s.equipment_serial
order by s.equipment_serial collate "C"`
}

// S2 is the rule of schedules: no two of one device, neither of them cancelled, less than the window apart. It returns groups: visits that are
// connected by ones that are too close, so a chain of three is one group, although its ends may be far enough apart.
func S2(window time.Duration) harness.Invariant {
	return harness.Invariant{
		Name: "S2",
		Says: "no two visits to one device less than " + words(window) + " apart",
		Size: "schedules", First: "first_for", Last: "last_for",
		SQL: groupsOfVisits(window, `aed_data_id is not null`),
	}
}

// groupsOfVisits returns S2's query for some devices.
//
// Only the offending rows are fetched, one by one: offset 0 keeps the planner, which cannot know how few they are, from reading the table again for
// them.
func groupsOfVisits(window time.Duration, devices string) string {
	return `
with ` + closeVisits(window, devices) + `, groups as (
	select aed_data_id, scheduled_for, apart,
		count(*) filter (where apart is null) over (partition by aed_data_id order by scheduled_for) as number
	from close
)
select g.aed_data_id,
	min(s.equipment_serial) as equipment_serial,
	count(*) as schedules,
	string_agg(s.id::text, ', ' order by s.scheduled_for, s.id) as ids,
	string_agg(s.status::text, ', ' order by s.scheduled_for, s.id) as statuses,
	string_agg(s.scheduled_for::text, ', ' order by s.scheduled_for, s.id) as times,
	case when count(*) > count(distinct s.scheduled_for) then interval '0' else min(g.apart) end as closest,
	min(s.scheduled_for) as first_for,
	max(s.scheduled_for) as last_for
from groups g
cross join lateral (
	select id, status, equipment_serial, scheduled_for from aedpics.inspection_schedules
	where aed_data_id = g.aed_data_id and scheduled_for = g.scheduled_for and status <> 'cancelled' offset 0) s
group by g.aed_data_id, g.number
order by g.aed_data_id, g.number`
}

// closeVisits is a list of the times of a device's visits that are too close to another one: close (aed_data_id, scheduled_for, apart), each time
// once. What lies between it and the time before is in apart, which is null where that one is far enough away, and a group begins.
//
// Comparing neighbours is enough: if any two are too close, so are two neighbours between them. The search is one pass in the order of
// idx_inspection_schedules_active, which holds all it needs. NULL and the infinities conflict with nothing. They are left out by comparing, since
// isfinite() hides from the planner that it is true of nearly every row. The window is added to the earlier time and not compared with a
// difference: times may be 300,000 years apart, which overflows an interval, and infinity − infinity is an error before Postgres 17.
func closeVisits(window time.Duration, devices string) string {
	return `spaced as (
	select aed_data_id, scheduled_for, lag(scheduled_for) over nearby as previous, lead(scheduled_for) over nearby as following
	from aedpics.inspection_schedules
	where status <> 'cancelled' and ` + devices + ` and scheduled_for > '-infinity' and scheduled_for < 'infinity'
	window nearby as (partition by aed_data_id order by scheduled_for)
), close as materialized (
	select aed_data_id, scheduled_for,
		max(scheduled_for - previous) filter (where previous < scheduled_for and scheduled_for < previous + ` + interval(window) + `) as apart
	from spaced
	where scheduled_for < previous + ` + interval(window) + ` or following < scheduled_for + ` + interval(window) + `
	group by aed_data_id, scheduled_for
)`
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
