package scenarios

import (
	"math"
	"math/rand/v2"
	"slices"
)

// zipf draws numbers from 0 of which the n-th comes 1/n^exponent as often as the first, for any exponent, where that of math/rand/v2 must be more
// than 1. It does not change, so goroutines may share one.
type zipf struct {
	cumulative []float64 // the weights of all numbers up to this one
}

// newZipf returns what draws one of n numbers, at least 1.
func newZipf(n int, exponent float64) zipf {
	z := zipf{cumulative: make([]float64, n)}
	sum := 0.0
	for i := range z.cumulative {
		sum += math.Pow(float64(i+1), -exponent)
		z.cumulative[i] = sum
	}
	return z
}

func (z zipf) draw(dice *rand.Rand) int {
	last := len(z.cumulative) - 1
	n, exactly := slices.BinarySearch(z.cumulative, dice.Float64()*z.cumulative[last])
	if exactly { // a number has what lies below its sum, and not the sum itself
		n++
	}
	return min(n, last)
}
