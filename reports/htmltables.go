package reports

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// matrix returns the tables of the story, with what their marks mean. Those that have the same columns become one.
func (p *pageMaker) matrix() (section, error) {
	if p.run.Kind == history.KindLoad { // its own section has them, and more
		return section{}, nil
	}
	s := section{ID: "matrix", Title: "Everything that was judged", After: p.story.legend}
	switch p.run.Kind {
	case history.KindRun, "":
		s.Title = "Scenarios, defences and migrations"
	case history.KindExplore:
		s.Title = "What was explored"
	case history.KindRepair:
		s.Title = "Groups and what becomes of them"
	}
	left := 0
	for i := 0; i < len(p.story.tables); {
		t := p.story.tables[i]
		g := gridOf(t)
		n := i + 1
		for n < len(p.story.tables) && t.head != nil && slices.Equal(t.head, p.story.tables[n].head) && n-i < 50 {
			n++
		}
		if n > i+1 {
			g.Caption, g.Groups = "", nil
			for _, one := range p.story.tables[i:n] {
				g.Groups = append(g.Groups, groupOf(one))
			}
		}
		ok, err := p.add(&s, "grid", g)
		if err != nil {
			return s, err
		}
		if !ok {
			left += n - i
		}
		i = n
	}
	if left > 0 {
		s.After = append(s.After, count(left, "table", "tables")+" did not fit here; the run file has them all.")
	}
	if s.Parts == nil {
		s.Lead, s.After = s.After, nil
	}
	return s, nil
}

// mostFixes is how many scenarios that break are compared with their other defences.
const mostFixes = 40

// fixes returns what the other defences of a scenario that broke came to in the same run.
func (p *pageMaker) fixes() (section, error) {
	s := section{ID: "fixes", Title: "What would fix it"}
	type where struct {
		scenario string
		at       int64
	}
	worst := map[where]tone{}
	most := plain
	for _, c := range p.run.Cells {
		if c.Verdict != history.Violated {
			continue
		}
		t := caught // where nothing is as it must not be, the negative controls are what is to be fixed
		if judge(c, "").tone == bad {
			t = bad
		}
		worst[where{c.Scenario, c.At}] = max(worst[where{c.Scenario, c.At}], t)
		most = max(most, t)
	}
	var scenarios []string
	cells := map[string][]history.Cell{}
	for _, c := range p.run.Cells {
		if worst[where{c.Scenario, c.At}] != most || most == plain {
			continue
		}
		if cells[c.Scenario] == nil {
			scenarios = append(scenarios, c.Scenario)
		}
		cells[c.Scenario] = append(cells[c.Scenario], c)
	}
	for _, name := range scenarios {
		if len(cells[name]) < 2 || len(s.Parts) >= mostFixes {
			continue
		}
		if _, err := p.add(&s, "grid", fixesOf(name, cells[name], p.run.Load)); err != nil {
			return s, err
		}
	}
	if s.Parts != nil {
		s.Lead = []string{"Each defence that was run on the same scenario at the same migration, those that hold first."}
	}
	return s, nil
}

func fixesOf(scenario string, cells []history.Cell, load *history.Measurement) gridView {
	type line struct {
		tone tone
		row  []cellView
	}
	costs := map[string]string{}
	if load != nil {
		for _, a := range load.Arms {
			if key := fmt.Sprint(a.Name(), " ", a.At); a.Cost != nil && costs[key] == "" {
				costs[key] = percent(*a.Cost)
			} else if a.Base && costs[key] == "" {
				costs[key] = "what the others are compared with"
			}
		}
	}
	var all []line
	for _, c := range cells {
		it := judge(c, "")
		var broke []string
		for _, j := range c.Invariants {
			if j.Verdict == history.Violated {
				broke = append(broke, j.Invariant)
			}
		}
		words, t := "✓ holds", held
		switch {
		case broke != nil:
			words, t = "✗ breaks "+list(broke), allowed
			if it.tone == bad {
				t = bad
			}
		case it.tone != held && it.tone != plain:
			words, t = "? unknown", open
			if it.tone == bad { // a negative control that was not caught: nothing broke, and that is not to be relied on
				words = "? did not break, and was expected to"
			}
		}
		var orders []string
		for _, e := range c.Explorations {
			words := interleavings(e)
			if !e.Complete {
				words += ", not all"
			}
			orders = append(orders, words)
		}
		at := "–"
		if c.At != 0 {
			at = fmt.Sprint(c.At)
		}
		row := []cellView{
			{Words: say("%s", cmp.Or(c.Variant, "as it is")) + says(c.Says)},
			{Words: at},
			{words, t.class()},
			{Words: cmp.Or(strings.Join(orders, "\n"), "–")},
			{Words: map[bool]string{true: thousands(c.Coverage.Rounds), false: "–"}[c.Coverage.Rounds > 0]},
		}
		if load != nil {
			row = append(row, cellView{Words: cmp.Or(costs[fmt.Sprint(c.Name(), " ", c.At)], "not measured")})
		}
		all = append(all, line{t, row})
	}
	slices.SortStableFunc(all, func(a, b line) int { return cmp.Compare(a.tone, b.tone) })
	g := gridView{Caption: say("%s", scenario), Head: []string{"defence", "at migration", "result", "interleavings", "rounds of stress"}}
	if load != nil {
		g.Head = append(g.Head, "latency, against the base")
	}
	rows := make([][]cellView, len(all))
	for i, one := range all {
		rows[i] = one.row
	}
	g.Groups = []groupView{{Rows: rows}}
	return g
}

// mostOpenEnds is how many things that were not covered are listed.
const mostOpenEnds = 100

