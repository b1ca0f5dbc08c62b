package load_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/load"
)

// measured is a measurement of two arms on a machine of this slowness, of which the second takes slower times as long as it should.
func measured(random *rand.Rand, turns int, machine, slower float64) history.Measurement {
	m := history.Measurement{Shape: history.LoadShape{Clients: []int{8}, Slice: history.Duration(250 * time.Millisecond), Devices: 100, Rows: 1000}}
	none, constraint := arm("none", 3, 8), arm("constraint", 3, 8)
	for turn := range turns {
		drift := machine * (1 + 0.3*random.Float64())
		draw := func(ms float64) history.Duration {
			return history.Duration(ms * drift * (1 + 0.05*random.NormFloat64()) * float64(time.Millisecond))
		}
		yardstick := draw(1)
		slice := func(ms float64) history.Slice {
			return history.Slice{Turn: turn + 1, Kinds: map[string]history.Duration{"create": draw(ms)}, Yardstick: yardstick}
		}
		none.Slices, constraint.Slices = append(none.Slices, slice(2)), append(constraint.Slices, slice(3*slower))
	}
	m.Arms = []history.Arm{none, constraint}
	return m
}

func TestCompare(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	const turns = 40
	then := measured(random, turns, 1, 1)
	verdicts := func(b history.Baseline) (all []history.Verdict) {
		for _, a := range b.Against {
			all = append(all, a.Verdict)
		}
		return all
	}
	held, broken, unknown := history.Held, history.Violated, history.Unknown
	for _, test := range []struct {
		name   string
		change func(*history.Measurement)
		now    history.Measurement
		want   []history.Verdict
		why    string
	}{
		{"equal", nil, measured(random, turns, 1, 1), []history.Verdict{held, held}, ""},
		{"slower by a fifth", nil, measured(random, turns, 1, 1.2), []history.Verdict{held, broken}, ""},
		{"slower within the tolerance", nil, measured(random, turns, 1, 1.03), []history.Verdict{held, held}, ""},
		{"faster", nil, measured(random, turns, 1, 0.8), []history.Verdict{held, held}, ""},
		{"the machine is slower by half", nil, measured(random, turns, 2, 1), []history.Verdict{held, held}, ""},
		{"the machine is slower, and so is the arm", nil, measured(random, turns, 2, 1.2), []history.Verdict{held, broken}, ""},
		{"the machine is twice as fast, and the arm is not", nil, measured(random, turns, 0.5, 1.2), []history.Verdict{held, broken}, ""},
		{"only the yardstick is faster", func(m *history.Measurement) {
			for _, a := range m.Arms {
				for i := range a.Slices {
					a.Slices[i].Yardstick /= 2
				}
			}
		}, measured(random, turns, 1, 1), []history.Verdict{broken, broken}, ""},
		{"too few", nil, measured(random, load.LeastTurns-1, 1, 1), []history.Verdict{unknown, unknown}, "fewer than 6 slices"},
		{"other rows", func(m *history.Measurement) { m.Shape.Rows = 5 }, measured(random, turns, 1, 1.2), []history.Verdict{unknown, unknown}, "with another number of rows"},
		{
			"open, not closed", func(m *history.Measurement) { m.Shape.Rate, m.Shape.Arrivals = 100, history.Poisson },
			measured(random, turns, 1, 1),
			[]history.Verdict{unknown, unknown},
			"with another rate",
		},
		{
			"two differences", func(m *history.Measurement) { m.Shape.Devices, m.Shape.Zipf = 1, 1 },
			measured(random, turns, 1, 1),
			[]history.Verdict{unknown, unknown},
			"with another Zipf exponent and number of devices",
		},
		{"another migration", func(m *history.Measurement) { m.Arms[0].At = 1 }, measured(random, turns, 1, 1), []history.Verdict{unknown, held}, "did not measure it"},
		{"other clients", func(m *history.Measurement) { m.Arms[0].Clients = 9 }, measured(random, turns, 1, 1), []history.Verdict{unknown, held}, "did not measure it"},
		{"no yardsticks", func(m *history.Measurement) {
			for i := range m.Arms[0].Slices {
				m.Arms[0].Slices[i].Yardstick = 0
			}
		}, measured(random, turns, 1, 1), []history.Verdict{unknown, held}, "fewer than 6 slices"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.change != nil {
				test.change(&test.now)
			}
			b := load.Compare(test.now, then, "run.json", 0.05)
			require.Equal(t, test.want, verdicts(b), "%+v", b.Against)
			require.Equal(t, "run.json", b.File)
			for _, a := range b.Against {
				if a.Verdict == unknown {
					require.Contains(t, a.Why, test.why)
				} else {
					require.Empty(t, a.Why)
					require.LessOrEqual(t, a.Latency.Low, a.Latency.Value)
					require.LessOrEqual(t, a.Latency.Value, a.Latency.High)
				}
			}
		})
	}
	gone := measured(random, turns, 1, 1)
	gone.Arms = gone.Arms[1:]
	require.Equal(t, []history.Verdict{unknown, held}, verdicts(load.Compare(then, gone, "run.json", 0.05)), "the earlier run has fewer arms")
	require.Len(t, load.Compare(gone, then, "run.json", 0.05).Against, 1, "and more")
	require.Equal(t, []history.Verdict{held, held}, verdicts(load.Compare(then, then, "run.json", 0)))
}

// Of equal measurements, hardly any is called slower, even without a tolerance; with it, none.
func TestCompareByChance(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	without, with := 0, 0
	for range 300 {
		then, now := measured(random, 12, 1, 1), measured(random, 12, 1, 1)
		for _, tolerance := range []float64{0, 0.05} {
			for _, a := range load.Compare(now, then, "", tolerance).Against {
				if a.Verdict == history.Violated {
					if tolerance == 0 {
						without++
					} else {
						with++
					}
				}
			}
		}
	}
	require.LessOrEqual(t, without, 600*35/1000, "2.5 % are expected")
	require.Zero(t, with)
}
