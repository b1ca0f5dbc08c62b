package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
)

// memory is a source whose database is what a test says.
type memory struct {
	mu      sync.Mutex
	watches []monitor.Watch
	results map[string]monitor.Result
	indexes []history.Index
	at      time.Time // of indexes
	health  monitor.Health
	err     error // of indexes
	heard   map[chan monitor.Change]bool
	asked   []time.Duration // how fresh

	ofIndexes time.Duration // how fresh, the latest time
}

var start = time.Date(2026, 11, 10, 8, 0, 0, 0, time.UTC)

const (
	sessions  = "duplicate-sessions"
	schedules = "duplicate-schedules"
)

func newMemory() *memory {
	m := &memory{
		watches: []monitor.Watch{
			{Invariant: "S1", Name: sessions, Says: "at most one open session per device"},
			{Invariant: "S2", Name: schedules, Says: "no two visits to one device less than 30 minutes apart"},
		},
		results: map[string]monitor.Result{}, heard: map[chan monitor.Change]bool{},
		indexes: []history.Index{
			{
				Name: "idx_inspection_sessions_active_session_per_equipment", Table: "aedpics.inspection_sessions", Protects: "S1", Present: true, Valid: true,
				Enforcing: true, Scans: 12034, Read: 310, Fetched: 300, Bytes: 1_253_376,
			},
			{
				Name: "inspection_schedules_no_overlap_30min", Table: "aedpics.inspection_schedules", Protects: "S2",
				Why: "it is not there, so nothing keeps S2 from being broken",
			},
			{Name: "idx_inspection_schedules_active", Table: "aedpics.inspection_schedules", Present: true, Valid: true, Scans: 0, Bytes: 16384},
		},
		at: start, health: monitor.Health{Ready: true, Connected: true, Success: start},
	}
	m.set(sessions)
	m.set(schedules)
	return m
}

// set has a look come to these groups, and tells of the difference.
func (m *memory) set(name string, groups ...monitor.Group) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.results[name]
	r := monitor.Result{
		Watch: m.watches[slices.IndexFunc(m.watches, func(w monitor.Watch) bool { return w.Name == name })], Verdict: history.Held, Groups: groups,
		Checked: start.Add(time.Duration(old.Version) * time.Minute), Took: 14 * time.Millisecond, Version: old.Version + 1,
	}
	r.Tried, r.Whole, r.Changed = r.Checked, r.Checked, r.Checked
	if len(groups) > 0 {
		r.Verdict = history.Violated
	}
	for _, g := range groups {
		r.Total++
		r.Members += g.Members
	}
	m.results[name] = r
	m.health.Success = r.Checked
	without := func(from, those []monitor.Group) (left []monitor.Group) {
		for _, g := range from {
			if !slices.ContainsFunc(those, func(o monitor.Group) bool { return o.Key == g.Key }) {
				left = append(left, g)
			}
		}
		return left
	}
	for to := range m.heard {
		to <- monitor.Change{Result: r, Broke: without(groups, old.Groups), Healed: without(old.Groups, groups)}
	}
}

// fail has the next look at schedules not succeed.
func (m *memory) fail(why string) {
	m.change(schedules, func(r *monitor.Result) {
		r.Verdict, r.Why, r.Version = history.Unknown, why, r.Version+1
	})
}

// forget has no look have succeeded ever.
func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.results)
	m.indexes, m.at = nil, time.Time{}
	m.err = errors.New("postgres://monitor:hunter2secret@db/app is not reached")
	m.health = monitor.Health{Why: "the database is not reached: password=hunter2secret"}
}

// again has a look come to the same as the one before.
func (m *memory) again(name string, later time.Duration) {
	m.change(name, func(r *monitor.Result) { r.Checked = r.Checked.Add(later) })
}

func (m *memory) Watches() []monitor.Watch { return m.watches }

func (m *memory) Result(_ context.Context, name string, fresh time.Duration) (monitor.Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked[:len(m.asked):len(m.asked)], fresh)[max(0, len(m.asked)-10):]
	r, known := m.results[name]
	if !known {
		return r, errors.New("postgres://monitor:hunter2secret@db/app is not reached")
	}
	return r, nil
}

// change makes of a result what a test says.
func (m *memory) change(name string, to func(*monitor.Result)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.results[name]
	to(&r)
	m.results[name] = r
}

func (m *memory) Indexes(_ context.Context, fresh time.Duration) ([]history.Index, time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ofIndexes = fresh
	return m.indexes, m.at, m.err
}

func (m *memory) Health() monitor.Health {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.health
}

func (m *memory) Changes() (<-chan monitor.Change, func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := make(chan monitor.Change, 100)
	m.heard[c] = true
	return c, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.heard, c)
	}
}

// listeners returns how many listen.
func (m *memory) listeners() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.heard)
}

// hangUp has the source end.
func (m *memory) hangUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range maps.Keys(m.heard) {
		close(c)
	}
	clear(m.heard)
}

// open returns groups of open sessions, one a device, numbered from first.
func open(first, n int) []monitor.Group {
	var groups []monitor.Group
	for i := first; i < first+n; i++ {
		began, last := start.Add(time.Duration(i)*time.Minute), start.Add(time.Duration(i)*time.Minute+90*time.Second)
		facts, _ := json.Marshal(map[string]any{
			"ids":      []string{fmt.Sprintf("8f46a77b-ed45-438f-9c33-%012d", 2*i), fmt.Sprintf("8f46a77b-ed45-438f-9c33-%012d", 2*i+1)},
			"statuses": []string{"active", "paused"}, "owners": []string{"inspector-4", "inspector-9"},
		})
		groups = append(groups, monitor.Group{Key: fmt.Sprintf("AED-%05d", i), Members: 2, First: &began, Last: &last, Facts: facts, Since: start.Add(time.Duration(i) * time.Hour)})
	}
	return groups
}

// tooClose returns one group of visits that are too close.
func tooClose() monitor.Group {
	began, last := start.Add(2*time.Hour), start.Add(2*time.Hour+12*time.Minute)
	return monitor.Group{
		Key: "17", Members: 2, First: &began, Last: &last, Since: start.Add(time.Minute),
		Facts: json.RawMessage(`{"window":"00:30:00","schedules":[{"id":"a1","status":"scheduled","at":"2026-11-10T10:00:00Z"},{"id":"b2","status":"scheduled","at":"2026-11-10T10:12:00Z"}],"closest":"00:12:00"}`),
	}
}

// tokens of the tests.
var (
	readOnly   = Token{Name: "prometheus", Role: Read, Secret: "read-only-secret-of-the-tests-0001"}
	repairing  = Token{Name: "on-call", Role: Repair, Secret: "repair-secret-of-the-tests-000001"}
	everySaid  = []Token{readOnly, repairing}
	planned    = history.Run{Format: history.Format, Kind: history.KindRepair, Verdict: history.Held}
	repairPlan = func(context.Context, bool) (history.Run, error) { return planned, nil }
)

// site returns a site of a source, with what a test needs of its own.
func site(t testing.TB, from *memory, change func(*Config)) *Site {
	t.Helper()
	c := Config{Source: from, Tokens: everySaid, Version: "0.9.0-test"}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}
