package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
)

// load adds the arms of a measurement to the story: a table of what each costs and one of what the server did, for each scenario.
func (s *story) load(run history.Run) func(tone) string {
	if run.Load == nil || len(run.Load.Arms) == 0 {
		return func(tone) string { return "Unknown: nothing was measured." }
	}
	m := *run.Load
	n := map[tone]int{}
	for _, a := range m.Arms {
		it := measured(a, m)
		n[it.tone]++
		s.items = append(s.items, it)
	}
	for _, scenario := range scenariosOf(m) {
		s.tables = append(s.tables, costs(scenario, m), served(scenario, m))
	}
	if len(m.Arms) <= fewArms {
		for _, a := range m.Arms {
			s.tables = append(s.tables, kinds(a, m))
		}
	}
	s.legend = loadLegend(m)
	missed := s.required(m)
	slower := s.baseline(m)
	s.tables = append(s.tables, besides(m)...)
	for _, lacking := range m.Lacking {
		s.legend = append(s.legend, say("Not measured: %s", lacking))
	}

	arms := count(len(m.Arms), "arm", "arms")
	through := ""
	if len(m.Outages) > 0 {
		through = ", through " + count(len(m.Outages), "outage", "outages")
	}
	return func(t tone) string {
		counts := fmt.Sprintf("%d of %s held", n[held], arms)
		if n[allowed] > 0 {
			counts += ", " + count(n[allowed], "broke where it may", "broke where they may")
		}
		if n[open] > 0 {
			counts += fmt.Sprintf(", %d unknown", n[open])
		}
		switch {
		case n[bad] > 0:
			return fmt.Sprintf("Violated: %d of %s; %s.", n[bad], arms, counts)
		case missed > 0 || slower > 0:
			var what []string
			if missed > 0 {
				what = append(what, count(missed, "requirement is", "requirements are")+" not met")
			}
			if slower > 0 {
				what = append(what, count(slower, "arm is", "arms are")+" slower than in the baseline")
			}
			return "Not as required: " + list(what) + "; " + counts + "."
		case t == bad:
			return "Violated on the whole: " + counts + "."
		case t == open:
			return "Unknown: " + counts + "."
		}
		return "Held under load: " + counts + through + "."
	}
}

// scenariosOf returns the scenarios that were measured, in their order.
func scenariosOf(m history.Measurement) (names []string) {
	for _, a := range m.Arms {
		if !slices.Contains(names, a.Scenario) {
			names = append(names, a.Scenario)
		}
	}
	return names
}

// armLabel names an arm within its scenario, as "constraint at 3"; clients are named where they differ.
func armLabel(a history.Arm, m history.Measurement) string {
	name := cmp.Or(a.Variant, a.Scenario)
	if a.At != 0 {
		name += fmt.Sprintf(" at %d", a.At)
	}
	if len(m.Shape.Clients) > 1 {
		name += ", " + count(a.Clients, "client", "clients")
	}
	return say("%s", name)
}

// measured returns an arm as an item.
func measured(a history.Arm, m history.Measurement) item {
	it := item{group: say("%s", a.Scenario), name: say("%s ", a.Scenario) + armLabel(a, m), tone: held, took: a.Measured}
	var broken, may []string
	for _, j := range a.Invariants {
		switch attitude(j) {
		case bad:
			broken = append(broken, say("%s", j.Invariant))
			it.notes = append(it.notes, say("%s broken", j.Invariant)+says(j.Says))
			it.tone = bad
		case allowed, caught:
			may = append(may, say("%s", j.Invariant))
			it.tone = max(it.tone, allowed)
		case plain, held:
		case open:
			it.tone = max(it.tone, open)
		}
	}
	if a.Trouble != "" || a.Verdict != history.Held && a.Verdict != history.Violated {
		it.tone = max(it.tone, open)
	}
	switch it.tone {
	case bad:
		it.brief = it.tone.mark() + nbsp + strings.Join(broken, ", ") + " broken"
	case open:
		it.brief, it.notes = "? unknown", append(it.notes, "unknown: "+cmp.Or(say("%s", a.Trouble), "not judged"))
	case allowed:
		it.brief = it.tone.mark() + nbsp + strings.Join(may, ", ") + " broken, as it may"
	default:
		var names []string
		for _, j := range a.Invariants {
			names = append(names, say("%s", j.Invariant))
		}
		it.brief = held.mark() + nbsp + strings.Join(names, " ")
		if len(names) == 0 {
			it.tone, it.brief = plain, "none"
		}
	}
	for _, v := range a.Violations {
		i := slices.IndexFunc(a.Invariants, func(j history.Judgement) bool { return j.Invariant == v.Invariant })
		if i >= 0 && a.Invariants[i].AsExpected() {
			continue
		}
		it.proofs = append(it.proofs, proof{
			tone: bad, title: it.name + say(": %s broken, %s", v.Invariant, v.Moment), tables: []table{rows(say("%s: ", v.Invariant), v.Rows)},
		})
	}
	return it
}