// uncovered returns what the run does not say anything about.
func (p *pageMaker) uncovered() (section, error) {
	s := section{ID: "uncovered", Title: "What was not covered"}
	all := openEnds(p.run)
	if more := len(all) - mostOpenEnds; more > 0 {
		all = append(all[:mostOpenEnds], fmt.Sprintf("… and %s more like these", thousands(more)))
	}
	if all == nil {
		return s, nil
	}
	_, err := p.add(&s, "list", all)
	return s, err
}

func openEnds(run history.Run) (all []string) {
	if run.Trouble != "" {
		all = append(all, say("The run was cut short: %s", run.Trouble))
	}
	stress, clients := 0, 0
	for _, c := range run.Cells {
		where := place(c) + ": "
		for _, e := range c.Explorations {
			if e.Complete {
				clients = max(clients, e.Clients)
			}
			for _, note := range limits(e) {
				if !strings.HasPrefix(note, "told ") && !strings.Contains(note, "being like one that was run") {
					all = append(all, where+note)
				}
			}
		}
		switch {
		case c.Trouble != "":
			all = append(all, where+say("not judged: %s", c.Trouble))
		case len(c.Explorations) > 0 && !complete(c):
			all = append(all, where+stopped(c))
		case len(c.Explorations) == 0 && c.Verdict == history.Held:
			stress++
		case c.Verdict != history.Held && c.Verdict != history.Violated:
			all = append(all, where+"unknown: too little evidence")
		}
	}
	if stress > 0 {
		all = append(all, count(stress, "cell", "cells")+" held in random rounds of stress alone, which proves nothing about the orders that were not met.")
	}
	if clients > 0 {
		all = append(all, "Races that need more than "+count(clients, "client", "clients")+" at once.")
	}
	if len(run.Migrations) > 0 && len(run.Cells) > 0 {
		seen := map[int64]bool{}
		for _, c := range run.Cells {
			seen[c.At] = true
		}
		for _, m := range run.Migrations {
			if !seen[m.Version] && !seen[0] {
				all = append(all, say("Nothing was run at migration %d", m.Version)+says(m.Label)+".")
			}
		}
	}
	if run.Check != nil {
		all = append(all, "A check says what is in the database at this moment, not what can happen to it.")
	}
	if g := run.Gate; g != nil {
		for _, j := range g.Migrations {
			for _, t := range j.Trials {
				if t.State == history.TrialSkipped || t.State == history.TrialUnknown {
					all = append(all, say("%s: the trial %s: ", cmp.Or(j.Path, j.Label), t.Name)+prose(t.Says))
				}
			}
		}
	}
	if m := run.Load; m != nil {
		all = append(all, sentences(m.Lacking)...)
	}
	return all
}

// surroundings returns what the run was made with.
func (p *pageMaker) surroundings() (section, error) {
	s := section{ID: "surroundings", Title: "Versions, settings and migrations"}
	run := p.run
	facts := verdictView{}
	if run.Tool.Version != "" {
		facts.fact("Interlock", say("%s, %s, %s/%s, %s", run.Tool.Version, run.Tool.Go, run.Tool.OS, run.Tool.Arch, count(run.Tool.CPUs, "CPU", "CPUs")))
	}
	if run.Server.Release != "" {
		facts.fact("PostgreSQL", say("%s", run.Server.Release)+map[bool]string{true: say(", %s", run.Server.Provider)}[run.Server.Provider != ""]+
			map[bool]string{true: ", " + withoutPassword(run.Server.Where)}[run.Server.Where != ""])
	}
	facts.fact("Seed", fmt.Sprint(run.Seed))
	if !run.Started.IsZero() {
		facts.fact("Started", run.Started.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	facts.fact("Migrations", say("%s", run.MigrationsDir))
	facts.fact("Run file", fmt.Sprintf("format %d", run.Format))
	if _, err := p.add(&s, "facts", facts.Facts); err != nil {
		return s, err
	}
	if len(run.Migrations) > 0 {
		t := table{caption: "migrations", head: []string{"version", "label", "file", "SHA-256", "took"}}
		for _, m := range run.Migrations[:min(len(run.Migrations), 500)] {
			t.rows = append(t.rows, []text{
				{words: fmt.Sprint(m.Version)},
				{words: say("%s", m.Label)},
				{words: say("%s", cmp.Or(m.Path, "–"))},
				{words: say("%s", cmp.Or(m.Checksum, "–"))},
				{words: m.Took.Short()},
			})
		}
		if more := len(run.Migrations) - len(t.rows); more > 0 {
			t.notes = []string{fmt.Sprintf("and %d more, in the run file", more)}
		}
		if err := p.fold(&s, count(len(run.Migrations), "migration", "migrations")+", with checksums", "grid", gridOf(t)); err != nil {
			return s, err
		}
	}
	if len(run.Server.Settings) > 0 {
		t := table{caption: "settings of the server that differ from their defaults", head: []string{"setting", "value"}}
		for _, name := range slices.Sorted(maps.Keys(run.Server.Settings)) {
			t.rows = append(t.rows, []text{{words: say("%s", name)}, {words: withoutPassword(clip(run.Server.Settings[name], longest))}})
		}
		if err := p.fold(&s, count(len(t.rows), "setting", "settings")+" of the server", "grid", gridOf(t)); err != nil {
			return s, err
		}
	}
	return s, nil
}

// fold renders a part that opens at a click.
func (p *pageMaker) fold(s *section, title, name string, data any) error {
	inside, err := part(name, data)
	if err == nil {
		_, err = p.add(s, "fold", foldView{title, []template.HTML{inside}})
	}
	return err
}
