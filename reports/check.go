package reports

import (
	"fmt"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// check adds the invariants and indexes of a checked database to the story.
func (s *story) check(run history.Run) func(tone) string {
	if run.Check == nil {
		return func(tone) string { return "Unknown: nothing was checked." }
	}
	found, violated := s.invariants(*run.Check, command(run.Command))
	found = append(found, s.indexes(*run.Check)...)
	return func(t tone) string {
		lead := "Holds at this moment"
		switch {
		case t == bad && violated:
			lead = "Violated"
		case t == bad:
			lead = "Not as it must be"
		case t == open:
			lead = "Unknown"
		}
		return lead + ": " + strings.Join(found, ", ") + "."
	}
}

// invariants adds what was found of each invariant, in the order of their names, and says whether one is broken. Again is the command that looks once more.
func (s *story) invariants(check history.Check, again string) (found []string, violated bool) {
	verdicts := table{caption: "invariants", head: []string{"invariant", "verdict", "took"}}
	for _, one := range check.Invariants {
		it := item{group: "invariants", name: say("%s", one.Invariant), took: one.Elapsed}
		title := it.name + says(one.Says)
		broken := count(max(one.Rows.Total, len(one.Rows.Rows)), "row", "rows")
		if g := one.Groups; g != nil {
			broken = count(g.Total, "group", "groups") + " of " + count(g.Members, "row", "rows")
		}
		word := "unknown"
		switch one.Verdict {
		case history.Held:
			it.tone, it.brief, word = held, "✓ holds", "holds"
		case history.Violated:
			violated = true
			it.tone, it.brief, word = bad, "!! broken by "+broken, "broken by "+broken
			it.notes = []string{"broken by " + broken + says(one.Says)}
			it.proofs = []proof{{
				tone: bad, title: title, facts: period(one.Groups), tables: []table{rows(it.name+": ", one.Rows)}, again: again,
			}}
		default:
			it.tone, it.brief = open, "? unknown"
			it.notes = []string{"unknown" + says(one.Why)}
		}
		found = append(found, it.name+" "+word)
		verdicts.rows = append(verdicts.rows, []text{{words: title}, {it.brief, it.tone}, {words: one.Elapsed.Short()}})
		s.items = append(s.items, it)
	}
	s.tables = append(s.tables, verdicts)
	return found, violated
}

// indexes adds what is wrong with indexes and constraints.
func (s *story) indexes(check history.Check) (found []string) {
	indexes := table{caption: "indexes and constraints", head: []string{"name", "present", "valid", "enforcing", "scans", "size", "what is wrong"}}
	wrong := 0
	for _, x := range check.Indexes {
		it := item{group: "indexes", name: say("%s", x.Name), tone: held}
		fault := faulty(x)
		verdict := text{words: "nothing"}
		if fault != "" {
			wrong++
			it.tone = allowed // it only speeds up
			if x.Protects != "" {
				it.tone = bad
			}
			verdict = text{it.tone.mark() + nbsp + fault, it.tone}
			it.notes = []string{fault}
		}
		name := say("%s\non %s", x.Name, x.Table)
		if x.Protects != "" {
			name += say(", protects %s", x.Protects)
		}
		row := []text{{words: name}, {words: yes(x.Present)}, {words: "–"}, {words: "–"}, {words: "–"}, {words: "–"}, verdict}
		if x.Present {
			row[2].words, row[4].words, row[5].words = yes(x.Valid), fmt.Sprint(x.Scans), size(x.Bytes)
			if x.Protects != "" {
				row[3].words = yes(x.Enforcing)
			}
		}
		indexes.rows = append(indexes.rows, row)
		s.items = append(s.items, it)
	}
	if len(indexes.rows) > 0 {
		s.tables = append(s.tables, indexes)
		was := count(len(indexes.rows), "index", "indexes") + " in order"
		if wrong > 0 {
			was = fmt.Sprintf("%d of %s not in order", wrong, count(len(indexes.rows), "index", "indexes"))
		}
		found = append(found, was)
	}
	return found
}

// period says from when to when groups are.
func period(g *history.Groups) []string {
	if g == nil || g.Oldest == nil || g.Newest == nil {
		return nil
	}
	const day = "2006-01-02 15:04:05Z07:00"
	return []string{"The oldest of them is of " + g.Oldest.Format(day) + ", the newest of " + g.Newest.Format(day) + "."}
}

// faulty says what is wrong with an index; empty: nothing.
func faulty(x history.Index) string {
	switch {
	case x.Why != "":
		return say("%s", x.Why)
	case !x.Present:
		return "missing"
	case !x.Valid:
		return "invalid: no query uses it, and what it ought to enforce cannot be relied on"
	case x.Protects != "" && !x.Enforcing:
		return "enforces nothing"
	}
	return ""
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// size returns bytes as Postgres says them.
func size(n int64) string {
	for _, unit := range []string{"bytes", "kB", "MB", "GB"} {
		if n < 10*1024 {
			return fmt.Sprintf("%d%s%s", n, nbsp, unit)
		}
		n = (n + 512) / 1024
	}
	return fmt.Sprintf("%d%sTB", n, nbsp)
}
