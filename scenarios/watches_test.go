package scenarios

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/prop"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// written is one write to the tables that are watched, whatever they hold.
type written struct {
	Sessions bool // or schedules
	Delete   bool // of the row, where it is there; else it is inserted or updated
	Row      int
	Device   int // -1: none, of a schedule
	Status   string
	At       When
}

// writing is a series of writes to some devices.
type writing struct {
	Devices []string
	Base    string
	Zone    string
	Writes  []written
}

const writtenRows = 8 // of each table

// writings generates series of writes that often break the invariants.
func writings(most int) gopter.Gen {
	return generator(func(d dice) writing {
		in := writing{Devices: d.devices(), Base: d.base(Window), Zone: d.timeZone()}
		for range d.between(1, most) {
			w := written{Sessions: d.percent(50), Delete: d.percent(10), Row: d.between(1, writtenRows), Device: d.between(0, len(in.Devices)-1)}
			if w.Sessions {
				w.Status = oneOf(d, "active", "active", "paused", "paused", "in_progress", "completed", "cancelled")
			} else {
				w.Status, w.At = oneOf(d, "scheduled", "scheduled", "in_progress", "completed", "cancelled"), d.when(Window)
				if d.percent(noDevice) {
					w.Device = -1
				}
			}
			in.Writes = append(in.Writes, w)
		}
		return in
	}, func(in writing) gopter.Shrink {
		i := -1
		return func() (any, bool) {
			if i++; i >= len(in.Writes) || len(in.Writes) == 1 {
				return nil, false
			}
			less := in
			less.Writes = slices.Delete(slices.Clone(in.Writes), i, i+1)
			return less, true
		}
	})
}

// begin leaves the devices, and nothing else.
func (in writing) begin(b bench) {
	b.exec(`truncate aedpics.aed_data, aedpics.user_profiles, aedpics.inspection_sessions, aedpics.inspection_schedules, aedpics.inspections`)
	b.exec(`insert into aedpics.user_profiles (id) values ($1)`, userID(0))
	for i, serial := range in.Devices {
		b.exec(`insert into aedpics.aed_data (id, equipment_serial) values ($1, $2)`, deviceID(i), serial)
	}
	b.exec(`select set_config('timezone', $1, false)`, in.Zone)
}

func (in writing) write(b bench, w written) {
	table := map[bool]string{true: "aedpics.inspection_sessions", false: "aedpics.inspection_schedules"}[w.Sessions]
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", w.Row)
	b.exec(`delete from `+table+` where id = $1 and $2`, id, w.Delete)
	switch {
	case w.Delete:
	case w.Sessions:
		b.exec(`insert into aedpics.inspection_sessions as s (id, equipment_serial, inspector_id, status) values ($1, $2, $3, $4)
			on conflict (id) do update set status = excluded.status, equipment_serial = excluded.equipment_serial, updated_at = now()`,
			id, in.Devices[w.Device], userID(0), w.Status)
	default:
		serial := ""
		if w.Device >= 0 {
			serial = in.Devices[w.Device]
		}
		b.exec(`insert into aedpics.inspection_schedules as s (id, aed_data_id, equipment_serial, scheduled_for, status) values ($1, $2, $3, $4, $5)
			on conflict (id) do update set aed_data_id = excluded.aed_data_id, equipment_serial = excluded.equipment_serial,
				scheduled_for = excluded.scheduled_for, status = excluded.status, updated_at = now()`,
			id, scheduleDevice(w.Device), serial, w.At.value(in.Base, 0), w.Status)
	}
}

// watched are the groups of a watch's query, as text.
func (b bench) watched(sql string, args ...any) (groups [][]string) {
	rows, err := b.conn.Query(b.ctx, sql, args...)
	require.NoError(b, err)
	groups, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]string, error) {
		var key, facts string
		var members int64
		err := row.Scan(&key, &members, nil, nil, &facts)
		return []string{key, fmt.Sprint(members), facts}, err
	})
	require.NoError(b, err)
	return groups
}

