package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// race adds the cells of a run to the story. It returns what words the headline.
func (s *story) race(run history.Run) func(tone) string {
	rounds := span{}
	for _, cell := range run.Cells {
		it := judge(cell, command(run.Command))
		s.items = append(s.items, it)
		if it.tone == held && !complete(cell) {
			rounds.add(cell.Coverage.Rounds)
		}
	}
	s.tables = grids(run, s.items)
	s.legend = legend(run, s.items, rounds)

	n := map[tone]int{}
	for _, it := range s.items {
		n[it.tone]++
	}
	all, again := len(s.items), s.saved(run)
	counts := count(n[caught], "negative control", "negative controls") + " caught, " + count(n[held], "cell", "cells") + " held, "
	if n[allowed] > 0 {
		counts += fmt.Sprintf("%d broke where they may, ", n[allowed])
	}
	counts += fmt.Sprintf("%d unknown", n[open])
	return func(t tone) string {
		switch {
		case all == 0:
			return "Unknown: nothing was run."
		case again > 0 && n[bad] == 0:
			return "Not as expected: " + count(again, "saved counterexample is", "saved counterexamples are") + " reproduced; " + counts + "."
		case t == bad && n[bad] > 0:
			return fmt.Sprintf("Not as expected: %d of %s; %s.", n[bad], count(all, "cell", "cells"), counts)
		case t == bad:
			return "Not as expected, though each cell is: " + counts + "."
		case t == open && n[open] > 0:
			return fmt.Sprintf("Unknown: %d of %s; %s.", n[open], count(all, "cell", "cells"), counts)
		case t == open:
			return "Unknown on the whole: " + counts + "."
		}
		return "As expected: " + counts + "."
	}
}

// place names a cell, as "sessions/none at 2".
func place(c history.Cell) string {
	if c.At == 0 {
		return say("%s", c.Name())
	}
	return say("%s at %d", c.Name(), c.At)
}

// attitude returns how a verdict on an invariant is to be taken.
func attitude(j history.Judgement) tone {
	switch {
	case j.Verdict == history.Violated && j.Expected == history.MustBreak:
		return caught
	case j.Verdict == history.Violated && j.Expected == history.MayBreak:
		return allowed
	case j.Verdict == history.Held && j.Expected == history.MustBreak, j.Verdict == history.Violated:
		return bad
	case j.Verdict == history.Held:
		return held
	}
	return open
}

