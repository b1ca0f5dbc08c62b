package scenarios

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness"
)

// eachScenario runs a test for one workload of each scenario; all variants share their generator.
func eachScenario(t *testing.T, o Options, test func(t *testing.T, w harness.Workload)) {
	for _, w := range Workloads(o) {
		if w.Variant == "none" {
			t.Run(w.Name, func(t *testing.T) { test(t, w) })
		}
	}
}

func generate(t testing.TB, w harness.Workload, seed int64) json.RawMessage {
	t.Helper()
	in, err := w.Generate(seed)
	require.NoError(t, err)
	return in.JSON()
}

func TestInputsAreTheSameEverywhere(t *testing.T) {
	golden := map[string]string{
		"sessions":  "f461f240bad5baaa",
		"schedules": "d5ed284389e0eff1",
	}
	eachScenario(t, Options{}, func(t *testing.T, w harness.Workload) {
		hash := sha256.New()
		for seed := range int64(50) {
			hash.Write(generate(t, w, seed))
		}
		require.Equal(t, golden[w.Name], hex.EncodeToString(hash.Sum(nil))[:16],
			"what a seed stands for has changed: recorded runs keep working, for they hold their inputs, but say so in the changelog")
	})
}

func TestSeedsDecideInputs(t *testing.T) {
	eachScenario(t, Options{}, func(t *testing.T, w harness.Workload) {
		seen := map[string]bool{}
		for seed := range int64(500) {
			raw := string(generate(t, w, seed))
			require.Equal(t, raw, string(generate(t, w, seed)))
			seen[raw] = true
		}
		require.Greater(t, len(seen), 400)
	})
}

func TestVariantsShareInputs(t *testing.T) {
	inputs := map[string]string{}
	for _, w := range Workloads(Options{}) {
		raw := string(generate(t, w, 17))
		if first, ok := inputs[w.Name]; ok {
			require.Equal(t, first, raw, w.FullName())
		}
		inputs[w.Name] = raw
	}
}

func TestInputsSurviveJSON(t *testing.T) {
	eachScenario(t, Options{}, func(t *testing.T, w harness.Workload) {
		for seed := range int64(500) {
			in, err := w.Generate(seed)
			require.NoError(t, err)
			again, err := w.Decode(in.JSON())
			require.NoError(t, err)
			require.Equal(t, in, again)
		}
	})
}

func TestGeneratedSessions(t *testing.T) {
	const seeds = 600
	contended := 0
	for _, clients := range []int{2, 3, 8} {
		o := Options{Clients: clients}
		for seed := range int64(seeds) {
			in := sample[SessionsInput](t, Workloads(o)[0], seed)
			require.True(t, in.valid(), "%+v", in)
			require.LessOrEqual(t, len(in.Clients), clients)
			require.GreaterOrEqual(t, len(in.Clients), 2)
			free := !slices.ContainsFunc(in.Sessions, func(s StartSession) bool { return s.Device == 0 && s.open() })
			creators := map[int]bool{}
			for _, c := range in.Clients {
				if c.Operations[0] == (SessionOperation{Kind: Create}) {
					creators[c.Inspector] = true
				}
			}
			if free && len(creators) >= 2 {
				contended++
			}
		}
	}
	require.Greater(t, contended, 3*seeds/2, "at least half of the inputs must be contention")
}

func TestGeneratedSchedules(t *testing.T) {
	const seeds = 600
	contended, slots := 0, 0
	var distances [5]int // 0, 1 µs, just inside, at, and just outside the window
	for seed := range int64(seeds) {
		in := sample[SchedulesInput](t, Workloads(Options{})[len(Defences())], seed)
		require.True(t, in.valid(Window), "%+v", in)
		var creators []When
		for _, c := range in.Clients {
			if first := c.Operations[0]; first.Kind == Create && first.Device == 0 {
				creators = append(creators, first.At)
			}
			for _, op := range c.Operations {
				switch time.Duration(op.At.Offset).Abs() {
				case 0:
					distances[0]++
				case time.Microsecond:
					distances[1]++
				case Window - time.Microsecond:
					distances[2]++
				case Window:
					distances[3]++
				case Window + time.Microsecond:
					distances[4]++
				}
			}
		}
		pairs := 0
		for i, a := range creators {
			for _, b := range creators[:i] {
				if !a.apart(b, Window) {
					pairs++
				}
			}
		}
		if pairs > 0 {
			contended++
		}
		if in.slot(0, Window) {
			slots++
		}
	}
	require.Greater(t, contended, seeds/2, "at least half of the inputs must be contention")
	require.Greater(t, slots, seeds/10)
	for _, n := range distances {
		require.Greater(t, n, 100, "%v", distances)
	}
}

