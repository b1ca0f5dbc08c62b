package load

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
)

// turns are slices of consecutive turns with these mean latencies, in milliseconds.
func turns(means ...float64) (all []history.Slice) {
	for i, m := range means {
		all = append(all, history.Slice{Turn: i + 1, Mean: history.Duration(m * float64(time.Millisecond)), Operations: 10, Took: history.Duration(time.Second)})
	}
	return all
}

func repeated(x float64, n int) (all []float64) {
	for range n {
		all = append(all, x)
	}
	return all
}

func TestPaired(t *testing.T) {
	for _, test := range []struct {
		name     string
		of, base []history.Slice
		want     *history.Ratio
	}{
		{"the same", turns(repeated(3, 8)...), turns(repeated(3, 8)...), &history.Ratio{Value: 1, Low: 1, High: 1, Turns: 8}},
		{"whatever a turn was like", turns(2, 4, 20, 8, 100, 12), turns(1, 2, 10, 4, 50, 6), &history.Ratio{Value: 2, Low: 2, High: 2, Turns: 6}},
		{"with six, from the least to the greatest", turns(1, 2, 3, 4, 5, 6), turns(repeated(1, 6)...), &history.Ratio{Value: 3.5, Low: 1, High: 6, Turns: 6}},
		{"with nine, the second of each side", turns(1, 2, 3, 4, 5, 6, 7, 8, 9), turns(repeated(1, 9)...), &history.Ratio{Value: 5, Low: 2, High: 8, Turns: 9}},
		{"an outlier", turns(2, 2, 2, 2, 2, 2, 2, 2, 900), turns(repeated(1, 9)...), &history.Ratio{Value: 2, Low: 2, High: 2, Turns: 9}},
		{"only turns of both", turns(1, 2, 3, 4, 5, 6, 7), turns(repeated(1, 6)...), &history.Ratio{Value: 3.5, Low: 1, High: 6, Turns: 6}},
		{"a turn without an answer does not count", turns(1, 2, 3, 4, 5, 6, 0), turns(repeated(1, 7)...), &history.Ratio{Value: 3.5, Low: 1, High: 6, Turns: 6}},
		{"too few", turns(repeated(2, 5)...), turns(repeated(1, 5)...), nil},
		{"too few in common", turns(repeated(2, 20)...)[10:], turns(repeated(1, 12)...), nil},
		{"none", nil, nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.want, paired(test.of, test.base, mean)) })
	}
}

func TestShifted(t *testing.T) {
	for _, test := range []struct {
		name string
		a, b []float64
		want history.Ratio
		ok   bool
	}{
		{"the same", repeated(2, 6), repeated(2, 9), history.Ratio{Value: 1, Low: 1, High: 1, Turns: 6}, true},
		{"twice", repeated(4, 7), repeated(2, 7), history.Ratio{Value: 2, Low: 2, High: 2, Turns: 7}, true},
		{"the median of all quotients", []float64{1, 2, 3, 4, 5, 6}, repeated(1, 6), history.Ratio{Value: 3.5, Low: 1, High: 6, Turns: 6}, true},
		{"an outlier", append(repeated(4, 9), 4000), append(repeated(2, 9), 0.002), history.Ratio{Value: 2, Low: 2, High: 2, Turns: 10}, true},
		{"too few now", repeated(1, 5), repeated(1, 50), history.Ratio{}, false},
		{"too few then", repeated(1, 50), repeated(1, 5), history.Ratio{}, false},
		{"none", nil, nil, history.Ratio{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := shifted(test.a, test.b)
			require.Equal(t, test.ok, ok)
			require.Equal(t, test.want, got)
		})
	}
}

func TestSpells(t *testing.T) {
	require.Nil(t, spells(nil))
	require.Equal(t, []float64{1, 2, 3}, spells([]float64{1, 2, 3}))
	require.Equal(t, repeated(3, 8), spells(repeated(3, 8)))
	require.Equal(t, []float64{1, 2, 3, 4, 5, 6, 7, 8.5}, spells([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9}))
	require.Equal(t, []float64{1.5, 3.5, 5.5, 7.5, 9.5, 11.5, 13.5, 15.5}, spells([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}))
}

// Noise that lasts for many turns does not make two equal runs differ more often than it should.
func TestLastingNoise(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(13, 14))
	draw := func() (all []float64) {
		noise := random.NormFloat64()
		for range 64 {
			noise = 0.8*noise + 0.6*random.NormFloat64()
			all = append(all, math.Exp(0.3*noise))
		}
		return all
	}
	const some = 400
	slower := func(with func([]float64) []float64) (n int) {
		for range some {
			if r, _ := shifted(with(draw()), with(draw())); r.Low > 1 {
				n++
			}
		}
		return n
	}
	require.Greater(t, slower(func(all []float64) []float64 { return all }), some*15/100, "turn by turn")
	require.Less(t, slower(spells), some*5/100)
}

const samples = 2000

// The interval has the median of a skewed distribution in it as often as it says.
func TestPairedCovers(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{LeastTurns, 7, 10, 20, 40, 100} {
		truth := 1 + math.Ln2/3
		covered := 0
		for range samples {
			var of, base []float64
			for range n {
				machine := math.Exp(random.NormFloat64() / 2) // how slow it is in this turn
				base = append(base, machine)
				of = append(of, machine*(1+random.ExpFloat64()/3))
			}
			if r := paired(turns(of...), turns(base...), mean); r.Low <= truth+1e-4 && truth-1e-4 <= r.High {
				covered++
			}
		}
		require.GreaterOrEqual(t, float64(covered)/samples, 0.93, "%d turns", n)
	}
}

func TestShiftedCovers(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for _, n := range [][2]int{{LeastTurns, LeastTurns}, {7, 12}, {20, 20}, {40, 25}} {
		const truth = 1.3
		covered := 0
		draw := func(n int, times float64) (all []float64) {
			for range n {
				all = append(all, times*math.Exp(random.ExpFloat64()))
			}
			return all
		}
		for range samples {
			if r, ok := shifted(draw(n[0], truth), draw(n[1], 1)); ok && r.Low <= truth+1e-4 && truth-1e-4 <= r.High {
				covered++
			}
		}
		require.GreaterOrEqual(t, float64(covered)/samples, 0.93, "%v slices", n)
	}
}
