package reports

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// mostOpen is how many counterexamples stand open; the others open at a click.
const mostOpen = 3

// exampleView is a counterexample, or a round that broke nothing.
type exampleView struct {
	ID, Tone, Mark, Title string
	Open                  bool
	Facts                 []string
	Lanes                 []titledLanes // beside each other where there is room
	After                 []string
	Folds                 []foldView
	Rows                  string // what the offending rows are
	Offending             []gridView
	Where                 [][2]string
	Commands              []commandView
}

type titledLanes struct {
	Title string
	lanesView
}

// counterexamples returns the section on how invariants broke.
func (p *pageMaker) counterexamples() (section, error) {
	s := section{ID: "counterexamples", Title: "How it happens"}
	if p.run.Check != nil {
		s.Title = "What breaks"
	}
	all := p.examples()
	slices.SortStableFunc(all, func(a, b exampleMaker) int { return cmp.Compare(b.tone, a.tone) })
	left := 0
	for i, make := range all {
		e, err := make.view(fmt.Sprintf("x%d", i+1))
		if err != nil {
			return s, err
		}
		e.Open = i == 0 || i < mostOpen && make.tone >= open
		ok, err := p.add(&s, "example", e)
		if err != nil {
			return s, err
		}
		if !ok {
			left = len(all) - i
			break
		}
	}
	if left > 0 {
		s.After = append(s.After, count(left, "counterexample", "counterexamples")+" did not fit here; the run file has them all.")
	}
	return s, nil
}

// exampleMaker makes the view of one counterexample, when its turn comes.
type exampleMaker struct {
	tone tone
	view func(id string) (exampleView, error)
}

// examples returns all counterexamples of the run, and where a cell has none but recorded rounds, the first of these.
func (p *pageMaker) examples() (all []exampleMaker) {
	for _, c := range p.run.Replayed {
		for _, cx := range c.Counterexamples {
			it := replayed(c, shortened(cx))
			if it.tone == bad && c.AsExpected {
				it.tone = caught
			}
			all = append(all, example(c, cx, it.proofs[0], it.tone, it.notes))
		}
	}
	for _, c := range p.run.Cells {
		had := false
		for _, cx := range c.Counterexamples {
			had = true
			if p.run.Kind == history.KindReplay {
				it := replayed(c, shortened(cx))
				all = append(all, example(c, cx, it.proofs[0], it.tone, it.notes))
				continue
			}
			j := history.Judgement{Invariant: cx.Invariant}
			for _, known := range c.Invariants {
				if known.Invariant == cx.Invariant {
					j = known
				}
			}
			t := attitude(j)
			if t == held || t == open || p.run.Kind == history.KindExplore {
				t = bad
			}
			all = append(all, example(c, cx, prove(c, j, shortened(cx)), t, nil))
		}
		for _, j := range c.Invariants {
			if j.Verdict != history.Violated || c.Example(j.Invariant) != nil {
				continue
			}
			for _, pr := range proofs(c, j, command(p.run.Command)) {
				i := slices.IndexFunc(c.Rounds, func(r history.Round) bool {
					return slices.ContainsFunc(r.Violations, func(v history.Violation) bool { return v.Invariant == j.Invariant })
				})
				had = true
				all = append(all, met(c.Rounds[i], pr, max(attitude(j), allowed)))
			}
		}
		if !had && len(c.Rounds) > 0 {
			all = append(all, met(c.Rounds[0], proof{tone: plain, title: place(c) + fmt.Sprintf(": round %d, as it went", c.Rounds[0].Number)}, plain))
		}
	}
	for _, it := range p.story.items {
		if p.run.Check == nil && p.run.Load == nil {
			break
		}
		for _, pr := range it.proofs {
			all = append(all, exampleMaker{pr.tone, func(id string) (exampleView, error) {
				e := exampleOf(pr, pr.tone, id)
				for _, t := range pr.tables {
					e.Offending = append(e.Offending, gridOf(t))
				}
				return e, nil
			}})
		}
	}
	return all
}

