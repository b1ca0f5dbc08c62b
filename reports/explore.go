package reports

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
)

// explore adds the cells of an exploration to the story: an item for each invariant, a table of what was covered for each cell. What breaks is
// not as it must be, whatever a run would expect of it.
func (s *story) explore(run history.Run) func(tone) string {
	s.verdictFirst = true
	n := map[tone]int{}
	sentence := ""
	for _, cell := range run.Cells {
		var worst tone
		worst, sentence = s.explored(cell, command(run.Command))
		s.tables = append(s.tables, covered(cell, worst, sentence, len(run.Cells) > 1))
		n[worst]++
	}
	return func(t tone) string {
		cells := count(len(run.Cells), "cell", "cells")
		switch {
		case len(run.Cells) == 0:
			return "Unknown: nothing was explored."
		case len(run.Cells) == 1 && n[t] == 1:
			return sentence + "."
		case t == bad:
			return fmt.Sprintf("Violated: %d of %s; %d held, %d unknown.", n[bad], cells, n[held], n[open])
		case t == open:
			return fmt.Sprintf("Unknown: %d of %s; %d held.", n[open], cells, n[held])
		}
		return fmt.Sprintf("All interleavings hold: %s.", cells)
	}
}

// explored adds the invariants of a cell to the story and returns the verdict on the cell, also as a sentence.
func (s *story) explored(c history.Cell, again string) (worst tone, sentence string) {
	worst = held
	var broken, holds, unsure []string
	for i, j := range c.Invariants {
		it := item{group: place(c), name: place(c) + say(" %s", j.Invariant), tone: open}
		if i == 0 {
			for _, e := range c.Explorations {
				it.took += e.Elapsed
			}
		}
		switch {
		case j.Verdict == history.Violated:
			it.tone, it.brief = bad, "!! broken"
			it.notes = []string{often(j, c) + says(j.Says)}
			it.proofs = proofs(c, j, again)
			broken = append(broken, say("%s", j.Invariant))
		case j.Verdict == history.Held && complete(c) && c.Trouble == "":
			it.tone, it.brief = held, "✓ "+extent(c)
			holds = append(holds, say("%s", j.Invariant))
		case j.Orders > 0:
			it.brief, it.notes = "? unknown", []string{"unknown: " + often(j, c) + ", which did not happen again each time" + says(c.Trouble)}
			it.proofs = proofs(c, j, again)
			unsure = append(unsure, say("%s", j.Invariant))
		default:
			it.brief, it.notes = "? unknown", []string{"unknown: " + cmp.Or(say("%s", c.Trouble), ended(c))}
			unsure = append(unsure, say("%s", j.Invariant))
		}
		worst = max(worst, it.tone)
		s.items = append(s.items, it)
	}
	switch settled := complete(c) && c.Trouble == ""; {
	case len(c.Invariants) == 0 && settled && c.Verdict == history.Held:
		s.items = append(s.items, item{group: place(c), name: place(c), tone: held, brief: "✓ " + extent(c)})
	case len(c.Invariants) == 0 || worst == held && c.Verdict != history.Held:
		s.items = append(s.items, item{group: place(c), name: place(c), tone: open, brief: "? unknown", notes: []string{"not judged"}})
		worst = open
	}

	switch worst {
	case bad:
		sentence = "Violated"
		if e, ok := violating(c); ok {
			sentence += fmt.Sprintf(" in %s of %s", thousands(e.Violating), interleavings(e))
		}
		sentence += ": " + list(broken) + " broken"
		switch len(holds) {
		case 0:
		case 1:
			sentence += ", " + holds[0] + " holds"
		default:
			sentence += ", " + list(holds) + " hold"
		}
		if unsure != nil {
			sentence += ", " + list(unsure) + " unknown"
		}
	case held:
		for _, e := range c.Explorations {
			switch {
			case !e.Complete:
			case sentence == "" && len(c.Invariants) == 0:
				sentence = "All " + interleavings(e) + " were run" + classes(e) + ", and there is no invariant for them to hold"
			case sentence == "" && e.Executed == 1:
				sentence = "The only interleaving of " + count(e.Clients, "client", "clients") + " holds" + classes(e)
			case sentence == "":
				sentence = "All " + interleavings(e) + " hold" + classes(e)
			default:
				sentence += ", and all " + thousands(e.Executed) + " of " + count(e.Clients, "client", "clients")
			}
		}
	default:
		sentence = "Unknown: " + stopped(c)
	}
	return worst, sentence
}

