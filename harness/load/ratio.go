package load

import (
	"math"
	"slices"

	"golang.org/x/perf/benchmath"

	"github.com/interlock-pg/interlock/harness/history"
)

const confidence = 0.95

// paired returns the quotient of what two lanes came to in the same turns: the median, and the interval in which it lies with 95 % confidence, of whatever
// distribution. Nil: there are too few turns to have such an interval.
func paired(of, base []history.Slice, value func(history.Slice) float64) *history.Ratio {
	var ratios []float64
	for _, s := range of {
		i := slices.IndexFunc(base, func(b history.Slice) bool { return b.Turn == s.Turn })
		if i < 0 {
			continue
		}
		if a, b := value(s), value(base[i]); a > 0 && b > 0 {
			ratios = append(ratios, a/b)
		}
	}
	if len(ratios) < LeastTurns {
		return nil
	}
	sum := benchmath.AssumeNothing.Summary(benchmath.NewSample(ratios, &benchmath.DefaultThresholds), confidence)
	return &history.Ratio{Value: round(sum.Center), Low: round(sum.Lo), High: round(sum.Hi), Turns: len(ratios)}
}

// shifted returns the quotient of two independent samples: the median of all quotients of one of a by one of b (Hodges and Lehmann), and the interval
// that the test of Mann and Whitney does not refute at 5 %. False: there are too few.
func shifted(a, b []float64) (history.Ratio, bool) {
	n, m := float64(len(a)), float64(len(b))
	if len(a) < LeastTurns || len(b) < LeastTurns {
		return history.Ratio{}, false
	}
	var all []float64
	for _, x := range a {
		for _, y := range b {
			all = append(all, x/y)
		}
	}
	slices.Sort(all)
	const z = 1.959964 // of the normal distribution, two-sided
	rank := int(math.Floor(n*m/2 - z*math.Sqrt(n*m*(n+m+1)/12)))
	rank = max(rank, 1)
	return history.Ratio{
		Value: round(median(all)), Low: round(all[rank-1]), High: round(all[len(all)-rank]), Turns: min(len(a), len(b)),
	}, true
}

// mostSpells is into how many spells a run is divided at most.
const mostSpells = 8

// spells puts what was measured in turn together into means of some turns each: what others do on a machine goes on for longer than a turn, so turns that
// follow one another are no independent sample, and would seem to be surer than they are.
func spells(all []float64) (means []float64) {
	n := min(mostSpells, len(all))
	for i := range n {
		sum := 0.0
		spell := all[i*len(all)/n : (i+1)*len(all)/n]
		for _, x := range spell {
			sum += x
		}
		means = append(means, sum/float64(len(spell)))
	}
	return means
}

func median(sorted []float64) float64 { return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2 }

// round keeps what is worth writing down.
func round(x float64) float64 { return math.Round(x*1e4) / 1e4 }

func mean(s history.Slice) float64 { return float64(s.Mean) }

func throughput(s history.Slice) float64 { return float64(s.Operations) / float64(s.Took) }