// shortened returns a counterexample with those of its steps that are shown.
func shortened(cx history.Counterexample) history.Counterexample {
	for _, in := range []**history.Interleaving{&cx.Interleaving, &cx.Nearest} {
		if *in != nil {
			short := **in
			short.Steps, _, _ = shownSteps(short.Steps)
			*in = &short
		}
	}
	return cx
}

// shortenedRun returns a run with those of the steps that are shown; the story of 100,000 would take long to tell.
func shortenedRun(run history.Run) history.Run {
	for _, cells := range []*[]history.Cell{&run.Cells, &run.Replayed} {
		*cells = slices.Clone(*cells)
		for i := range *cells {
			c := &(*cells)[i]
			c.Counterexamples = slices.Clone(c.Counterexamples)
			for j := range c.Counterexamples {
				c.Counterexamples[j] = shortened(c.Counterexamples[j])
			}
		}
	}
	return run
}

// exampleOf returns what the proof says, without its tables.
func exampleOf(pr proof, t tone, id string) exampleView {
	e := exampleView{ID: id, Tone: t.class(), Mark: t.mark(), Title: pr.title, Facts: pr.facts, After: pr.after, Where: pr.where}
	e.Rows = "The rows that break it"
	if t == held || t == open {
		e.Rows = "The rows that broke it when it was recorded"
	}
	switch t {
	case caught:
		e.Facts = append([]string{"A negative control, caught: it broke, as it must where no defence works."}, e.Facts...)
	case allowed:
		e.Facts = append([]string{"It broke where it may: nothing is asked of it here."}, e.Facts...)
	}
	if pr.again != "" {
		e.Commands = append(e.Commands, commandView{"Again", pr.again})
	}
	for _, form := range pr.forms {
		e.Commands = append(e.Commands, commandView{"As " + form[0], form[1]})
	}
	return e
}

// met shows a round.
func met(r history.Round, pr proof, t tone) exampleMaker {
	return exampleMaker{t, func(id string) (exampleView, error) {
		e := exampleOf(pr, t, id)
		e.Lanes = []titledLanes{{"What the clients did", roundOf(r, id+"a", "what the clients did in round "+fmt.Sprint(r.Number))}}
		e.Offending = written(r, nil)
		return e, nil
	}}
}

// example shows a counterexample: the order that breaks it and the nearest that does not; what it was made of is folded.
func example(c history.Cell, cx history.Counterexample, pr proof, t tone, notes []string) exampleMaker {
	return exampleMaker{t, func(id string) (exampleView, error) {
		e := exampleOf(pr, t, id)
		e.After = slices.Concat(capitals(notes), e.After)
		switch in := cx.Interleaving; {
		case in != nil:
			title := say("The order that breaks %s", cx.Invariant)
			if t < bad && t != caught && t != allowed {
				title = "As it was recorded"
			}
			e.Lanes = append(e.Lanes, titledLanes{title, lanesOf(*in, cx.Round, id+"a", title, 0)})
		case len(cx.Round.Operations) > 0:
			e.Lanes = append(e.Lanes, titledLanes{"The smallest round that was found", roundOf(cx.Round, id+"a", "what the clients did")})
		}
		if cx.Interleaving != nil && cx.Nearest != nil {
			words, parts := "The nearest order that holds", cx.Parts
			for _, table := range pr.tables { // the story knows what it is
				if table.chart == nil || !table.chart.brief {
					continue
				}
				e.Facts = append(slices.Clone(e.Facts), table.caption)
				if !strings.HasPrefix(table.caption, words) {
					words, parts = "What happens now", parting(*cx.Interleaving, *cx.Nearest)
				}
			}
			e.Lanes = append(e.Lanes, titledLanes{words, lanesOf(*cx.Nearest, cx.Round, id+"b", words, parts)})
		}
		if n := len(c.Rounds); n > 0 && cx.Interleaving == nil && t != bad && len(pr.tables) > 0 && strings.HasPrefix(pr.tables[0].caption, "as it was recorded") {
			e.Lanes = append(e.Lanes, titledLanes{"As it went this time", roundOf(c.Rounds[n-1], id+"b", "what the clients did this time")})
		}
		e.Offending = written(cx.Round, cx.Interleaving)
		if len(cx.Found.Operations) > 0 && (cx.Tried > 0 || cx.Interleaving == nil && len(cx.Found.Operations) != len(cx.Round.Operations)) {
			found, err := part("lanes", titledLanes{"", roundOf(cx.Found, id+"c", "the round as it was met")})
			if err != nil {
				return e, err
			}
			e.Folds = append(e.Folds, foldView{fmt.Sprintf("The original round %d as it was found: %s, %s", cx.Found.Number,
				count(len(clients(cx.Found)), "client", "clients"), count(len(cx.Found.Operations), "operation", "operations")), []template.HTML{found}})
		}
		if len(cx.Start) > 0 {
			var lines []string
			for _, statement := range cx.Start[:min(len(cx.Start), mostRows)] {
				lines = append(lines, clip(strings.Join(script(statement), "\n"), longestCode)+";")
			}
			if more := len(cx.Start) - mostRows; more > 0 {
				lines = append(lines, fmt.Sprintf("-- and %d statements more, in the run file", more))
			}
			start, err := part("code", strings.Join(lines, "\n"))
			if err != nil {
				return e, err
			}
			e.Folds = append(e.Folds, foldView{"The rows that it starts with", []template.HTML{start}})
		}
		if cx.Query != "" {
			query, err := part("code", clip(strings.Join(script(outdented(cx.Query)), "\n"), longestCode))
			if err != nil {
				return e, err
			}
			e.Folds = append(e.Folds, foldView{say("The query of %s: it must return no row", cx.Invariant), []template.HTML{query}})
		}
		return e, nil
	}}
}