// costs is the table of what each defence costs.
func costs(scenario string, m history.Measurement) table {
	base := ""
	for _, a := range m.Arms {
		if a.Scenario == scenario && a.Base && base == "" {
			base = cmp.Or(a.Variant, a.Scenario)
			if a.At != 0 {
				base += fmt.Sprintf(" at %d", a.At)
			}
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

// loadLegend says how it was measured.
func loadLegend(m history.Measurement) []string {
	turns := 0
	for _, a := range m.Arms {
		turns = max(turns, len(a.Slices))
	}
	lines := []string{say("All took turns: %s of %s each, in shuffled order.", count(turns, "slice", "slices"), time.Duration(m.Shape.Slice))}
	if best := cheapest(m); best != "" {
		lines = append(lines, best)
	}
	if m.Harness.Wall > 0 {
		lines = append(lines, fmt.Sprintf("Interlock itself took %.0f %% of the processors.", 100*m.Harness.Share))
	}
	return lines
}

// cheapest says which defence that holds costs least, for each scenario.
func cheapest(m history.Measurement) string {
	var parts []string
	for _, scenario := range scenariosOf(m) {
		var best *history.Arm
		for i, a := range m.Arms {
			must := slices.ContainsFunc(a.Invariants, func(j history.Judgement) bool { return j.Expected != history.MustHold })
			if a.Scenario != scenario || a.Cost == nil || a.Verdict != history.Held || must {
				continue
			}
			if best == nil || a.Cost.Value < best.Cost.Value {
				best = &m.Arms[i]
			}
		}
		if best != nil {
			parts = append(parts, say("%s for %s", armLabel(*best, m), scenario)+" ("+surcharge(best.Cost.Value)+")")
		}
	}
	if parts == nil {
		return ""
	}
	return "The cheapest that must hold, and did: " + strings.Join(parts, ", ") + "."
}

// required adds the thresholds to the story and returns how many are not met.
func (s *story) required(m history.Measurement) (missed int) {
	for _, r := range m.Required {
		it := item{group: "required", name: say("%s, %s", r.Says, r.Arm), tone: standingOf(r.Verdict)}
		if it.tone != held {
			it.notes = []string{say("it was %s", r.Was)}
		}
		if it.tone == bad {
			missed++
		}
		s.items = append(s.items, it)
	}
	return missed
}

// baseline adds the comparison with an earlier run to the story and returns how many arms are slower.
func (s *story) baseline(m history.Measurement) (slower int) {
	if m.Baseline == nil {
		return 0
	}
	for _, a := range m.Baseline.Against {
		if a.Why != "" { // the table says so
			continue
		}
		it := item{group: "baseline", name: say("%s against the baseline", a.Arm), tone: standingOf(a.Verdict)}
		if it.tone == bad {
			slower++
			it.notes = []string{"slower: " + interval(a.Latency)}
		}
		s.items = append(s.items, it)
	}
	return slower
}

// standingOf is how a verdict on what need not be explained is to be taken.
func standingOf(v history.Verdict) tone {
	switch v {
	case history.Held:
		return held
	case history.Violated:
		return bad
	}
	return open
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
			caption: say("latency against %s", b.File), head: []string{"arm", "now over then", ""},
			notes: []string{"each as a multiple of the yardstick of its own turns; up to " + surcharge(1+b.Tolerance) + " is as good"},
		}
		for _, a := range b.Against {
			row := []text{{words: say("%s", a.Arm)}, {words: interval(a.Latency)}, word(a.Verdict, "as good", "slower")}
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

// loadHeads says what load was put on.
func loadHeads(first string, run history.Run) []string {
	if run.Load == nil {
		return []string{first}
	}
	shape := run.Load.Shape
	var clients []string
	for _, n := range shape.Clients {
		clients = append(clients, fmt.Sprint(n))
	}
	most := clients
	if len(clients) > 4 {
		most = append(append(slices.Clone(clients[:2]), "…"), clients[len(clients)-1])
	}
	loop := list(most) + " clients, each as fast as it is answered"
	if len(shape.Clients) == 1 {
		loop = count(shape.Clients[0], "client", "clients") + ", each as fast as it is answered"
	}
	if shape.Rate > 0 {
		loop = say("%s operations a second arrive (%s)", rate(shape.Rate), shape.Arrivals) + ", at most " + list(most) + " at once"
	}
	popularity := "all alike"
	if shape.Zipf > 0 {
		popularity = fmt.Sprintf("Zipf %g", shape.Zipf)
	}
	return []string{first, fmt.Sprintf("load: %s · %s, %s · %s in each table", loop, count(shape.Devices, "device", "devices"), popularity, thousands(shape.Rows)+" rows")}
}
