package reports

import (
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// replay adds the counterexamples of a replay to the story, each with how often it broke its invariant again. Once is enough to be violated;
// never is unknown, for the race may still be there.
func (s *story) replay(run history.Run) func(tone) string {
	for _, c := range run.Cells {
		for _, cx := range c.Counterexamples {
			j := history.Judgement{Invariant: cx.Invariant}
			for _, known := range c.Invariants {
				if known.Invariant == cx.Invariant {
					j.Says = known.Says
				}
			}
			it := item{group: say("%s", c.Scenario), name: place(c), tone: bad, took: c.Coverage.Elapsed + cx.Elapsed}
			p := prove(c, j, cx)
			it.brief = "!! reproduced"
			if cx.Reproduced <= 0 {
				it.tone, it.brief = open, "? not reproduced"
				p.title = place(c) + say(", recorded breaking %s", cx.Invariant) + says(j.Says)
				if n := len(c.Rounds); n > 0 {
					p.tables = append(titled("as it was recorded", p.tables), titled("as it went this time", picture(c.Rounds[n-1], cx.Invariant))...)
				}
			}
			p.tone = it.tone
			p.after = nil // the headline and the note have said it
			it.notes = []string{again(cx)}
			it.proofs = []proof{p}
			s.items = append(s.items, it)
		}
	}
	return func(t tone) string {
		switch {
		case len(s.items) == 0:
			return "Unknown: nothing was replayed."
		case t == bad:
			return "Violated again: the counterexample is reproduced."
		}
		return "Unknown: the counterexample is not reproduced."
	}
}

// titled returns tables with a caption before that of the first.
func titled(caption string, tables []table) []table {
	if len(tables) > 0 {
		tables[0].caption = strings.TrimSuffix(caption+": "+tables[0].caption, ": ")
	}
	return tables
}
