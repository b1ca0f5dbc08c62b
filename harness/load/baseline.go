package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// Compare compares the mean latencies of the arms with those of the same ones of an earlier measurement, each in the yardsticks of its own turns, so that a
// machine whose processors are slower as a whole is no difference. Slower by more than the tolerance (0.05: five per cent), with 95 % confidence, is a
// violation.
func Compare(now, then history.Measurement, file string, tolerance float64) history.Baseline {
	b := history.Baseline{File: file, Tolerance: tolerance}
	for _, a := range now.Arms {
		one := history.BaselineArm{Arm: Label(a, now.Arms), Verdict: history.Unknown}
		i := slices.IndexFunc(then.Arms, func(o history.Arm) bool { return o.Name() == a.Name() && o.At == a.At && o.Clients == a.Clients })
		switch {
		case i < 0:
			one.Why = "the earlier run did not measure it"
		case differs(now.Shape, then.Shape) != "":
			one.Why = "the earlier run was made with another " + differs(now.Shape, then.Shape)
		default:
			ratio, ok := shifted(spells(inYardsticks(a)), spells(inYardsticks(then.Arms[i])))
			if !ok {
				one.Why = fmt.Sprintf("fewer than %d slices", LeastTurns)
				break
			}
			one.Latency, one.Verdict = ratio, history.Held
			if one.Latency.Low > 1+tolerance {
				one.Verdict = history.Violated
			}
		}
		b.Against = append(b.Against, one)
	}
	return b
}

// differs returns what two shapes differ in so that they cannot be compared; empty: nothing.
func differs(a, b history.LoadShape) string {
	parts := map[string]bool{
		"rate": a.Rate != b.Rate || a.Arrivals != b.Arrivals, "number of devices": a.Devices != b.Devices, "Zipf exponent": a.Zipf != b.Zipf,
		"number of rows": a.Rows != b.Rows, "length of slices": a.Slice != b.Slice,
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if parts[name] {
			names = append(names, name)
		}
	}
	return strings.Join(names, " and ")
}

// inYardsticks returns the mean latency of each slice as a multiple of the yardstick's in the same turn.
func inYardsticks(a history.Arm) (all []float64) {
	for _, s := range a.Slices {
		if s.Yardstick > 0 && s.Mean > 0 {
			all = append(all, float64(s.Mean)/float64(s.Yardstick))
		}
	}
	return all
}
