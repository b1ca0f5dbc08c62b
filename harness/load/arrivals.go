package load

import (
	"math/rand/v2"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
)

// arrivals returns when the operations of an open loop should begin, within a slice of length d.
func arrivals(how history.Arrivals, rate float64, d time.Duration, random *rand.Rand) []time.Duration {
	var all []time.Duration
	gap := func() float64 { return 1 }
	at := random.Float64() // the phase of the first
	if how == history.Poisson {
		gap = random.ExpFloat64
		at = gap()
	}
	for ; at/rate < d.Seconds(); at += gap() {
		all = append(all, time.Duration(at/rate*float64(time.Second)))
	}
	return all
}
