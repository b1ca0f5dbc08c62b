package load_test

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/load"
	"github.com/interlock-pg/interlock/harness/race"
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
		none.Slices = append(none.Slices, history.Slice{Turn: turn + 1, Mean: draw(2), Yardstick: yardstick})
		constraint.Slices = append(constraint.Slices, history.Slice{Turn: turn + 1, Mean: draw(3 * slower), Yardstick: yardstick})
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

// repeating is a workload whose operations are so many statements.
func repeating(statements int) race.Workload {
	return race.Workload{Name: "repeating", Stream: func(race.Shape) race.Stream {
		return race.Stream{Client: func(n int) func() race.Operation {
			return func() race.Operation {
				return race.Operation{Kind: "add", Do: func(ctx context.Context, conn *pgx.Conn) (answer race.Answer) {
					for i := 0; i < statements && answer.Err == nil; i++ {
						_, answer.Err = conn.Exec(ctx, `insert into notes (device) values ($1)`, n)
					}
					return answer
				}}
			}
		}}
	}}
}

// A real workload against itself is never called slower; with a fifth more to do, it always is, where the machine is quiet enough to tell in a second.
func TestCompareReal(t *testing.T) {
	runs, err := strconv.Atoi(os.Getenv("INTERLOCK_BASELINE_RUNS"))
	if err != nil {
		t.Skip("a measurement, for a quiet machine: INTERLOCK_BASELINE_RUNS=20")
	}
	measured := func(statements int) history.Measurement {
		return measure(t, load.Config{Clients: []int{2}, For: 4 * time.Second, Slice: 100 * time.Millisecond, Warmup: 100 * time.Millisecond, Rows: 100}, repeating(statements))
	}
	compare := func(now, then history.Measurement) (slower, quiet bool) {
		a := load.Compare(now, then, "", 0.05).Against[0]
		t.Logf("%.2f (%.2f–%.2f) %s", a.Latency.Value, a.Latency.Low, a.Latency.High, a.Verdict)
		return a.Verdict == history.Violated, a.Latency.High/a.Latency.Low < 1.15
	}
	wrong, caught, quiet := 0, 0, 0
	then := measured(5)
	for range runs {
		same, more := measured(5), measured(6)
		if slower, _ := compare(same, then); slower {
			wrong++
		}
		slower, could := compare(more, same)
		if could {
			quiet++
		}
		if slower {
			caught++
		}
		require.True(t, slower || !could, "a fifth more was not seen")
		then = same
	}
	t.Logf("unchanged and called slower: %d of %d; a fifth more and called slower: %d of %d; the machine was quiet enough for %d", wrong, runs, caught, runs, quiet)
	require.Zero(t, wrong)
	if quiet == 0 {
		t.Skip("the machine is too busy to see a fifth in a second")
	}
}
