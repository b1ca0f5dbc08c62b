package scenarios

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness"
)

// size is a measure of inputs that every step of a shrinker must make smaller: parts weigh more than what they hold.
type size struct{ clients, operations, rows, devices, odd, time, numbers int }

func (s size) less(than size) bool {
	a := []int{s.clients, s.operations, s.rows, s.devices, s.odd, s.time, s.numbers}
	b := []int{than.clients, than.operations, than.rows, than.devices, than.odd, than.time, than.numbers}
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}

func (s *size) oddSerials(serials []string) {
	for i, serial := range serials {
		if serial != plainSerialOf(0) && serial != plainSerialOf(i) {
			s.odd++
		}
	}
}

func (s *size) zone(name string) {
	if name != "UTC" {
		s.odd++
	}
}

func (s *size) when(w When) {
	if w.Special != "" {
		s.odd++
	}
	s.time += int(time.Duration(w.Offset).Abs())
}

func (in SessionsInput) size() size {
	s := size{clients: len(in.Clients), rows: len(in.Sessions), devices: len(in.Devices)}
	s.oddSerials(in.Devices)
	for _, row := range in.Sessions {
		s.numbers += row.Inspector
	}
	for _, c := range in.Clients {
		s.operations += len(c.Operations)
		s.numbers += c.Inspector
		s.zone(c.TimeZone)
	}
	return s
}

func (in SchedulesInput) size() size {
	s := size{clients: len(in.Clients), rows: len(in.Schedules), devices: len(in.Devices)}
	s.oddSerials(in.Devices)
	if in.Base != plainBaseTime {
		s.odd++
	}
	for _, row := range in.Schedules {
		s.numbers += row.Inspector
		s.when(row.At)
	}
	for _, c := range in.Clients {
		s.operations += len(c.Operations)
		s.numbers += c.Inspector
		s.zone(c.TimeZone)
		for _, op := range c.Operations {
			s.when(op.At)
		}
	}
	return s
}

func TestShrinking(t *testing.T) {
	parameters := gopter.DefaultTestParametersWithSeed(7341)
	parameters.MaxShrinkCount = 0 // what would be shrunk here is the input of the shrinker
	properties := gopter.NewProperties(parameters)
	o := Options{}.resolve()
	properties.Property("sessions", prop.ForAll(
		func(in SessionsInput, seed int64) (string, error) {
			return shrinksWell(t, in, seed, shrinkSessions, SessionsInput.size, SessionsInput.valid)
		}, GenSessions(o), gen.Int64Range(0, 1<<40)))
	properties.Property("schedules", prop.ForAll(
		func(in SchedulesInput, seed int64) (string, error) {
			return shrinksWell(t, in, seed,
				func(in SchedulesInput) gopter.Shrink { return shrinkSchedules(in, o.Window) },
				SchedulesInput.size,
				func(in SchedulesInput) bool { return in.valid(o.Window) })
		}, GenSchedules(o), gen.Int64Range(0, 1<<40)))
	properties.TestingRun(t)
}

// shrinksWell walks down from an input, at each step to a candidate that the seed picks, until there is none.
func shrinksWell[I any](t *testing.T, in I, seed int64, shrink func(I) gopter.Shrink, measure func(I) size, valid func(I) bool) (string, error) {
	before, err := json.Marshal(in)
	require.NoError(t, err)
	for at, depth := in, 0; ; depth++ {
		candidates := shrink(at).All()
		for _, c := range candidates {
			switch {
			case !valid(c.(I)):
				return "not valid: " + asJSON(t, c), nil
			case !measure(c.(I)).less(measure(at)):
				return "not simpler: " + asJSON(t, c) + " than " + asJSON(t, at), nil
			}
		}
		if len(candidates) == 0 || depth > 1000 {
			if depth > 1000 {
				return "never ends", nil
			}
			break
		}
		at = candidates[int(seed)%len(candidates)].(I)
		seed = seed*31%1000003 + int64(depth)
	}
	if after := asJSON(t, in); after != string(before) {
		return "the original changed: " + after, nil
	}
	return "", nil
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return string(raw)
}

// TestShrinksToTheSmallestRace shrinks with pure conditions for a failure, so that what is left is known.
func TestShrinksToTheSmallestRace(t *testing.T) {
	smallest := func(w harness.Workload, fails func(raw string) bool) string {
		for seed := int64(0); ; seed++ {
			in, err := w.Generate(seed)
			require.NoError(t, err)
			if !fails(string(in.JSON())) {
				continue
			}
			for again := true; again; {
				again = false
				for simpler := range w.Shrinks(in) {
					if fails(string(simpler.JSON())) {
						in, again = simpler, true
						break
					}
				}
			}
			return string(in.JSON())
		}
	}
	workloads := Workloads(Options{})
	sessions, schedules := workloads[0], workloads[len(Defences())]
	require.JSONEq(t, `{"devices": ["AED-1"], "sessions": [], "clients": [
			{"inspector": 0, "time_zone": "UTC", "operations": [{"kind": "create", "device": 0}]},
			{"inspector": 1, "time_zone": "UTC", "operations": [{"kind": "create", "device": 0}]}]}`,
		smallest(sessions, func(raw string) bool {
			var in SessionsInput
			require.NoError(t, json.Unmarshal([]byte(raw), &in))
			return in.slot(0) && len(in.Clients) >= 2
		}))
	require.Contains(t, smallest(schedules, func(raw string) bool { return strings.Contains(raw, "30m0.000001s") }), `30m0.000001s`)
	require.JSONEq(t, `{"base": "2025-11-10T10:00:00Z", "devices": ["AED-1"], "schedules": [], "clients": [
			{"inspector": 0, "time_zone": "UTC", "operations": [{"kind": "create", "device": 0, "at": {"offset": "0s"}}]},
			{"inspector": 1, "time_zone": "UTC", "operations": [{"kind": "create", "device": 0, "at": {"offset": "0s"}}]}]}`,
		smallest(schedules, func(raw string) bool {
			var in SchedulesInput
			require.NoError(t, json.Unmarshal([]byte(raw), &in))
			return in.slot(0, Window)
		}))
}

func TestSimplerTimes(t *testing.T) {
	require.Empty(t, When{}.simpler())
	require.Equal(t, []When{{}}, When{Special: Null}.simpler())
	require.Equal(t, []When{{}}, after(Window).simpler())
	require.Equal(t, []When{{}, after(-Window)}, after(-Window-time.Microsecond).simpler())
	require.Equal(t, []When{{}}, after(time.Microsecond).simpler())
}