// summed are the groups of a watch and what an invariant finds, both as their device, how many they are, which, in which states, and when.
func (b bench) summed(w monitor.Watch, inv harness.Invariant) (watched, found []string) {
	rows, err := b.conn.Query(b.ctx, w.All)
	require.NoError(b, err)
	watched, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var key string
		var members int
		var first, last *time.Time
		var facts struct {
			IDs, Statuses []string
			AedDataID     int `json:"aed_data_id"`
			Closest       string
			Schedules     []struct {
				ID, Status   string
				ScheduledFor time.Time `json:"scheduled_for"`
			}
		}
		if err := row.Scan(&key, &members, &first, &last, &facts); err != nil {
			return "", err
		}
		device := key
		for i, s := range facts.Schedules {
			device = fmt.Sprint(facts.AedDataID)
			facts.IDs, facts.Statuses = append(facts.IDs, s.ID), append(facts.Statuses, s.Status)
			if i == 0 {
				require.Equal(b, key, device+"@"+s.ScheduledFor.Format("2006-01-02T15:04:05.999999Z"))
			}
		}
		return fmt.Sprint(device, " ", members, facts.IDs, facts.Statuses, first.UTC(), last.UTC(), facts.Closest), nil
	})
	require.NoError(b, err)

	rows, err = b.conn.Query(b.ctx, `select *, to_jsonb(s) ->> 'closest' as closest from (`+inv.SQL+`) s`)
	require.NoError(b, err)
	maps, err := pgx.CollectRows(rows, pgx.RowToMap)
	require.NoError(b, err)
	for _, m := range maps {
		device, members, closest := m["equipment_serial"], m["sessions"], ""
		if id, is := m["aed_data_id"]; is {
			device, members, closest = fmt.Sprint(id), m["schedules"], m["closest"].(string)
		}
		at := map[string]time.Time{}
		for _, name := range []string{inv.First, inv.Last} {
			at[name] = m[name].(time.Time).UTC()
		}
		found = append(found, fmt.Sprint(device, " ", members, strings.Split(m["ids"].(string), ", "), strings.Split(m["statuses"].(string), ", "),
			at[inv.First], at[inv.Last], closest))
	}
	slices.Sort(watched)
	slices.Sort(found)
	return watched, found
}

// holds looks for a counterexample, and tells it.
func holds(t *testing.T, runs int, inputs gopter.Gen, property func(writing) (string, error)) {
	t.Helper()
	parameters := gopter.DefaultTestParametersWithSeed(7341)
	parameters.MinSuccessfulTests = runs
	result := prop.ForAll(property, inputs).Check(parameters)
	require.True(t, result.Passed(), "%s %v %+v", result.Status, result.Error, result.Args)
}

// What is watched is what the invariants are about: nothing else, and nothing less, whatever the session's time zone.
func TestWatchesAreTheInvariants(t *testing.T) {
	b := setup(t, 1)
	watches, invariants := Watches(0), StateInvariants(Window)
	groups := map[string]int{}
	holds(t, 150, writings(16), func(in writing) (string, error) {
		in.begin(b)
		for _, w := range in.Writes {
			in.write(b, w)
		}
		for i, w := range watches {
			require.Equal(t, invariants[i].Name, w.Invariant)
			watched, found := b.summed(w, invariants[i])
			if !slices.Equal(watched, found) {
				return fmt.Sprintf("%s: watched\n%q\nfound\n%q", w.Name, watched, found), nil
			}
			groups[w.Name] += len(watched)

			all := b.watched(w.All)
			keys := []string{}
			for _, g := range all {
				keys = append(keys, g[0])
			}
			unique := slices.Compact(slices.Sorted(slices.Values(keys)))
			if !slices.Equal(keys, unique) {
				return fmt.Sprintf("%s: keys %q are not in order, or not unique", w.Name, keys), nil
			}
			if some := b.watched(w.Some, keys); !slices.EqualFunc(all, some, slices.Equal) {
				return fmt.Sprintf("%s: some\n%q\nall\n%q", w.Name, some, all), nil
			}
			if none := b.watched(w.Some, []string{}); len(none) > 0 {
				return fmt.Sprintf("%s: of no keys: %q", w.Name, none), nil
			}
		}
		return "", nil
	})
	for _, w := range watches {
		require.Greater(t, groups[w.Name], 50, "%s was put to the test", w.Name)
	}
}

// ticking is a clock in whose time everything takes a second, so that looks at everything take too long to be made each time.
func ticking() func() time.Time {
	var mu sync.Mutex
	at := time.Date(2025, 11, 10, 10, 0, 0, 0, time.UTC)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		at = at.Add(time.Second)
		return at
	}
}