// judge returns a cell as an item. What is unknown never passes for held, whatever else the cell claims. Again is the command of the run.
func judge(c history.Cell, again string) item {
	it := item{group: say("%s", c.Scenario), name: place(c), tone: held, took: c.Coverage.Elapsed}
	rounds := count(c.Coverage.Rounds, "round", "rounds")
	var broken, missed, broke, holds, unsure []string
	for _, j := range c.Invariants {
		name := say("%s", j.Invariant)
		t := attitude(j)
		switch {
		case t == bad && j.Verdict == history.Violated:
			broken = append(broken, name)
			it.notes = append(it.notes, name+" "+often(j, c)+says(j.Says))
			it.proofs = append(it.proofs, proofs(c, j, again)...)
		case t == bad:
			missed = append(missed, name)
		case t == caught, t == allowed:
			broke = append(broke, name)
		case t == held && j.Expected == history.MustHold:
			holds = append(holds, name)
		case t == open:
			unsure = append(unsure, name)
		}
		it.tone = max(it.tone, t)
	}
	if missed != nil {
		tried, so := rounds, "this run could not have found the race; try more of it (--rounds, --for, --clients)"
		if complete(c) {
			tried, so = "any interleaving of so many clients", "there is no race in this scenario; try more clients (--clients)"
		}
		it.notes = append(it.notes, strings.Join(missed, ", ")+" did not break in "+tried+", and as a negative control must: "+so)
	}

	unknown, seen := "", "? unknown"
	switch {
	case c.Trouble != "":
		unknown = say("not judged: %s", c.Trouble)
	case len(c.Invariants) == 0:
		unknown = "no invariant was judged"
	case len(c.Explorations) > 0 && !complete(c) && !sampled(c) && (it.tone == held || it.tone == open):
		unknown = strings.TrimPrefix(strings.Join(unsure, ", ")+": "+stopped(c), ": ")
		unsure = nil
		seen = "? stopped after " + thousands(c.Explorations[0].Executed)
	case it.tone == open:
		unknown = strings.Join(unsure, ", ") + ": too little evidence in " + rounds + "; try more of it (--rounds, --for)"
	case c.Coverage.Rounds <= 0 && len(c.Explorations) == 0 && it.tone < open:
		unknown = "no round was run"
	case c.Verdict != history.Held && c.Verdict != history.Violated:
		unknown = say("the cell's verdict is %q", string(c.Verdict))
	}
	if unknown != "" {
		it.tone = max(it.tone, open)
		it.notes = append(it.notes, unknown)
	} else if !c.AsExpected && it.tone < open {
		it.tone = bad
		it.notes = append(it.notes, "the cell is marked as not as expected, and its invariants do not say why")
	}

	parts := slices.DeleteFunc([]string{
		named("!!", broken, "broken"+breaches(c)), named("!!", missed, "not caught"), named("✗", broke, strings.TrimSpace(breaches(c))),
		named("✓", holds, ""), named("?", unsure, ""),
	}, func(s string) bool { return s == "" })
	switch {
	case it.tone == open:
		parts = slices.Insert(parts, 0, seen)
	case it.tone == bad && broken == nil && missed == nil:
		parts = slices.Insert(parts, 0, "!! unexpected")
	}
	for i, part := range parts {
		parts[i] = strings.ReplaceAll(part, " ", nbsp)
	}
	it.brief = strings.Join(parts, "  ")
	if it.tone == held {
		it.brief = "✓" + nbsp + extent(c)
	}
	return it
}

// named returns names behind their mark; nothing where there are none.
func named(mark string, names []string, words string) string {
	if names == nil {
		return ""
	}
	return strings.TrimRight(mark+" "+strings.Join(names, " ")+" "+words, " ")
}

func says(sentence string) string {
	if sentence == "" {
		return ""
	}
	return say(": %s", sentence)
}

// often says how often an invariant was broken.
func often(j history.Judgement, c history.Cell) string {
	rounds := fmt.Sprintf("%d of %s", j.Broken, count(c.Coverage.Rounds, "round", "rounds"))
	if e, ok := violating(c); ok && j.Orders > 0 {
		s := fmt.Sprintf("broken in %s of %s", thousands(j.Orders), interleavings(e))
		if j.Broken > 0 {
			s += ", and in " + rounds + " of stress"
		}
		return s
	}
	s := "broken in " + rounds
	if j.First > 0 {
		s += fmt.Sprintf(", first in round %d", j.First)
	}
	if j.FirstAt > 0 {
		s += " after " + j.FirstAt.Short()
	}
	return s
}

// grids returns one table a scenario: a row for each defence, a column for each migration.
func grids(run history.Run, items []item) []table {
	versions := columns(run)
	label := map[int64]string{}
	for _, m := range run.Migrations {
		label[m.Version] = m.Label
	}
	head := []string{"defence"}
	for _, v := range versions {
		if v == 0 {
			head = append(head, "result")
		} else {
			head = append(head, strings.TrimSpace(say("at %d %s", v, label[v])))
		}
	}

	var tables []table
	index := map[string]int{} // by scenario
	type key struct{ scenario, variant string }
	rows := map[key]int{}
	for i, cell := range run.Cells {
		n, ok := index[cell.Scenario]
		if !ok {
			n = len(tables)
			index[cell.Scenario] = n
			caption := say("%s", cell.Scenario)
			if len(cell.Invariants) > 0 {
				caption += says(cell.Invariants[0].Says)
			}
			tables = append(tables, table{caption: caption, head: head})
		}
		t := &tables[n]
		k := key{cell.Scenario, cell.Variant}
		column := 1 + slices.Index(versions, cell.At)
		row, ok := rows[k]
		if !ok || t.rows[row][column].tone != plain { // a second cell for the same place has a row of its own
			row = len(t.rows)
			rows[k] = row
			t.rows = append(t.rows, slices.Repeat([]text{{words: "– not" + nbsp + "run"}}, len(head)))
			t.rows[row][0] = text{words: say("%s", cmp.Or(cell.Variant, "as it is")) + says(cell.Says)}
		}
		t.rows[row][column] = text{items[i].brief, items[i].tone}
	}
	return tables
}

