package scenarios

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each number comes as often as its weight says, give or take five standard deviations.
func TestZipf(t *testing.T) {
	const draws = 200_000
	for _, test := range []struct {
		n        int
		exponent float64
		first    float64 // how often the first comes
	}{
		{1, 0, 1}, {1, 1, 1}, {2, 0, 0.5}, {2, 1, 2.0 / 3}, {100, 0, 0.01}, {100, 0.5, 1 / 18.58960}, {100, 1, 1 / 5.18738}, {100, 2, 1 / 1.63498},
	} {
		z, dice := newZipf(test.n, test.exponent), rand.New(rand.NewPCG(1, 2))
		seen := make([]float64, test.n)
		for range draws {
			seen[z.draw(dice)]++
		}
		for i := range seen {
			chance := test.first * math.Pow(float64(i+1), -test.exponent)
			require.InDelta(t, chance*draws, seen[i], 5*math.Sqrt(draws*chance*(1-chance))+1, "number %d of %d, exponent %v", i, test.n, test.exponent)
		}
	}
}

func TestZipfIsRepeatable(t *testing.T) {
	z := newZipf(1000, 0.8)
	draw := func(seed uint64) (all []int) {
		dice := rand.New(rand.NewPCG(seed, 0))
		for range 20 {
			all = append(all, z.draw(dice))
		}
		return all
	}
	require.Equal(t, draw(1), draw(1))
	require.NotEqual(t, draw(1), draw(2))
}