// Looks in part come to the same as one at everything: at once, where an index on updated_at tells what was written, and otherwise when they have been
// through all devices.
func TestLooksInPart(t *testing.T) {
	servertest.Slow(t)
	b := setup(t, 1)
	for _, indexed := range []bool{false, true} {
		t.Run(fmt.Sprintf("index %v", indexed), func(t *testing.T) {
			if indexed {
				b.exec(`create index on aedpics.inspection_sessions (updated_at); create index on aedpics.inspection_schedules (updated_at)`)
			}
			broke, healed := 0, 0
			holds(t, 15, writings(12), func(in writing) (string, error) {
				in.begin(b)
				database := b.db.Config("monitor")
				database.RuntimeParams["enable_seqscan"] = "off" // the tables are too small for an index to be worth it
				m, err := monitor.Open(monitor.Config{Database: database, Watches: Watches(0), Now: ticking(), Share: 0.0001, Full: 1000 * time.Hour})
				require.NoError(t, err)
				defer m.Close()
				changes, _ := m.Changes()
				look := func(name string) monitor.Result {
					r, err := m.Result(b.ctx, name, 0)
					require.NoError(t, err)
					require.NotEqual(t, history.Unknown, r.Verdict, r.Why)
					for len(changes) > 0 {
						c := <-changes
						broke, healed = broke+len(c.Broke), healed+len(c.Healed)
					}
					return r
				}
				agree := func(w monitor.Watch) string {
					r := look(w.Name)
					if !r.Partial {
						return "not in part"
					}
					var keys, all []string
					for _, g := range r.Groups {
						keys = append(keys, g.Key+string(g.Facts))
					}
					b.exec(`set timezone = 'UTC'`)
					for _, g := range b.watched(w.All) {
						all = append(all, g[0]+g[2])
					}
					b.exec(`select set_config('timezone', $1, false)`, in.Zone)
					if !slices.Equal(keys, all) || r.Total != len(all) {
						return fmt.Sprintf("%s: in part\n%q\nall\n%q", w.Name, keys, all)
					}
					return ""
				}
				for _, w := range m.Watches() {
					if r := look(w.Name); r.Partial || r.Verdict != history.Held {
						return fmt.Sprintf("first of all: %+v", r), nil
					}
				}
				for _, write := range in.Writes {
					in.write(b, write)
					for _, w := range m.Watches() {
						if !indexed {
							look(w.Name)
						} else if wrong := agree(w); wrong != "" {
							return wrong, nil
						}
					}
				}
				for _, w := range m.Watches() {
					look(w.Name) // the rest of a pass
					if wrong := agree(w); wrong != "" {
						return wrong, nil
					}
				}
				return "", nil
			})
			require.Positive(t, broke)
			require.Positive(t, healed)
		})
	}
}

// One slice after another comes by every device, whatever it is called.
func TestSlicesComeByAllDevices(t *testing.T) {
	b := setup(t, 1)
	const devices = 200 // more than the first slice has
	b.clear()
	b.exec(`delete from aedpics.aed_data`)
	b.exec(`insert into aedpics.aed_data (id, equipment_serial)
		select n, (array['AED-', 'aed-', 'Aed', '서울-', '가나다', 'ß', ''])[n % 7 + 1] || n from generate_series(1, $1::int) n`, devices)
	for _, w := range Watches(0) {
		for _, limit := range []int{1, 7, devices, devices + 1} {
			seen := map[string]bool{}
			var after *string
			for {
				rows, err := b.conn.Query(b.ctx, w.Next, after, limit)
				require.NoError(t, err)
				keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
				require.NoError(t, err)
				for _, key := range keys {
					require.False(t, seen[key], "%s: %s comes twice", w.Name, key)
					seen[key] = true
				}
				if len(keys) < limit {
					break
				}
				after = &keys[limit-1]
			}
			require.Len(t, seen, devices, w.Name)
		}
	}

	m, err := monitor.Open(monitor.Config{Database: b.db.Config("monitor"), Watches: Watches(0), Now: ticking(), Share: 0.0001})
	require.NoError(t, err)
	defer m.Close()
	look := func(name string) monitor.Result {
		r, err := m.Result(b.ctx, name, 0)
		require.NoError(t, err)
		require.NotEqual(t, history.Unknown, r.Verdict, r.Why)
		return r
	}
	for _, w := range m.Watches() {
		require.False(t, look(w.Name).Partial)
	}
	b.exec(`insert into aedpics.inspection_sessions (equipment_serial, inspector_id, status)
		select equipment_serial, $1, 'active' from aedpics.aed_data, generate_series(1, 2)`, userID(0))
	b.exec(`insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for, status)
		select id, equipment_serial, timestamptz '2025-11-10 10:00Z' + n * interval '1 minute', 'scheduled' from aedpics.aed_data, generate_series(1, 2) n`)
	for _, w := range m.Watches() {
		total := 0
		for range devices { // each look comes by one at least
			r := look(w.Name)
			require.True(t, r.Partial)
			require.GreaterOrEqual(t, r.Total, total)
			if total = r.Total; total == devices {
				break
			}
		}
		require.Equal(t, devices, total, w.Name)
	}
}