// columns returns the migrations at which anything was run: in the order of application, then those that the run does not list.
func columns(run history.Run) []int64 {
	seen := map[int64]bool{}
	for _, cell := range run.Cells {
		seen[cell.At] = true
	}
	var versions, rest []int64
	for _, m := range run.Migrations {
		if seen[m.Version] {
			versions = append(versions, m.Version)
			delete(seen, m.Version)
		}
	}
	for v := range seen {
		rest = append(rest, v)
	}
	slices.Sort(rest)
	return append(versions, rest...)
}

// span is the smallest and the largest of some numbers.
type span struct{ low, high int }

func (s *span) add(n int) {
	if s.high == 0 || n < s.low {
		s.low = n
	}
	s.high = max(s.high, n)
}

// heldIn says what it means that a cell held. Rounds are those of the cells that stress alone has tried.
func heldIn(run history.Run, items []item, rounds span) (lines []string) {
	proven, reduced, clients, besides := 0, true, span{}, 0
	for i, cell := range run.Cells {
		if items[i].tone == held && complete(cell) {
			proven++
			clients.add(cell.Explorations[0].Clients)
			reduced = reduced && cell.Explorations[0].Strategy == "reduced"
			besides = max(besides, cell.Coverage.Rounds)
		}
	}
	if proven > 0 {
		line := "✓" + nbsp + "all" + nbsp + "N" + nbsp + nbsp + "holds in every interleaving"
		if clients.low == clients.high {
			line += " of " + count(clients.low, "client", "clients") + " (more where said)"
		}
		if reduced {
			line += ": one was run of each class that Postgres can tell apart"
		}
		if besides > 0 {
			line += "; and in " + count(besides, "round", "rounds") + " of stress"
		}
		lines = append(lines, line)
	}
	if rounds.high > 0 {
		n := count(rounds.high, "round", "rounds")
		if rounds.low < rounds.high {
			n = fmt.Sprintf("%d to %d rounds", rounds.low, rounds.high)
		}
		if slices.ContainsFunc(run.Cells, sampled) {
			n += " of stress, and in the orders that there was time for"
		} else {
			n += " of stress"
		}
		lines = append(lines, "✓"+nbsp+nbsp+"held in "+n+": no proof")
	}
	return lines
}

// legend says what the tables' marks and names mean, those that occur.
func legend(run history.Run, items []item, rounds span) []string {
	var lines []string
	known := map[string]bool{}
	for _, cell := range run.Cells {
		for _, j := range cell.Invariants {
			if !known[j.Invariant] && j.Says != "" {
				known[j.Invariant] = true
				lines = append(lines, say("%s", j.Invariant)+nbsp+nbsp+say("%s", j.Says))
			}
		}
	}
	slices.Sort(lines)

	has := map[tone]bool{}
	for _, it := range items {
		has[it.tone] = true
	}
	if has[held] {
		lines = append(lines, heldIn(run, items, rounds)...)
	}
	if has[caught] {
		lines = append(lines, "✗"+nbsp+nbsp+"a negative control, caught: it broke, as it must where no defence works (see the run file)")
	}
	if has[allowed] {
		lines = append(lines, "✗"+nbsp+nbsp+"broke where it may: nothing is asked of it here")
	}
	if has[open] {
		lines = append(lines, "?"+nbsp+nbsp+"unknown: too little evidence to say; why, is below")
	}
	if has[bad] {
		lines = append(lines, "!!"+nbsp+"not as it must be: broken where it must hold, or a negative control that was not caught")
	}
	return lines
}
