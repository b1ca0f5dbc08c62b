package load

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
)

// yardstick is what every turn measures beside the lanes: a sum that the server makes, in which no schema has a part.
func yardstick() race.Workload {
	do := func(ctx context.Context, conn *pgx.Conn) race.Answer {
		_, err := conn.Exec(ctx, `select sum(sqrt(i::float8)) from generate_series(1, 1000) i`)
		return race.Answer{Err: err}
	}
	return race.Workload{Name: "yardstick", Stream: func(race.Shape) race.Stream {
		return race.Stream{Client: func(int) func() race.Operation {
			return func() race.Operation { return race.Operation{Kind: "sum", Do: do} }
		}}
	}}
}

// Compare compares the mean latencies of the kinds of operation of each arm with those of the same ones of an earlier measurement, each in the yardsticks of
// its own turns, so that a machine whose processors are slower as a whole is no difference. Slower by more than the tolerance (0.05: five per cent), with
// 95 % confidence, is a violation.
func Compare(now, then history.Measurement, file string, tolerance float64) history.Baseline {
	b := history.Baseline{File: file, Tolerance: tolerance}
	for _, a := range now.Arms {
		i := slices.IndexFunc(then.Arms, func(o history.Arm) bool { return o.Name() == a.Name() && o.At == a.At && o.Clients == a.Clients })
		one := history.BaselineArm{Arm: Label(a, now.Arms), Verdict: history.Unknown}
		switch {
		case i < 0:
			one.Why = "the earlier run did not measure it"
		case differs(now.Shape, then.Shape) != "":
			one.Why = "the earlier run was made with another " + differs(now.Shape, then.Shape)
		case len(kindsOf(a)) == 0:
			one.Why = "nothing was answered"
		}
		if one.Why != "" {
			b.Against = append(b.Against, one)
			continue
		}
		for _, kind := range kindsOf(a) {
			one.Kind = kind
			b.Against = append(b.Against, compared(one, inYardsticks(a, kind), inYardsticks(then.Arms[i], kind), tolerance))
		}
	}
	return b
}

// compared judges by what was measured in yardsticks, now and then.
func compared(one history.BaselineArm, now, then []float64, tolerance float64) history.BaselineArm {
	ratio, ok := shifted(spells(now), spells(then))
	if !ok {
		one.Why = fmt.Sprintf("it is in fewer than %d slices of one of the runs", LeastTurns)
		return one
	}
	one.Latency, one.Verdict = ratio, history.Held
	if ratio.Low > 1+tolerance {
		one.Verdict = history.Violated
	}
	return one
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

// kindsOf returns the kinds of operation that an arm's slices have means of, in the order of their names.
func kindsOf(a history.Arm) []string {
	all := map[string]bool{}
	for _, s := range a.Slices {
		for kind := range s.Kinds {
			all[kind] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// inYardsticks returns the mean latency of a kind of operation in each slice as a multiple of the yardstick's in the same turn.
func inYardsticks(a history.Arm, kind string) (all []float64) {
	for _, s := range a.Slices {
		if mean := s.Kinds[kind]; s.Yardstick > 0 && mean > 0 {
			all = append(all, float64(mean)/float64(s.Yardstick))
		}
	}
	return all
}
