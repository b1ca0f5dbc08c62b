package scenarios

import (
	"time"

	"github.com/interlock-pg/interlock/harness"
)

// This file holds the invariants that compare the tables with what the clients were told.
//
// About time they assume only that an operation took effect between its invocation and its return, and they give the benefit of the doubt: what
// overlapped may have come in either order. So a defence that works is never accused.
//
// S5 is asked of a million answers too. Each of its parts is a join on equality, which Postgres hashes: no "or", and no "is distinct from", between
// the two sides. S6 compares each refusal with all that may have been in its way, which grows with the square, so it is for races only.

// s5Sessions: an unacknowledged session is excused by a creation on its device whose answer was lost.
func s5Sessions() harness.Invariant {
	return harness.Invariant{
		Name:     "S5",
		Says:     "what was acknowledged is there, and what is there was acknowledged",
		Outcomes: true,
		SQL: `
select problem, row_id, client, number, kind, status from (
	select 'acknowledged, but not there' as problem, o.row_id, o.client, o.number, o.kind, null as status
	from interlock_outcomes o
	where o.kind = 'create session' and o.outcome in ('created', 'resumed')
		and not exists (select from aedpics.inspection_sessions s where s.id::text = o.row_id)
	union all
	select 'there, but not acknowledged', s.id::text, null, null, null, s.status::text
	from aedpics.inspection_sessions s
	where s.id::text not like '` + startSessions + `%'
		and not exists (select from interlock_outcomes o where o.kind = 'create session' and o.outcome = 'created' and o.row_id = s.id::text)
		and not exists (select from interlock_outcomes o where o.kind = 'create session' and o.outcome = 'unknown' and o.subject = s.equipment_serial)
	union all
	select 'acknowledged, but undone', o.row_id, o.client, o.number, o.kind, s.status::text
	from interlock_outcomes o join aedpics.inspection_sessions s on s.id::text = o.row_id
	where o.outcome = 'done'
		and (o.kind = 'complete session' and s.status <> 'completed' or o.kind = 'cancel session' and s.status <> 'cancelled')
	union all
	select 'completed, with ' || count(i.id) || ' inspections', o.row_id, min(o.client), min(o.number), o.kind, null
	from interlock_outcomes o left join aedpics.inspections i on i.session_id::text = o.row_id
	where o.outcome = 'done' and o.kind = 'complete session'
	group by o.row_id, o.kind, o.client, o.number
	having count(i.id) <> 1
) broken
order by problem, client, number, row_id`,
	}
}

// s5Schedules: the time of a visit must be one that it was acknowledged to have and that nothing acknowledged later replaced.
func s5Schedules() harness.Invariant {
	return harness.Invariant{
		Name:     "S5",
		Says:     "what was acknowledged is there, and what is there was acknowledged",
		Outcomes: true,
		SQL: `
with placed as (
	select o.*, (o.input->>'scheduled_for')::timestamptz as at
	from interlock_outcomes o
	where o.kind in ('create schedule', 'reschedule schedule') and o.outcome in ('created', 'done', 'unknown')
)
select problem, row_id, client, number, kind, status, scheduled_for from (
	select 'acknowledged, but not there' as problem, p.row_id, p.client, p.number, p.kind, null as status, null::timestamptz as scheduled_for
	from placed p
	where p.outcome <> 'unknown' and not exists (select from aedpics.inspection_schedules s where s.id::text = p.row_id)
	union all
	select 'there, but not acknowledged', s.id::text, null, null, null, s.status::text, s.scheduled_for
	from aedpics.inspection_schedules s
	where s.id::text not like '` + startSchedules + `%'
		and not exists (select from placed p where p.kind = 'create schedule' and p.outcome = 'created' and p.row_id = s.id::text)
		and not exists (select from placed p where p.kind = 'create schedule' and p.outcome = 'unknown' and coalesce(p.subject, '') = coalesce(s.aed_data_id::text, ''))
	union all
	select 'acknowledged, but undone', o.row_id, o.client, o.number, o.kind, s.status::text, s.scheduled_for
	from interlock_outcomes o join aedpics.inspection_schedules s on s.id::text = o.row_id
	where o.outcome = 'done' and o.kind = 'cancel schedule' and s.status <> 'cancelled'
	union all
	select 'acknowledged for another time', p.row_id, p.client, p.number, p.kind, s.status::text, s.scheduled_for
	from placed p join aedpics.inspection_schedules s on s.id::text = p.row_id
	where p.outcome <> 'unknown' and p.at is distinct from s.scheduled_for
		and not exists (select from placed q where q.row_id = p.row_id and q.at is not distinct from s.scheduled_for and q.returned > p.invoked)
) broken
order by problem, client, number, row_id`,
	}
}

