package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
)

// costs is the table of what each defence costs.
func costs(scenario string, m history.Measurement) table {
	base := ""
	for _, a := range m.Arms {
		if a.Scenario == scenario && a.Base && base == "" {
			base = staged(cmp.Or(a.Variant, a.Scenario), a.At)
		}
	}
	compared := slices.ContainsFunc(m.Arms, func(a history.Arm) bool { return a.Scenario == scenario && a.Cost != nil })
	t := table{caption: say("%s: what it costs", scenario), head: []string{"", "operations/s", "median", "99 %", "invariants"}}
	if compared {
		t.head = slices.Insert(t.head, 4, "latency")
	}
	for _, a := range m.Arms {
		if a.Scenario != scenario {
			continue
		}
		name := armLabel(a, m)
		if a.Knee {
			name += " (the knee)"
		}
		latency := text{words: "–"}
		switch {
		case a.Base:
			latency.words = "1, the base"
		case a.Cost != nil:
			latency.words = interval(*a.Cost)
		}
		it := measured(a, m)
		row := []text{
			{words: name}, {words: rate(a.Throughput)}, {words: precise(a.Latency.P50)}, {words: precise(a.Latency.P99)}, {it.brief, it.tone},
		}
		if compared {
			row = slices.Insert(row, 4, latency)
		}
		t.rows = append(t.rows, row)
		if a.Says != "" && len(m.Shape.Clients) == 1 {
			t.notes = append(t.notes, say("%s: %s", armLabel(a, m), a.Says))
		}
	}
	if compared {
		t.notes = append(t.notes, say("latency: the mean, as a multiple of that of %s, with the interval in which it lies with 95 %% confidence", base))
	}
	return t
}

// fewArms is of how many arms each kind of operation is told; of more, the page and the run file tell.
const fewArms = 2

// kinds is the table of what one arm's operations were told, and how long each took.
func kinds(a history.Arm, m history.Measurement) table {
	t := table{caption: say("%s ", a.Scenario) + armLabel(a, m) + ": its operations", head: []string{"", "told", "how many", "a second", "median", "90 %", "99 %", "99.9 %", "most"}}
	for _, k := range a.Kinds {
		perSecond := 0.0
		if a.Measured > 0 {
			perSecond = float64(k.Count) / time.Duration(a.Measured).Seconds()
		}
		t.rows = append(t.rows, []text{
			{words: say("%s", k.Kind)},
			{words: say("%s", k.Outcome)},
			{words: thousands(k.Count)},
			{words: rate(perSecond)},
			{words: precise(k.Latency.P50)},
			{words: precise(k.Latency.P90)},
			{words: precise(k.Latency.P99)},
			{words: precise(k.Latency.P999)},
			{words: precise(k.Latency.Max)},
		})
	}
	return t
}

// served is the table of what came of each arm's operations, and of what the server did for them.
func served(scenario string, m history.Measurement) table {
	t := table{caption: say("%s: what came of it", scenario), head: []string{"", "refused", "failed", "retries", "deadlocks", "WAL an operation", "waited for"}}
	for _, a := range m.Arms {
		if a.Scenario != scenario {
			continue
		}
		wal := "–"
		if a.Operations > 0 {
			wal = size(a.Database.WALBytes / int64(a.Operations))
		}
		t.rows = append(t.rows, []text{
			{words: armLabel(a, m)},
			{words: portion(outcome(a, "conflict"), a.Operations)},
			{words: portion(outcome(a, "failed")+outcome(a, "unknown"), a.Operations)},
			{words: portion(a.Retries, a.Operations)},
			{words: thousands(int(a.Database.Deadlocks))},
			{words: wal},
			{words: waits(a.Database)},
		})
	}
	return t
}

// waits names what sessions were seen waiting for most often.
func waits(d history.DatabaseLoad) string {
	var parts []string
	for _, w := range d.Waits {
		if len(parts) == 2 || w.Share < 0.05 {
			break
		}
		if w.Type == "" {
			continue
		}
		parts = append(parts, say("%s", w.Type+"/"+w.Event)+fmt.Sprintf(" %.0f%s%%", 100*w.Share, nbsp))
	}
	if parts == nil {
		return "nothing much"
	}
	return strings.Join(parts, ", ")
}

// besides are the tables of what was required, of the comparison with an earlier run, and of the times without a server, as far as there are any.
func besides(m history.Measurement) (tables []table) {
	word := func(v history.Verdict, yes, no string) text {
		t := standingOf(v)
		return text{t.mark() + nbsp + map[tone]string{held: yes, bad: no, open: "unknown"}[t], t}
	}
	required := table{caption: "required", head: []string{"threshold", "arm", "was", ""}}
	for _, r := range m.Required {
		required.rows = append(required.rows, []text{{words: say("%s", r.Says)}, {words: say("%s", r.Arm)}, {words: say("%s", r.Was)}, word(r.Verdict, "met", "not met")})
	}
	tables = append(tables, required)
	if b := m.Baseline; b != nil {
		against := table{
			caption: say("latency against %s", b.File), head: []string{"arm, operation", "now over then", ""},
			notes: []string{"each as a multiple of the yardstick of its own turns; up to " + surcharge(1+b.Tolerance) + " is as good"},
		}
		for _, a := range b.Against {
			row := []text{{words: comparedName(a)}, {words: interval(a.Latency)}, word(a.Verdict, "as good", "slower")}
			if a.Why != "" {
				row[1], row[2] = text{words: "–"}, text{words: say("not compared: %s", a.Why)}
			}
			against.rows = append(against.rows, row)
		}
		tables = append(tables, against)
	}
	const most = 10
	away := table{caption: "when the server did not serve", head: []string{"arm", "from", "for", "failed", "why"}}
	for _, o := range m.Outages[:min(len(m.Outages), most)] {
		away.rows = append(away.rows, []text{
			{words: say("%s", o.Arm)}, {words: o.Began.Short()}, {words: (o.Ended - o.Began).Short()}, {words: thousands(o.Errors)}, {words: say("%s", o.Why)},
		})
	}
	if more := len(m.Outages) - most; more > 0 {
		away.notes = []string{count(more, "more is", "more are") + " in the run file"}
	}
	return slices.DeleteFunc(append(tables, away), func(t table) bool { return len(t.rows) == 0 })
}

// outcome counts the operations of an arm that were told so.
func outcome(a history.Arm, told string) (n int) {
	for _, k := range a.Kinds {
		if k.Outcome == told {
			n += k.Count
		}
	}
	return n
}

// interval returns a ratio with its interval, as "1.26 (1.22–1.31)".
func interval(r history.Ratio) string {
	return fmt.Sprintf("%.2f%s(%.2f–%.2f)", r.Value, nbsp, r.Low, r.High)
}

// surcharge returns a quotient as what it adds, as "+26 %".
func surcharge(ratio float64) string { return fmt.Sprintf("%+.0f%s%%", 100*(ratio-1), nbsp) }

// portion returns a part of a whole in per cent.
func portion(part, of int) string {
	switch {
	case part == 0 || of == 0:
		return "0"
	case part*1000 < of:
		return "< 0.1" + nbsp + "%"
	}
	return fmt.Sprintf("%.1f%s%%", 100*float64(part)/float64(of), nbsp)
}