// Who owns which session is told where one has no owner, too.
func TestNobodysSession(t *testing.T) {
	b := setup(t, 1)
	b.clear(session(new1, "AED-1", "active"), session(new2, "AED-1", "paused"))
	b.exec(`alter table aedpics.inspection_sessions alter inspector_id drop not null`)
	b.exec(`update aedpics.inspection_sessions set inspector_id = null where id = $1`, new1)
	b.exec(`update aedpics.inspection_sessions set started_at = timestamptz '2025-11-10 08:00Z'`)
	groups := b.watched(Watches(0)[0].All)
	require.Len(t, groups, 1)
	var facts struct {
		IDs    []string
		Owners []*string
	}
	require.NoError(t, json.Unmarshal([]byte(groups[0][2]), &facts))
	owner := userID(0)
	require.Equal(t, map[string]*string{new1: nil, new2: &owner}, map[string]*string{facts.IDs[0]: facts.Owners[0], facts.IDs[1]: facts.Owners[1]})
}

func TestWatchedFacts(t *testing.T) {
	b := setup(t, 1)
	b.clear(session(new1, "AED-1", "active"), session(new2, "AED-1", "paused"),
		schedule(visit1, "1", "timestamptz '2025-11-10 10:00Z'", "scheduled"), schedule(visit2, "1", "timestamptz '2025-11-10 10:20:00.5Z'", "completed"))
	b.exec(`update aedpics.inspection_sessions set last_accessed_at = '2025-11-10 09:00Z', started_at = case id::text when '` + new1 + `' then timestamptz '2025-11-10 08:00Z' else 'infinity' end`)
	b.exec(`set timezone = 'Asia/Seoul'`)
	m, err := monitor.Open(monitor.Config{Database: b.db.Config("monitor"), Watches: Watches(0), Indexes: Indexes(0)})
	require.NoError(t, err)
	defer m.Close()
	for name, want := range map[string]struct{ key, facts, first, last string }{
		"duplicate-sessions": {"AED-1", `{"device": "AED-1", "ids": ["` + new1 + `", "` + new2 + `"], "statuses": ["active", "paused"], "owners": ["` + userID(0) + `", "` + userID(0) + `"],
			"last_accessed_at": "2025-11-10T09:00:00Z"}`, "2025-11-10T08:00:00Z", ""},
		"duplicate-schedules": {"1@2025-11-10T10:00:00Z", `{"aed_data_id": 1, "device": "", "window": "00:30:00", "closest": "00:20:00.5", "schedules": [
			{"id": "` + visit1 + `", "status": "scheduled", "scheduled_for": "2025-11-10T10:00:00Z"},
			{"id": "` + visit2 + `", "status": "completed", "scheduled_for": "2025-11-10T10:20:00.5Z"}]}`, "2025-11-10T10:00:00Z", "2025-11-10T10:20:00.5Z"},
	} {
		r, err := m.Result(b.ctx, name, 0)
		require.NoError(t, err)
		require.Equal(t, history.Violated, r.Verdict, r.Why)
		require.Len(t, r.Groups, 1)
		g := r.Groups[0]
		require.Equal(t, want.key, g.Key)
		require.Equal(t, 2, g.Members)
		require.JSONEq(t, want.facts, string(g.Facts))
		require.Equal(t, want.first, g.First.Format(time.RFC3339Nano))
		if want.last == "" {
			require.Nil(t, g.Last, "it is infinite")
		} else {
			require.Equal(t, want.last, g.Last.Format(time.RFC3339Nano))
		}
		_, err = json.Marshal(r)
		require.NoError(t, err)
	}
	indexes, _, err := m.Indexes(b.ctx, 0)
	require.NoError(t, err)
	require.Len(t, indexes, len(Indexes(0)))
	for _, in := range indexes {
		require.Equal(t, "missing", in.Why)
	}
}