// capitals returns notes as sentences.
func capitals(notes []string) []string {
	var all []string
	for _, note := range notes {
		if note != "" {
			all = append(all, sentence(note))
		}
	}
	return all
}

// written returns the rows that break each invariant, and which client wrote each where an operation says that it did.
func written(r history.Round, in *history.Interleaving) (all []gridView) {
	var names []string
	for _, v := range r.Violations {
		if !slices.Contains(names, v.Invariant) {
			names = append(names, v.Invariant)
		}
	}
	for _, name := range names {
		var last history.Violation
		for _, v := range r.Violations {
			if v.Invariant == name {
				last = v
			}
		}
		for _, t := range offending(r, name) {
			some := false
			by := make([]string, len(t.rows))
			for i := range t.rows {
				by[i] = writers(last.Rows.Rows[i], r, in)
				some = some || by[i] != ""
			}
			if some {
				t.head = append(slices.Clone(t.head), "written by")
				for i := range t.rows {
					for len(t.rows[i]) < len(t.head)-1 {
						t.rows[i] = append(t.rows[i], text{})
					}
					t.rows[i] = append(t.rows[i], text{words: cmp.Or(by[i], "not known")})
				}
			}
			all = append(all, gridOf(t))
		}
	}
	return all
}

// writers names the clients whose operations made what a row names by its key.
func writers(row []*string, r history.Round, in *history.Interleaving) string {
	var all []string
	note := func(client, key, what string) {
		if len(key) < 4 { // too short to be told from any other number
			return
		}
		for _, v := range row {
			words := say("%s: %s", client, what)
			if v != nil && strings.Contains(*v, key) && !slices.Contains(all, words) {
				all = append(all, words)
			}
		}
	}
	for _, op := range r.Operations {
		note(op.Client, op.Row, op.Kind)
	}
	if all == nil && in != nil {
		steps, _, _ := shownSteps(in.Steps)
		for _, s := range steps {
			if s.Returned == nil || !strings.HasPrefix(s.Tag, "INSERT") && !strings.HasPrefix(s.Tag, "UPDATE") {
				continue
			}
			for _, row := range s.Returned.Rows {
				if len(row) > 0 && row[0] != nil {
					note(s.Client, *row[0], fmt.Sprintf("step %d", s.Number))
				}
			}
		}
	}
	return strings.Join(all, "\n")
}
