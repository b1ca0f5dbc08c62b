package scenarios

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/interlock-pg/interlock/harness/repair"
)

// Keep says which of several open sessions of a device is kept.
type Keep string

// What may be kept. Where two are equal, the one that was started later is, and then the one with the higher id.
const (
	KeepNewest       Keep = "newest"        // the one that was started last
	KeepOldest       Keep = "oldest"        // the one that was started first
	KeepMostProgress Keep = "most-progress" // the one at the highest step
	KeepLastAccessed Keep = "last-accessed" // the one that somebody used last
)

// Keeps returns all of them, the default first.
func Keeps() []Keep { return []Keep{KeepNewest, KeepOldest, KeepMostProgress, KeepLastAccessed} }

// RepairRules says how what breaks S1 and S2 is resolved. Of sessions, one of a device is kept and the other open ones are cancelled. Of visits that
// are too close, the one that was planned first stays, and then each that is far enough from those that stay; completed ones always do.
func RepairRules(window time.Duration, keep Keep) []repair.Rule {
	return []repair.Rule{sessionRepair(keep), scheduleRepair(window)}
}

// Times are facts as microseconds since 2000; null is no time, or an infinite one.
func microseconds(column string) string {
	return `(case when isfinite(` + column + `) then (extract(epoch from ` + column + `) - 946684800) * 1000000 end)::bigint`
}

// sessionRow are the columns of a session that a repair reads.
var sessionRow = `s.equipment_serial, s.id::text, to_jsonb(s)::text, jsonb_build_object('status', s.status, 'step', s.current_step,
	'started', ` + microseconds(`s.started_at`) + `, 'accessed', ` + microseconds(`s.last_accessed_at`) + `,
	'says', concat(s.status, ', by ', s.inspector_id, ', started ', s.started_at, ', step ', s.current_step, ', last used ', s.last_accessed_at))::text`

func sessionRepair(keep Keep) repair.Rule {
	return repair.Rule{
		Invariant: "S1",
		Table:     "aedpics.inspection_sessions",
		Find: `
with crowded as (` + crowded(`true`) + `)
select ` + sessionRow + `
from crowded join aedpics.inspection_sessions s using (equipment_serial)
where s.status in ('active', 'paused')
order by s.equipment_serial collate "C", s.id`,
		Lock: `select from aedpics.aed_data where equipment_serial = any ($1::text[]) order by id for update`,
		Read: `
select ` + sessionRow + `
from aedpics.inspection_sessions s
where s.equipment_serial = any ($1::text[]) and s.status in ('active', 'paused')
order by s.id
for update`,
		Set:     `status = 'cancelled', cancelled_at = now(), updated_at = now(), notes = concat_ws(E'\n', nullif(t.notes, ''), change.note)`,
		Resolve: func(rows []repair.Row) ([]repair.Group, error) { return resolveSessions(rows, keep) },
	}
}

type sessionFacts struct {
	Status   string
	Step     int
	Started  int64
	Accessed int64
	Says     string
}

// resolveSessions keeps one of the open sessions of a device.
func resolveSessions(rows []repair.Row, keep Keep) ([]repair.Group, error) {
	if len(rows) < 2 {
		return nil, nil
	}
	facts, err := factsOf(rows, func(f sessionFacts) string { return f.Says })
	if err != nil {
		return nil, err
	}
	best := slices.MaxFunc(rows, func(x, y repair.Row) int {
		a, b := facts[x.ID], facts[y.ID]
		first := 0
		switch keep {
		case KeepOldest:
			first = cmp.Compare(b.Started, a.Started)
		case KeepMostProgress:
			first = cmp.Compare(a.Step, b.Step)
		case KeepLastAccessed:
			first = cmp.Compare(a.Accessed, b.Accessed)
		}
		return cmp.Or(first, cmp.Compare(a.Started, b.Started), cmp.Compare(x.ID, y.ID))
	})
	group := repair.Group{Keep: []repair.Row{best}}
	for _, row := range rows {
		if row.ID != best.ID {
			row.Note = "session " + best.ID + " of the same device is kept"
			group.Cancel = append(group.Cancel, row)
		}
	}
	return []repair.Group{group}, nil
}

