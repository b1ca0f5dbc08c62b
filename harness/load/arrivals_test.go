package load

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
)

func TestConstantArrivals(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	const rate = 400.0
	gap := time.Second / 400
	total := 0
	for range 200 {
		all := arrivals(history.Constant, rate, 100*time.Millisecond, random)
		require.InDelta(t, 40, len(all), 1)
		require.Less(t, all[0], gap)
		require.Less(t, all[len(all)-1], 100*time.Millisecond)
		for i := range all[1:] {
			require.InDelta(t, gap, all[i+1]-all[i], 2)
		}
		total += len(all)
	}
	require.InEpsilon(t, 200*40, total, 0.01)
}

// Counts of a Poisson process have a variance that is their mean, and its gaps a deviation that is theirs.
func TestPoissonArrivals(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	const rate, draws = 200.0, 4000
	var counts, gaps []float64
	for range draws {
		all := arrivals(history.Poisson, rate, 250*time.Millisecond, random)
		require.True(t, slices.IsSorted(all))
		counts = append(counts, float64(len(all)))
		for i := range all[:max(len(all)-1, 0)] {
			gaps = append(gaps, (all[i+1] - all[i]).Seconds())
		}
		require.Less(t, all[len(all)-1], 250*time.Millisecond)
	}
	m, v := moments(counts)
	require.InEpsilon(t, 50, m, 0.01)
	require.InEpsilon(t, 50, v, 0.08)
	m, v = moments(gaps)
	require.InEpsilon(t, 1/rate, m, 0.03) // those that the end of a slice cuts off are the longer ones
	require.InEpsilon(t, 1/rate, math.Sqrt(v), 0.05)
}

func moments(all []float64) (mean, variance float64) {
	for _, x := range all {
		mean += x / float64(len(all))
	}
	for _, x := range all {
		variance += (x - mean) * (x - mean) / float64(len(all)-1)
	}
	return mean, variance
}

func TestArrivalsRepeat(t *testing.T) {
	for _, how := range []history.Arrivals{history.Constant, history.Poisson} {
		of := func(seed uint64) []time.Duration {
			return arrivals(how, 1000, time.Second, rand.New(rand.NewPCG(seed, 0)))
		}
		require.Equal(t, of(1), of(1))
		require.NotEqual(t, of(1), of(2))
	}
	require.Empty(t, arrivals(history.Poisson, 0.001, time.Millisecond, rand.New(rand.NewPCG(1, 1))))
}
