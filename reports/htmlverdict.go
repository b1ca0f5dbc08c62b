package reports

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// mostNotes is how many things that are not as they must be stand under the verdict.
const mostNotes = 100

// verdictView is what the page opens with.
type verdictView struct {
	Tone, Mark, Word, Headline string
	Notes                      []noteView
	Facts                      [][2]string
}

type noteView struct{ Tone, Mark, Name, Says string }

func (p *pageMaker) verdict() verdictView {
	v := verdictView{Headline: p.story.headline}
	switch p.story.tone {
	case bad:
		v.Tone, v.Mark, v.Word = "bad", "✗", "Violated"
	case open, plain:
		v.Tone, v.Mark, v.Word = "open", "?", "Unknown"
	default: // what broke, broke as it must
		v.Tone, v.Mark, v.Word = "held", "✓", "Held"
	}
	if p.run.Kind == history.KindGate || p.run.Kind == history.KindRun || p.run.Kind == "" {
		v.Word = map[string]string{"bad": "Not as it must be", "open": "Unknown", "held": "As it must be"}[v.Tone]
	}
	for _, it := range p.story.items {
		for _, note := range it.notes {
			v.Notes = append(v.Notes, noteView{it.tone.class(), it.tone.mark(), it.name, note})
		}
	}
	for _, finding := range p.story.findings {
		v.Notes = append(v.Notes, noteView{Tone: "plain", Says: finding})
	}
	if more := len(v.Notes) - mostNotes; more > 0 {
		v.Notes = append(v.Notes[:mostNotes], noteView{Tone: "plain", Says: fmt.Sprintf("… and %s more; the run file has them all", thousands(more))})
	}
	v.fact("Expected", expected(p.run))
	v.fact("Actual", actual(p.run))
	v.fact("Covered", coverage(p.run))
	v.fact("Isolation", isolation(p.run))
	for i, line := range p.story.head {
		v.fact([]string{"Ran on", "Bounds"}[min(i, 1)], line)
	}
	v.fact("Took", p.run.Elapsed.Short())
	return v
}

func (v *verdictView) fact(label, value string) {
	if value != "" {
		v.Facts = append(v.Facts, [2]string{label, value})
	}
}

// judgements yields all judgements of a run, of cells and of arms.
func judgements(run history.Run) (all []history.Judgement) {
	for _, c := range run.Cells {
		all = append(all, c.Invariants...)
	}
	if run.Load != nil {
		for _, a := range run.Load.Arms {
			all = append(all, a.Invariants...)
		}
	}
	return all
}

// fewNames lists invariants, or how many there are where they are many.
func fewNames(all []string) string {
	names := slices.Compact(slices.Sorted(slices.Values(all)))
	if len(names) == len(all) && len(all) <= 8 {
		return list(names)
	}
	return count(len(all), "invariant", "invariants")
}

// over joins what is said of the invariants of a run, with the number of its cells where they are several.
func over(run history.Run, parts []string) string {
	words := strings.Join(parts, "; ")
	if len(run.Cells) > 1 {
		words = "over " + count(len(run.Cells), "cell", "cells") + ": " + words
	}
	return words
}

func plural(all []string, one, many string) string {
	if len(all) == 1 {
		return one
	}
	return many
}

// expected says what ought to come of a run, and nothing where it says nothing of that.
func expected(run history.Run) string {
	switch run.Kind {
	case history.KindReplay:
		var all []string
		for _, c := range run.Cells {
			for _, cx := range c.Counterexamples {
				all = append(all, say("%s breaks", cx.Invariant))
			}
		}
		if all == nil {
			return ""
		}
		return strings.Join(all, ", ") + " in the recorded order, if the race is still there"
	case history.KindCheck:
		if run.Check == nil {
			return ""
		}
		return "every invariant holds, and every index that protects one is there and enforces it"
	case history.KindGate:
		if run.Gate == nil || len(run.Gate.Migrations) == 0 {
			return ""
		}
		return "every migration may ship: no trial fails, and no finding counts against it"
	case history.KindRepair:
		return ""
	}
	var hold, breaks, may []string
	for _, j := range judgements(run) {
		switch {
		case j.Expected == history.MustBreak && run.Kind != history.KindExplore:
			breaks = append(breaks, say("%s", j.Invariant))
		case j.Expected == history.MayBreak && run.Kind != history.KindExplore:
			may = append(may, say("%s", j.Invariant))
		default:
			hold = append(hold, say("%s", j.Invariant))
		}
	}
	var parts []string
	if hold != nil {
		parts = append(parts, fewNames(hold)+plural(hold, " holds", " hold"))
	}
	if breaks != nil {
		parts = append(parts, fewNames(breaks)+plural(breaks, " breaks", " break")+" (negative controls)")
	}
	if may != nil {
		parts = append(parts, fewNames(may)+" may do either")
	}
	return over(run, parts)
}