// interleavings counts those that were run, as "4 interleavings of 2 clients".
func interleavings(e history.Exploration) string {
	many := " interleavings"
	if e.Executed == 1 {
		many = " interleaving"
	}
	return thousands(e.Executed) + many + " of " + count(e.Clients, "client", "clients")
}

// classes says what those that were run stand for.
func classes(e history.Exploration) string {
	var parts []string
	if e.Possible != "" && e.Possible != fmt.Sprint(e.Executed) {
		parts = append(parts, "of "+grouped(e.Possible)+" possible")
	}
	if e.Faults != nil {
		var names []string
		for _, f := range e.Faults {
			names = append(names, say("%s", string(f)))
		}
		parts = append(parts, "with and without "+strings.Join(names, ", "))
	}
	if e.Strategy == "reduced" {
		parts = append(parts, "1 for each class that Postgres can tell apart")
	}
	if parts == nil {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}

// complete reports whether there is a number of clients for which all orders were covered.
func complete(c history.Cell) bool {
	return slices.ContainsFunc(c.Explorations, func(e history.Exploration) bool { return e.Complete })
}

// sampled reports whether the cell's explorations were not meant to go through all orders, so that what holds rests on rounds.
func sampled(c history.Cell) bool {
	gap := slices.ContainsFunc(c.Explorations, func(e history.Exploration) bool { return !e.Sample || e.Trouble != "" || e.Executed == 0 })
	return len(c.Explorations) > 0 && !gap && c.Coverage.Rounds > 0
}

// violating returns the exploration of a cell that found something; of several, all of them together.
func violating(c history.Cell) (all history.Exploration, ok bool) {
	for _, e := range c.Explorations {
		switch {
		case e.Violating <= 0:
		case !ok:
			all, ok = e, true
		default:
			all.Executed += e.Executed
			all.Violating += e.Violating
			all.Complete = all.Complete && e.Complete
			all.Clients = max(all.Clients, e.Clients)
		}
	}
	return all, ok
}

// unfinished returns the first exploration of a cell that did not come to its end.
func unfinished(c history.Cell) (history.Exploration, bool) {
	i := slices.IndexFunc(c.Explorations, func(e history.Exploration) bool { return !e.Complete })
	if i < 0 {
		return history.Exploration{}, false
	}
	return c.Explorations[i], true
}

// ended says how far a cell that is not settled was explored.
func ended(c history.Cell) string {
	if e, ok := unfinished(c); ok {
		return "stopped after " + interleavings(e)
	} else if len(c.Explorations) == 0 {
		return "nothing was explored"
	}
	return "not judged"
}

// stopped says why a cell is not settled.
func stopped(c history.Cell) string {
	words := ended(c)
	if e, ok := unfinished(c); ok {
		if e.Possible != "" {
			words += " (of " + grouped(e.Possible) + " possible)"
		}
		if e.Violating == 0 {
			words += ", nothing found so far"
		} else {
			words += breaches(c) + " something was broken that did not happen again each time"
		}
		if e.Trouble != "" {
			words += say(": %s", e.Trouble)
		}
	}
	if c.Trouble != "" {
		return words + say("; %s", c.Trouble)
	}
	return words + "; try more of it (interlock explore, with --limit and --for)"
}

// extent says what a cell held in, as "all 207" or "60 rounds". Clients are named where they are not two.
func extent(c history.Cell) string {
	if !complete(c) {
		tried := count(c.Coverage.Rounds, "round", "rounds")
		if sampled(c) {
			orders := 0
			for _, e := range c.Explorations {
				orders += e.Executed
			}
			tried += ", " + count(orders, "order", "orders")
		}
		return strings.ReplaceAll(tried, " ", nbsp)
	}
	var parts []string
	for i, e := range c.Explorations {
		part := thousands(e.Executed) + with(e)
		switch {
		case i == 0 && e.Complete:
			part = "all " + part
		case !e.Complete:
			part = "first " + part
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

// with names the clients of an exploration where they are not two.
func with(e history.Exploration) string {
	if e.Clients == 2 {
		return ""
	}
	return " with " + count(e.Clients, "client", "clients")
}

// breaches says how much of an exploration is violated, as " in 2 of 4"; nothing where none is.
func breaches(c history.Cell) string {
	e, ok := violating(c)
	if !ok {
		return ""
	}
	words := fmt.Sprintf(" in %s of %s", thousands(e.Violating), thousands(e.Executed))
	if !e.Complete {
		words += " tried"
	}
	return words + with(e)
}

// covered returns what was tried of a cell, as a table under its verdict.
func covered(c history.Cell, worst tone, sentence string, several bool) table {
	t := table{caption: place(c) + says(c.Says)}
	if len(c.Explorations) > 0 {
		t.head = []string{"clients", "strategy", "possible", "run", "violating", "complete", "a second"}
	}
	if several {
		t.caption += "\n" + worst.mark() + nbsp + sentence
	}
	for _, e := range c.Explorations {
		second := "–"
		if each := float64(e.Executed) / time.Duration(e.Elapsed).Seconds(); e.Elapsed > 0 && each < 10 {
			second = fmt.Sprintf("%.1f", each)
		} else if e.Elapsed > 0 {
			second = thousands(int(each))
		}
		yes := text{"no", open}
		if e.Complete {
			yes = text{"yes", held}
		}
		wrong := text{words: "none"}
		if e.Violating > 0 {
			wrong = text{thousands(e.Violating), bad}
		}
		t.rows = append(t.rows, []text{
			{words: fmt.Sprint(e.Clients)},
			{words: say("%s", e.Strategy)},
			{words: grouped(cmp.Or(e.Possible, "not known"))},
			{words: thousands(e.Executed)},
			wrong, yes,
			{words: second},
		})
		for _, note := range limits(e) {
			if len(c.Explorations) > 1 {
				note = count(e.Clients, "client", "clients") + ": " + note
			}
			t.notes = append(t.notes, note)
		}
	}
	return t
}

// limits says what an exploration came to besides its verdict, and what it leaves open.
func limits(e history.Exploration) []string {
	var notes []string
	var told []string
	for _, outcome := range slices.SortedFunc(maps.Keys(e.Outcomes), func(a, b string) int {
		return cmp.Or(e.Outcomes[b]-e.Outcomes[a], strings.Compare(a, b))
	}) {
		told = append(told, thousands(e.Outcomes[outcome])+say(" × %s", outcome))
	}
	if told != nil {
		notes = append(notes, "told "+strings.Join(told, " · "))
	}
	if e.Asleep > 0 {
		notes = append(notes, thousands(e.Asleep)+" more were cut short, being like one that was run")
	}
	if e.Strategy == "all" && !e.Complete && e.Preemptions >= 0 {
		notes = append(notes, "every order with at most "+count(e.Preemptions, "preemption", "preemptions")+" was run")
	}
	if e.Bound > 0 {
		notes = append(notes, fmt.Sprintf("one run finds a race of the depth looked for with a chance of at least 1 in %s", thousands(int(1/e.Bound+0.5))))
	}
	if e.WakeOrders > 0 {
		notes = append(notes, count(e.WakeOrders, "release", "releases")+" set several waiting clients free at once: they went on in the order in which they "+
			"had begun to wait, and other orders were not tried")
	}
	if e.Settle > 0 {
		notes = append(notes, ofApplication(e)...)
	}
	if e.Trouble != "" && e.Violating > 0 {
		notes = append(notes, say("ended early: %s", e.Trouble))
	}
	return notes
}

// ofApplication says what was seen of an application beside its clients' statements, and what that leaves open.
func ofApplication(e history.Exploration) []string {
	var notes []string
	if e.Starting > 0 {
		notes = append(notes, "the application was up and rehearsed after "+e.Starting.Short())
	}
	if e.Thought > 0 {
		notes = append(notes, fmt.Sprintf("%s the application neither asked the database nor answered for %s (settle): others went on meanwhile", times(e.Thought), e.Settle.Short()))
	}
	if sent := counted(e.Background); sent != "" {
		notes = append(notes, "no client's, and let through: "+sent)
	}
	if sent := counted(e.Frozen); sent != "" {
		notes = append(notes, "no client's, and frozen until the clients were done: "+sent)
	}
	if e.Silent != nil {
		notes = append(notes, "for "+list(e.Silent)+" the application never asked the database: does it get what it should?")
	}
	return notes
}

// counted lists statements with how often they came.
func counted(statements map[string]int) string {
	var all []string
	for _, sql := range slices.Sorted(maps.Keys(statements)) {
		all = append(all, say("%s", sql)+" ("+times(statements[sql])+")")
	}
	return strings.Join(all, "; ")
}

// times counts occasions.
func times(n int) string {
	if n == 1 {
		return "once"
	}
	return thousands(n) + " times"
}
