package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

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
				what = append(what, count(slower, "kind of operation is", "kinds of operations are")+" slower than in the baseline")
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
	return legendOf(staged(cmp.Or(a.Variant, a.Scenario), a.At), a, len(m.Shape.Clients) > 1)
}

// armName names an arm among all, as "sessions/constraint at 3".
func armName(a history.Arm) string { return staged(a.Name(), a.At) }

// legendName is armName, with the clients if they differ.
func legendName(a history.Arm, ramp bool) string { return legendOf(armName(a), a, ramp) }

func legendOf(name string, a history.Arm, ramp bool) string {
	if ramp {
		name += ", " + count(a.Clients, "client", "clients")
	}
	return name
}

// staged adds to a name the migration at which it is measured.
func staged(name string, at int64) string {
	if at == 0 {
		return say("%s", name)
	}
	return say("%s at %d", name, at)
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

// loadLegend says how it was measured.
func loadLegend(m history.Measurement) []string {
	turns := 0
	for _, a := range m.Arms {
		turns = max(turns, len(a.Slices))
	}
	lines := []string{say("All took turns: %s of %s each, in shuffled order, after %s of warm-up.", count(turns, "slice", "slices"), m.Shape.Slice.Short(), m.Shape.Warmup.Short())}
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

// baseline adds the comparison with an earlier run to the story and returns how many are slower.
func (s *story) baseline(m history.Measurement) (slower int) {
	if m.Baseline == nil {
		return 0
	}
	for _, a := range m.Baseline.Against {
		if a.Why != "" { // the table says so
			continue
		}
		it := item{group: "baseline", name: comparedName(a) + " against the baseline", tone: standingOf(a.Verdict)}
		if it.tone == bad {
			slower++
			it.notes = []string{"slower: " + interval(a.Latency)}
		}
		s.items = append(s.items, it)
	}
	return slower
}

// comparedName names what is compared with a baseline, as "sessions/constraint: create".
func comparedName(a history.BaselineArm) string {
	if a.Kind == "" {
		return say("%s", a.Arm)
	}
	return say("%s: %s", a.Arm, a.Kind)
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
	if shape.Devices == 0 {
		return []string{first, "load: " + loop + " · an application, asked what its target file says"}
	}
	return []string{first, fmt.Sprintf("load: %s · %s, %s · %s in each table", loop, count(shape.Devices, "device", "devices"), popularity, thousands(shape.Rows)+" rows")}
}