// s6Sessions: a refusal needs a session that may have been open on the device at some moment of the request.
func s6Sessions() harness.Invariant {
	return harness.Invariant{
		Name:     "S6",
		Says:     "a request is refused only when something stood in its way",
		Outcomes: true,
		SQL: `
with opened as (
	select s.id::text as row_id, s.equipment_serial::text as subject, -1::bigint as invoked, -1::bigint as returned
	from aedpics.inspection_sessions s
	where s.id::text like '` + startSessions + `%' and s.notes in ('active', 'paused')
	union all
	select o.row_id, o.subject, o.invoked, o.returned
	from interlock_outcomes o
	where o.kind in ('create session', 'pause session', 'resume session') and o.outcome in ('created', 'resumed', 'done', 'unknown')
)
select r.client, r.number, r.kind, r.subject, r.sqlstate, r.invoked, r.returned
from interlock_outcomes r
where r.kind = 'create session' and r.outcome = 'conflict'
	and not exists (
		select from opened s
		where s.subject = r.subject and s.invoked <= r.returned
			and not exists (
				select from interlock_outcomes e
				where e.row_id = s.row_id and e.kind in ('complete session', 'cancel session') and e.outcome = 'done'
					and e.invoked >= s.returned and e.returned < r.invoked))
	and not ` + gaveUp + `
order by r.invoked, r.client, r.number`,
	}
}

// s6Schedules: a refusal needs another visit to the device that may have stood less than the window away at some moment of the request.
func s6Schedules(window time.Duration) harness.Invariant {
	return harness.Invariant{
		Name:     "S6",
		Says:     "a request is refused only when something stood in its way",
		Outcomes: true,
		SQL: `
with placed as (
	select s.id::text as row_id, s.aed_data_id::text as subject, s.notes::timestamptz as at, -1::bigint as invoked, -1::bigint as returned
	from aedpics.inspection_schedules s
	where s.id::text like '` + startSchedules + `%' and s.notes is not null
	union all
	select o.row_id, o.subject, (o.input->>'scheduled_for')::timestamptz, o.invoked, o.returned
	from interlock_outcomes o
	where o.kind in ('create schedule', 'reschedule schedule') and o.outcome in ('created', 'done', 'unknown')
), refused as (
	select o.*, (o.input->>'scheduled_for')::timestamptz as at
	from interlock_outcomes o
	where o.kind in ('create schedule', 'reschedule schedule') and o.outcome = 'conflict'
)
select r.client, r.number, r.kind, r.subject, r.at as asked_for, r.sqlstate, r.invoked, r.returned
from refused r
where not exists (
		select from placed s
		where s.subject = r.subject and s.row_id is distinct from r.row_id and s.invoked <= r.returned
			and isfinite(s.at) and isfinite(r.at) and s.at < r.at + ` + interval(window) + ` and s.at > r.at - ` + interval(window) + `
			and not exists (
				select from interlock_outcomes e
				where e.row_id = s.row_id and e.kind in ('cancel schedule', 'reschedule schedule') and e.outcome = 'done'
					and e.invoked >= s.returned and e.returned < r.invoked))
	and not ` + gaveUp + `
order by r.invoked, r.client, r.number`,
	}
}

// gaveUp excuses a refusal r that ran out of attempts: whatever ran beside it may have been in its way. SERIALIZABLE watches whole pages and
// tables, so that need not have been about the same device.
const gaveUp = `(coalesce(r.sqlstate, '') in ('40001', '40P01') and exists (
		select from interlock_outcomes o where o.client <> r.client and o.invoked <= r.returned and o.returned >= r.invoked))`