// actual says what came of it.
func actual(run history.Run) string {
	switch run.Kind {
	case history.KindReplay:
		var all []string
		for _, c := range run.Cells {
			for _, cx := range c.Counterexamples {
				all = append(all, replayed(c, shortened(cx)).notes...)
			}
		}
		return strings.Join(all, "; ")
	case history.KindGate:
		if run.Gate == nil {
			return ""
		}
		counts, failed := 0, 0
		for _, j := range run.Gate.Migrations {
			for _, f := range j.Findings {
				if f.Counts() {
					counts++
				}
			}
			for _, t := range j.Trials {
				if t.State == history.TrialFailed {
					failed++
				}
			}
		}
		if len(run.Gate.Migrations) == 0 {
			return ""
		}
		return count(failed, "trial", "trials") + " failed, " + count(counts, "finding counts", "findings count") + " against shipping"
	case history.KindCheck:
		if run.Check == nil {
			return ""
		}
		n := map[history.Verdict]int{}
		for _, one := range run.Check.Invariants {
			n[one.Verdict]++
		}
		faults := 0
		for _, x := range run.Check.Indexes {
			if faulty(x) != "" {
				faults++
			}
		}
		unknown := len(run.Check.Invariants) - n[history.Held] - n[history.Violated]
		return fmt.Sprintf("%d hold, %d broken, %d unknown; %s not in order", n[history.Held], n[history.Violated], unknown, count(faults, "index", "indexes"))
	case history.KindRepair:
		return ""
	}
	var hold, broken, unknown []string
	for _, j := range judgements(run) {
		name := say("%s", j.Invariant)
		switch j.Verdict {
		case history.Held:
			hold = append(hold, name)
		case history.Violated:
			broken = append(broken, name)
		default:
			unknown = append(unknown, name)
		}
	}
	var parts []string
	if broken != nil {
		parts = append(parts, fewNames(broken)+" broken")
	}
	if hold != nil {
		parts = append(parts, fewNames(hold)+plural(hold, " holds", " hold"))
	}
	if unknown != nil {
		parts = append(parts, fewNames(unknown)+" unknown")
	}
	return over(run, parts)
}

// coverage says how much was tried.
func coverage(run history.Run) string {
	var parts []string
	if len(run.Cells) == 1 && run.Kind != history.KindReplay {
		for _, e := range run.Cells[0].Explorations {
			words := interleavings(e) + classes(e)
			if e.Complete {
				words = "all " + words
			} else {
				words = "the first " + words + ", not all"
			}
			parts = append(parts, words)
		}
		if n := run.Cells[0].Coverage.Rounds; n > 0 {
			parts = append(parts, count(n, "round", "rounds")+" of stress")
		}
		return strings.Join(parts, "; ")
	}
	if len(run.Cells) > 1 {
		explored, rounds, operations, settled := 0, 0, 0, 0
		for _, c := range run.Cells {
			for _, e := range c.Explorations {
				explored += e.Executed
			}
			if complete(c) {
				settled++
			}
			rounds += c.Coverage.Rounds
			operations += c.Coverage.Operations
		}
		parts = append(parts, thousands(len(run.Cells))+" cells")
		if explored > 0 {
			parts = append(parts, thousands(explored)+" interleavings", thousands(settled)+" cells in every order")
		}
		if rounds > 0 {
			parts = append(parts, thousands(rounds)+" rounds of stress with "+thousands(operations)+" operations")
		}
	}
	if g := run.Gate; g != nil && len(g.Migrations) > 0 {
		trials := 0
		for _, j := range g.Migrations {
			for _, t := range j.Trials {
				if t.State == history.TrialPassed || t.State == history.TrialFailed {
					trials++
				}
			}
		}
		parts = append(parts, count(len(g.Migrations), "migration", "migrations"), count(trials, "trial", "trials"))
	}
	if c := run.Check; c != nil {
		parts = append(parts, count(len(c.Invariants), "invariant", "invariants"), count(len(c.Indexes), "index", "indexes"))
	}
	if m := run.Load; m != nil {
		operations, looks := 0, 0
		for _, a := range m.Arms {
			operations += a.Operations
			looks += a.Looks
		}
		parts = append(parts, count(len(m.Arms), "arm", "arms"), thousands(operations)+" operations in "+m.Shape.For.Short(),
			thousands(looks)+" looks at the invariants")
	}
	return strings.Join(parts, ", ")
}

// isolation says the levels that the recorded transactions ran at.
func isolation(run history.Run) string {
	levels := map[string]bool{}
	for _, c := range slices.Concat(run.Cells, run.Replayed) {
		for _, cx := range c.Counterexamples {
			if cx.Interleaving == nil {
				continue
			}
			for _, s := range cx.Interleaving.Steps {
				if s.Isolation != "" {
					levels[strings.ToUpper(s.Isolation)] = true
				}
			}
		}
	}
	if len(levels) == 0 || len(levels) > 8 {
		return ""
	}
	return list(slices.Sorted(maps.Keys(levels))) + ", in what is recorded"
}

// again returns the section on repeating the whole run.
func (p *pageMaker) again() (section, error) {
	s := section{ID: "again", Title: "Make this run again"}
	if len(p.run.Command) == 0 {
		return s, nil
	}
	_, err := p.add(&s, "commands", []commandView{{"Again", cmp.Or(p.story.again, command(p.run.Command))}})
	return s, err
}
