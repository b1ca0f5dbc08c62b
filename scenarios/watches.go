package scenarios

import (
	"time"

	"github.com/interlock-pg/interlock/harness/monitor"
)

// Watches returns what is watched in a live database: duplicate sessions, which break S1, and duplicate schedules, which break S2. 0: [Window].
func Watches(window time.Duration) []monitor.Watch {
	return []monitor.Watch{watchSessions(), watchSchedules(Options{Window: window}.resolve().Window)}
}

// watchSessions has a group for each device, whose serial is its key.
//
// Its facts are ids, statuses and owners, lists in the order in which the sessions were started, and last_accessed_at, beside the device.
func watchSessions() monitor.Watch {
	groups := func(devices string) string {
		return `
select equipment_serial::text collate "C" as key, sessions, first_started, last_started, jsonb_build_object(
	'device', equipment_serial,
	'ids', string_to_array(ids, ', '),
	'statuses', string_to_array(statuses, ', '),
	'owners', string_to_array(inspectors, ', ', 'nobody'),
	'last_accessed_at', ` + rfc3339(`last_accessed`) + `) as facts
from (` + openSessions(devices) + `) s
order by key`
	}
	s1 := S1()
	return monitor.Watch{
		Invariant: s1.Name, Name: "duplicate-sessions", Says: s1.Says,
		All:     groups(`true`),
		Some:    groups(`equipment_serial = any ($1::text[])`),
		Changed: `select equipment_serial from aedpics.inspection_sessions where updated_at >= $1::timestamptz`,
		Next: `
select equipment_serial from aedpics.aed_data
where $1::text is null or equipment_serial > $1::text
order by equipment_serial
limit $2::bigint`,
	}
}

// watchSchedules has a group for each lot of visits to one device that are connected by ones that are too close: there may be several of a device. Its
// key is the device's id and the group's first time, as 17@2025-11-10T10:00:00Z.
//
// Its facts are device, aed_data_id, window and closest, as 00:30:00, and schedules, in order of time: each has id, status and scheduled_for.
func watchSchedules(window time.Duration) monitor.Watch {
	groups := func(devices string) string {
		return `
select (aed_data_id || '@' || ` + rfc3339(`first_for`) + `) collate "C" as key, schedules, first_for, last_for, jsonb_build_object(
	'device', equipment_serial,
	'aed_data_id', aed_data_id,
	'window', (` + interval(window) + `)::text,
	'closest', closest::text,
	'schedules', (
		select jsonb_agg(jsonb_build_object('id', id, 'status', status, 'scheduled_for', ` + rfc3339(`at`) + `) order by n)
		from unnest(string_to_array(ids, ', '), string_to_array(statuses, ', '), string_to_array(times, ', ')::timestamptz[])
			with ordinality t (id, status, at, n))) as facts
from (` + groupsOfVisits(window, devices) + `) s
order by key`
	}
	s2 := S2(window)
	return monitor.Watch{
		Invariant: s2.Name, Name: "duplicate-schedules", Says: s2.Says,
		All:  groups(`aed_data_id is not null`),
		Some: groups(`aed_data_id = any (array(select distinct split_part(k, '@', 1)::integer from unnest($1::text[]) k))`),
		Changed: `
select aed_data_id::text from aedpics.inspection_schedules where updated_at >= $1::timestamptz and aed_data_id is not null`,
		Next: `
select id::text from aedpics.aed_data
where $1::text is null or id > $1::text::integer
order by aed_data.id
limit $2::bigint`,
	}
}

// rfc3339 returns a time as text in UTC, whatever the session's time zone; null, where it is infinite.
func rfc3339(at string) string {
	return `(case when isfinite(` + at + `) then to_jsonb(` + at + ` at time zone 'UTC') #>> '{}' || 'Z' end)`
}