// sample generates an input as the type that it is.
func sample[I any](t testing.TB, w harness.Workload, seed int64) (in I) {
	t.Helper()
	require.NoError(t, json.Unmarshal(generate(t, w, seed), &in))
	return in
}

func TestOddSerialsFit(t *testing.T) {
	longest := 0
	for _, serial := range oddSerials {
		longest = max(longest, utf8.RuneCountInString(serial))
	}
	require.Equal(t, 255, longest)
	require.True(t, validDevices(oddSerials))
}

func TestOptions(t *testing.T) {
	require.Equal(t, Options{Clients: 4, Window: Window}, Options{}.resolve())
	require.Equal(t, Options{Clients: 2, Window: time.Microsecond}, Options{Clients: 1, Window: time.Nanosecond}.resolve())
	for _, window := range []time.Duration{time.Microsecond, time.Second, 12 * time.Hour} {
		eachScenario(t, Options{Window: window}, func(t *testing.T, w harness.Workload) {
			for seed := range int64(200) {
				in, err := w.Generate(seed)
				require.NoError(t, err)
				w.Scenario(in)
			}
		})
	}
}

func TestSlots(t *testing.T) {
	create := func(inspector int, kinds ...Kind) SessionsClient {
		c := SessionsClient{Inspector: inspector}
		for _, k := range kinds {
			c.Operations = append(c.Operations, SessionOperation{Kind: k})
		}
		return c
	}
	for name, test := range map[string]struct {
		in   SessionsInput
		want bool
	}{
		"two creators":           {SessionsInput{Clients: []SessionsClient{create(0, Create), create(1, Create)}}, true},
		"one creator":            {SessionsInput{Clients: []SessionsClient{create(0, Create)}}, false},
		"one inspector, twice":   {SessionsInput{Clients: []SessionsClient{create(0, Create), create(0, Create)}}, false},
		"somebody closes":        {SessionsInput{Clients: []SessionsClient{create(0, Create, Cancel), create(1, Create)}}, false},
		"a clean-up is no worry": {SessionsInput{Clients: []SessionsClient{create(0, Create, CleanUp), create(1, Create)}}, true},
		"taken at the start": {SessionsInput{
			Sessions: []StartSession{{Status: "paused"}}, Clients: []SessionsClient{create(0, Create), create(1, Create)},
		}, false},
		"history at the start": {SessionsInput{
			Sessions: []StartSession{{Status: "completed"}}, Clients: []SessionsClient{create(0, Create), create(1, Create)},
		}, true},
	} {
		t.Run("sessions, "+name, func(t *testing.T) {
			test.in.Devices = []string{"AED-1"}
			require.Equal(t, test.want, test.in.slot(0))
			require.False(t, test.in.slot(-1))
		})
	}

	at := func(times ...When) SchedulesInput {
		in := SchedulesInput{Base: plainBaseTime, Devices: []string{"AED-1"}}
		for _, w := range times {
			in.Clients = append(in.Clients, SchedulesClient{Operations: []ScheduleOperation{{Kind: Create, At: w}}})
		}
		return in
	}
	with := func(in SchedulesInput, s StartSchedule) SchedulesInput {
		in.Schedules = append(in.Schedules, s)
		return in
	}
	for name, test := range map[string]struct {
		in   SchedulesInput
		want bool
	}{
		"same time":              {at(When{}, When{}), true},
		"just inside the window": {at(When{}, after(Window-time.Microsecond)), true},
		"a window apart":         {at(When{}, after(Window)), false},
		"a chain":                {at(after(-20*time.Minute), When{}, after(20*time.Minute)), false},
		"no time":                {at(When{}, When{}, When{Special: Null}), false},
		"for ever":               {at(When{Special: Infinity}, When{Special: Infinity}), false},
		"alone":                  {at(When{}), false},
		"taken":                  {with(at(When{}, When{}), StartSchedule{At: after(Window - 1), Status: "scheduled"}), false},
		"taken by a cancelled":   {with(at(When{}, When{}), StartSchedule{Status: "cancelled"}), true},
		"neighbours":             {with(at(When{}, When{}), StartSchedule{At: after(-Window), Status: "scheduled"}), true},
	} {
		t.Run("schedules, "+name, func(t *testing.T) { require.Equal(t, test.want, test.in.slot(0, Window)) })
	}
}
