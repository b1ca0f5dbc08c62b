package reports

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// What a report shows of one proof; the run file has all of it.
const (
	mostRows       = 20
	mostOperations = 30
)

// prove returns the proof that a counterexample is.
func prove(c history.Cell, j history.Judgement, cx history.Counterexample) proof {
	p := proof{tone: bad, title: place(c) + say(" breaks %s", cx.Invariant) + says(j.Says), again: withoutPassword(cx.Again)}
	if j.Broken > 0 && cx.Interleaving == nil {
		p.facts = append(p.facts, sentence(often(j, c)))
	}
	if cx.Tried > 0 {
		met := ""
		if cx.Found.Number > 0 {
			met = fmt.Sprintf("met in round %d with %s; ", cx.Found.Number, count(len(clients(cx.Found)), "client", "clients"))
		}
		p.facts = append(p.facts, sentence(fmt.Sprintf("%sthe smallest found, in %s tried, has %s", met,
			count(cx.Tried, "input", "inputs"), count(cx.Clients, "client", "clients"))))
	}
	if cx.Interleaving == nil {
		p.tables = picture(cx.Round, cx.Invariant)
		p.after = []string{sentence(again(cx))}
	} else {
		p.tables = append(recorded(cx), instead("The nearest order that holds", cx, cx.Nearest, cx.Parts)...)
		p.after = []string{circumstances(c, cx)}
		if p.again != "" && !slices.ContainsFunc(cx.Interleaving.Steps, func(s history.Step) bool { return s.Fault != "" && !s.Later() }) {
			for _, tool := range []string{"psql", "spec", "go"} {
				p.forms = append(p.forms, [2]string{tool, p.again + " --as " + tool})
			}
		}
	}
	p.note("Database kept", withoutPassword(cx.Database))
	p.note("File", clean(cx.File))
	return p
}

func (p *proof) note(label, value string) {
	if value != "" {
		p.where = append(p.where, [2]string{label, value})
	}
}

// again says how often a counterexample broke its invariant again.
func again(cx history.Counterexample) string {
	times := fmt.Sprintf("%d of %s", cx.Reproduced, count(cx.Repeated, "repetition", "repetitions"))
	switch {
	case cx.Repeated <= 0:
		return "it was not repeated"
	case cx.Reproduced <= 0:
		return say("not reproduced: %s broke in %s, which does not show that it holds", cx.Invariant, times)
	case cx.Reproduced < cx.Repeated:
		return say("reproduced, but not every time: %s broke in %s", cx.Invariant, times)
	}
	return say("reproduced: %s broke in %s", cx.Invariant, times)
}

// proofs returns the proofs that an invariant broke in a cell: its counterexamples, or else the first recorded round in which it broke, with
// the command of the whole run.
func proofs(c history.Cell, j history.Judgement, again string) (all []proof) {
	for _, cx := range c.Counterexamples {
		if cx.Invariant == j.Invariant {
			all = append(all, prove(c, j, cx))
		}
	}
	if all != nil || c.Example(j.Invariant) != nil {
		return all // or it is shown with another invariant that it breaks as well
	}
	for _, round := range c.Rounds {
		if slices.ContainsFunc(round.Violations, func(v history.Violation) bool { return v.Invariant == j.Invariant }) {
			return []proof{{
				tone: bad, title: place(c) + say(" breaks %s", j.Invariant) + says(j.Says),
				facts:  []string{sentence(often(j, c)), fmt.Sprintf("Round %d, as it was met: neither made smaller nor repeated.", round.Number)},
				tables: picture(round, j.Invariant), again: again,
			}}
		}
	}
	return nil
}

// sentence returns words as a sentence of their own.
func sentence(words string) string { return strings.ToUpper(words[:1]) + words[1:] + "." }

// picture shows a round: what the clients did, side by side, and the rows that break the invariant.
func picture(r history.Round, invariant string) []table {
	return append(timeline(r), offending(r, invariant)...)
}

// recorded shows an interleaving, and the rows that break the invariant.
func recorded(cx history.Counterexample) []table {
	return append([]table{{chart: chartOf(*cx.Interleaving, cx.Round, 0)}}, offending(cx.Round, cx.Invariant)...)
}

// offending shows the rows that break the invariant.
func offending(r history.Round, invariant string) []table {
	var last *history.Violation // what is still there at rest says it all
	for i, v := range r.Violations {
		if v.Invariant == invariant {
			last = &r.Violations[i]
		}
	}
	if last == nil {
		return nil
	}
	return []table{rows(say("%s %s: ", last.Invariant, last.Moment), last.Rows)}
}

// rows returns offending rows as a table.
func rows(caption string, from history.Table) table {
	total := max(from.Total, len(from.Rows))
	t := table{caption: caption + count(total, "row breaks it", "rows break it")}
	for _, column := range from.Columns {
		t.head = append(t.head, say("%s", column))
	}
	shown := from.Rows[:min(len(from.Rows), mostRows)]
	for _, row := range shown {
		cells := make([]text, len(row))
		for i, v := range row {
			cells[i].words = value(v)
		}
		t.rows = append(t.rows, cells)
	}
	if len(shown) < total {
		t.caption += fmt.Sprintf(", the first %d of them", len(shown))
	}
	return t
}

// clients returns the names of those who did anything in a round, in the order of their names.
func clients(r history.Round) []string {
	names := map[string]bool{}
	for _, op := range r.Operations {
		names[op.Client] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// timeline draws a round: a column for each client, a line for each request and each answer in the order of time. A bar stands where a
// client waits for its answer, so what overlaps is seen. Two things in the same microsecond may have come in either order.
func timeline(r history.Round) []table {
	ops := slices.Clone(r.Operations)
	if len(ops) == 0 {
		return nil
	}
	slices.SortStableFunc(ops, func(a, b history.Operation) int { return cmp.Compare(a.Invoked, b.Invoked) })
	left := len(ops) - min(len(ops), mostOperations)
	ops = ops[:len(ops)-left]
	names := clients(history.Round{Operations: ops})

	type event struct {
		at     history.Duration
		client int
		words  string
		waits  int // whether the client waits for one answer more or less from here on
	}
	end := history.Duration(0)
	for _, op := range ops {
		end = max(end, op.Invoked, op.Returned)
	}
	var events []event
	for _, op := range ops {
		client := slices.Index(names, op.Client)
		returned := op.Returned
		if unanswered(op) {
			returned = end
		}
		events = append(events, event{op.Invoked, client, asked(op), +1}, event{returned, client, told(op), -1})
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })

	t := table{head: []string{"      ms"}}
	for _, name := range names {
		t.head = append(t.head, say("%s", name))
	}
	waiting := make([]int, len(names))
	for _, e := range events {
		row := make([]text, 1+len(names))
		row[0].words = fmt.Sprintf("%8s", milliseconds(e.at))
		for i, n := range waiting {
			if n > 0 {
				row[1+i].words = "|"
			}
		}
		row[1+e.client].words = e.words
		waiting[e.client] += e.waits
		t.rows = append(t.rows, row)
	}
	if left > 0 {
		t.caption = "the first " + count(mostOperations, "operation", "operations") + fmt.Sprintf("; %d more are in the run file", left)
	}
	return []table{t}
}