// scheduleRow are the columns of a visit that a repair reads.
var scheduleRow = `s.aed_data_id::text, s.id::text, to_jsonb(s)::text, jsonb_build_object('status', s.status, 'at', ` + microseconds(`s.scheduled_for`) + `,
	'created', ` + microseconds(`s.created_at`) + `, 'says', concat(s.status, ', for ', s.scheduled_for, ', planned ', s.created_at))::text`

func scheduleRepair(window time.Duration) repair.Rule {
	return repair.Rule{
		Invariant: "S2",
		Table:     "aedpics.inspection_schedules",
		Find: `
with ` + closeVisits(window, `aed_data_id is not null`) + `
select ` + scheduleRow + `
from close c
cross join lateral (
	select * from aedpics.inspection_schedules
	where aed_data_id = c.aed_data_id and scheduled_for = c.scheduled_for and status <> 'cancelled' offset 0) s
order by s.aed_data_id, s.id`,
		Lock: `select from aedpics.aed_data where id = any ($1::text[]::integer[]) order by id for update`,
		Read: `
with ` + closeVisits(window, `aed_data_id = any ($1::text[]::integer[])`) + `
select ` + scheduleRow + `
from aedpics.inspection_schedules s
where s.aed_data_id = any ($1::text[]::integer[]) and s.status <> 'cancelled' and (s.aed_data_id, s.scheduled_for) in (select aed_data_id, scheduled_for from close)
order by s.id
for update`,
		Set:     `status = 'cancelled', updated_at = now(), notes = concat_ws(E'\n', nullif(t.notes, ''), change.note)`,
		Resolve: func(rows []repair.Row) ([]repair.Group, error) { return resolveSchedules(rows, window) },
	}
}

type scheduleFacts struct {
	Status  string
	At      *int64
	Created int64
	Says    string
}

func (f scheduleFacts) completed() bool { return f.Status == "completed" }

// resolveSchedules puts visits to a device into groups, each connected by visits that are too close, and decides on each group by itself.
func resolveSchedules(rows []repair.Row, window time.Duration) ([]repair.Group, error) {
	facts, err := factsOf(rows, func(f scheduleFacts) string { return f.Says })
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(slices.Clone(rows), func(row repair.Row) bool { return facts[row.ID].At == nil })
	slices.SortFunc(rows, func(x, y repair.Row) int {
		return cmp.Or(cmp.Compare(*facts[x.ID].At, *facts[y.ID].At), cmp.Compare(x.ID, y.ID))
	})
	tooClose := func(x, y repair.Row) bool {
		a, b := *facts[x.ID].At, *facts[y.ID].At
		return max(a, b)-min(a, b) < window.Microseconds()
	}
	var groups []repair.Group
	for len(rows) > 0 {
		end := 1
		for end < len(rows) && tooClose(rows[end-1], rows[end]) {
			end++
		}
		if end > 1 {
			groups = append(groups, resolveVisits(rows[:end], facts, tooClose))
		}
		rows = rows[end:]
	}
	return groups, nil
}

func resolveVisits(rows []repair.Row, facts map[string]scheduleFacts, tooClose func(x, y repair.Row) bool) repair.Group {
	first := slices.Clone(rows)
	slices.SortFunc(first, func(x, y repair.Row) int {
		a, b := facts[x.ID], facts[y.ID]
		if a.completed() != b.completed() {
			if a.completed() {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(x.ID, y.ID))
	})
	var group repair.Group
	for _, row := range first {
		in := slices.IndexFunc(group.Keep, func(kept repair.Row) bool { return tooClose(row, kept) })
		switch {
		case in < 0:
			group.Keep = append(group.Keep, row)
		case facts[row.ID].completed():
			group.Why = fmt.Sprintf("visits %s and %s are both completed, and history is not touched; try moving one of them by hand", group.Keep[in].ID, row.ID)
			group.Keep = append(group.Keep, row)
		default:
			row.Note = "visit " + group.Keep[in].ID + " to the same device is too close, and is kept"
			group.Cancel = append(group.Cancel, row)
		}
	}
	return group
}

// factsOf reads what is known of rows, by id, and fills in what they are for people.
func factsOf[F any](rows []repair.Row, says func(F) string) (map[string]F, error) {
	facts := make(map[string]F, len(rows))
	for i, row := range rows {
		var f F
		if err := json.Unmarshal(row.Facts, &f); err != nil {
			return nil, fmt.Errorf("reading row %s: %w", row.ID, err)
		}
		facts[row.ID] = f
		rows[i].Says = says(f)
	}
	return facts, nil
}
