package load

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
)

// Requirement is a threshold that every arm, or those that it names, must meet, as "p99 < 50ms", "throughput > 500/s" or
// "sessions/constraint: failed == 0".
type Requirement struct {
	says   string
	arm    string // a workload, or a scenario; empty: all
	metric metric
	sign   string
	limit  float64
}

// metric is something that a requirement can be about.
type metric struct {
	name string
	unit unit
	of   func(history.Arm) float64
}

// unit is what a metric counts in.
type unit string

const (
	nanoseconds unit = "a duration, as 50ms"
	perSecond   unit = "a rate, as 500/s"
	plain       unit = "a number, as 0"
)

func latency(name string, of func(history.Latency) history.Duration) metric {
	return metric{name, nanoseconds, func(a history.Arm) float64 { return float64(of(a.Latency)) }}
}

func told(outcome string) metric {
	return metric{outcome, plain, func(a history.Arm) float64 {
		n := 0
		for _, k := range a.Kinds {
			if k.Outcome == outcome {
				n += k.Count
			}
		}
		return float64(n)
	}}
}

// metrics are all that there are.
var metrics = []metric{
	latency("mean", func(l history.Latency) history.Duration { return l.Mean }),
	latency("p50", func(l history.Latency) history.Duration { return l.P50 }),
	latency("p90", func(l history.Latency) history.Duration { return l.P90 }),
	latency("p99", func(l history.Latency) history.Duration { return l.P99 }),
	latency("p99.9", func(l history.Latency) history.Duration { return l.P999 }),
	latency("max", func(l history.Latency) history.Duration { return l.Max }),
	{"throughput", perSecond, func(a history.Arm) float64 { return a.Throughput }},
	{"operations", plain, func(a history.Arm) float64 { return float64(a.Operations) }},
	{"unserved", plain, func(a history.Arm) float64 { return float64(a.Unserved) }},
	told("created"), told("conflict"), told("failed"), told("unknown"),
	{"retries", plain, func(a history.Arm) float64 { return float64(a.Retries) }},
	{"deadlocks", plain, func(a history.Arm) float64 { return float64(a.Database.Deadlocks) }},
}

// signs are the comparisons.
var signs = map[string]func(was, limit float64) bool{
	"<":  func(was, limit float64) bool { return was < limit },
	"<=": func(was, limit float64) bool { return was <= limit },
	">":  func(was, limit float64) bool { return was > limit },
	">=": func(was, limit float64) bool { return was >= limit },
	"==": func(was, limit float64) bool { return was == limit },
	"!=": func(was, limit float64) bool { return was != limit },
}

var requirement = regexp.MustCompile(`^\s*(?:([^\s:<>=!]+)\s*:)?\s*([a-z0-9.]+)\s*(<=|>=|==|!=|<|>)\s*(\S+)\s*$`)

// ParseRequirement reads a threshold.
func ParseRequirement(says string) (Requirement, error) {
	parts := requirement.FindStringSubmatch(says)
	if parts == nil {
		return Requirement{}, fmt.Errorf("%q is not a threshold; try one such as 'p99 < 50ms', 'throughput > 500/s' or 'sessions/constraint: failed == 0'", says)
	}
	i := slices.IndexFunc(metrics, func(m metric) bool { return m.name == parts[2] })
	if i < 0 {
		var names []string
		for _, m := range metrics {
			names = append(names, m.name)
		}
		return Requirement{}, fmt.Errorf("%q: there is no %s; try one of %s", says, parts[2], strings.Join(names, ", "))
	}
	r := Requirement{says: says, arm: parts[1], metric: metrics[i], sign: parts[3]}
	var err error
	switch r.metric.unit {
	case nanoseconds:
		var d time.Duration
		d, err = time.ParseDuration(parts[4])
		r.limit = float64(d)
	case perSecond:
		r.limit, err = strconv.ParseFloat(strings.TrimSuffix(parts[4], "/s"), 64)
	default:
		r.limit, err = strconv.ParseFloat(parts[4], 64)
	}
	if err != nil || math.IsNaN(r.limit) || math.IsInf(r.limit, 0) || r.limit < 0 {
		return Requirement{}, fmt.Errorf("%q: %q is nothing to compare %s with; try %s", says, parts[4], r.metric.name, r.metric.unit)
	}
	return r, nil
}

// Judge says whether the arms meet it. An arm that was not measured meets nothing.
func (r Requirement) Judge(arms []history.Arm) []history.Requirement {
	var all []history.Requirement
	for _, a := range arms {
		if r.arm != "" && r.arm != a.Name() && r.arm != a.Scenario {
			continue
		}
		one := history.Requirement{Says: strings.TrimSpace(r.says), Arm: Label(a, arms), Verdict: history.Violated}
		was := r.metric.of(a)
		switch {
		case a.Operations == 0:
			one.Was, one.Verdict = "not measured", history.Unknown
		case signs[r.sign](was, r.limit):
			one.Verdict = history.Held
		}
		if one.Was == "" {
			one.Was = r.metric.unit.words(was)
		}
		all = append(all, one)
	}
	if all == nil {
		all = []history.Requirement{{Says: strings.TrimSpace(r.says), Arm: r.arm, Was: "no such arm", Verdict: history.Unknown}}
	}
	return all
}

func (u unit) words(value float64) string {
	switch u {
	case nanoseconds:
		return history.Duration(value).Short()
	case perSecond:
		return fmt.Sprintf("%.0f/s", value)
	}
	return strconv.FormatFloat(value, 'f', -1, 64)
}

// Label names an arm among others: by its workload, and, where they differ in it, by its migration and its number of clients.
func Label(a history.Arm, among []history.Arm) string {
	label := a.Name()
	ats, clients := map[int64]bool{}, map[int]bool{}
	for _, other := range among {
		if other.Name() == a.Name() {
			ats[other.At], clients[other.Clients] = true, true
		}
	}
	all := map[int64]bool{}
	for _, other := range among {
		all[other.At] = true
	}
	if len(ats) > 1 || len(all) > 1 {
		label += fmt.Sprintf(" at %d", a.At)
	}
	if len(clients) > 1 {
		label += ", " + count(a.Clients)
	}
	return label
}
