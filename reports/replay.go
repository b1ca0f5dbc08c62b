package reports

import (
	"cmp"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// unsteady is the brief of an interleaving that broke its invariant now and then.
const unsteady = "? not reproduced every time"

// replay adds the counterexamples of a replay to the story, each with how often it broke its invariant again. Once is enough to be violated. Of
// one that was met by luck, never is unknown, for the race may still be there; an interleaving that breaks nothing any more is gone, if its
// cell's verdict says so, and else not settled.
func (s *story) replay(run history.Run) func(tone) string {
	for _, c := range run.Cells {
		for _, cx := range c.Counterexamples {
			s.items = append(s.items, replayed(c, cx))
		}
	}
	always := ""
	if slices.ContainsFunc(s.items, func(it item) bool { return it.brief == unsteady }) {
		always = " every time"
	}
	return func(t tone) string {
		switch {
		case len(run.Cells) == 0:
			return "Unknown: nothing was replayed."
		case t == bad:
			return "Violated again: the counterexample is reproduced."
		case t == held:
			return "Gone: the counterexample breaks nothing any more."
		}
		return "Unknown: the counterexample is not reproduced" + always + "."
	}
}

// replayed judges one counterexample. An interleaving is shown as it was recorded; its nearest order is what happened this time.
func replayed(c history.Cell, cx history.Counterexample) item {
	j := history.Judgement{Invariant: cx.Invariant}
	for _, known := range c.Invariants {
		if known.Invariant == cx.Invariant {
			j.Says = known.Says
		}
	}
	it := item{group: say("%s", c.Scenario), name: place(c), took: c.Coverage.Elapsed + cx.Elapsed}
	p := prove(c, j, cx)
	p.after = nil // the headline and the note say it
	note := again(cx)
	switch {
	case cx.Interleaving != nil && c.Verdict == history.Held:
		it.tone, it.brief = held, "✓ gone"
		note = say("gone: %s holds in the recorded order of steps", cx.Invariant)
		if complete(c) {
			note += ", and in all " + interleavings(c.Explorations[0]) + " that there are now"
		}
	case cx.Reproduced > 0 && (cx.Interleaving == nil || c.Verdict == history.Violated):
		it.tone, it.brief = bad, "!! reproduced"
	case cx.Reproduced > 0:
		it.tone, it.brief = open, unsteady
	default:
		it.tone, it.brief = open, "? not reproduced"
	}
	if c.Trouble != "" {
		note += say("; %s", c.Trouble)
	}
	if it.tone != bad {
		p.title = place(c) + say(", recorded breaking %s", cx.Invariant) + says(j.Says)
		if cx.Interleaving != nil && cx.Reproduced <= 0 {
			p.tables = titled("as it was recorded", recorded(cx))
			if now := cx.Nearest; now != nil {
				p.tables = append(p.tables, instead("What happens now", cx, now, parting(*cx.Interleaving, *now))...)
			}
		} else if n := len(c.Rounds); n > 0 {
			p.tables = append(titled("as it was recorded", p.tables), titled("as it went this time", picture(c.Rounds[n-1], cx.Invariant))...)
		}
	}
	p.tone = it.tone
	it.notes = []string{note}
	it.proofs = []proof{p}
	return it
}

// saved adds the counterexamples that a run repeated first, with a table of them, and returns how many were reproduced and should not have been.
func (s *story) saved(run history.Run) (reproduced int) {
	t := table{caption: "counterexamples that were saved", head: []string{"file", "result"}}
	for _, c := range run.Replayed {
		for _, cx := range c.Counterexamples {
			it := replayed(c, cx)
			switch {
			case it.tone == bad && c.AsExpected:
				it.tone, it.brief = caught, "✗ reproduced, as it must be"
			case it.tone == bad:
				reproduced++
			}
			if it.tone == held || it.tone == caught {
				it.notes, it.proofs = nil, nil
			}
			it.group, it.name = "saved", say("%s", cmp.Or(cx.File, place(c)+" "+cx.Invariant))
			s.items = append(s.items, it)
			t.rows = append(t.rows, []text{{words: it.name}, {it.brief, it.tone}})
		}
	}
	if len(t.rows) > 0 {
		s.tables = append(s.tables, t)
	}
	return reproduced
}

// titled returns tables with a caption before that of the first.
func titled(caption string, tables []table) []table {
	if len(tables) > 0 {
		tables[0].caption = strings.TrimSuffix(caption+": "+tables[0].caption, ": ")
	}
	return tables
}
