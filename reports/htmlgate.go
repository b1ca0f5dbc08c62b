package reports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// gatePage is one migration that was judged.
type gatePage struct {
	ID, Tone, Mark, Title, Verdict string
	Open                           bool
	Facts                          []string
	Findings, Silenced             []findingView
	Trials                         gridView
	Timeline                       *timelineView
	Beside                         []besideView
	Tables                         []gridView
	Changes                        string
	Missing                        []string
}

type findingView struct {
	Where, Brief          string
	Tone, Weight          string
	Says                  string
	Evidence              []string
	KeysSay               string
	Keys, AllKeys         *gridView
	Query, First, Instead string
	Aside, Rule, Shown    string
	Allowed               string
}

// timelineView is the statements of a migration, one after another, with what each locks.
type timelineView struct {
	ID            string
	Width, Height int
	Rows          []timelineRow
	Ticks         []wordView
	Left          int
}

type timelineRow struct {
	Y, X, Wide    int
	Class         string
	Line, Took    string
	Brief, Locks  string
	Title, Blocks string
}

// gate returns the section on judged migrations: all trials as a grid, then a page each.
func (p *pageMaker) gate() (section, error) {
	s := section{ID: "gate", Title: "Migrations that were judged"}
	if len(p.story.pages) == 0 {
		return s, nil
	}
	if _, err := p.add(&s, "grid", trialGrid(p.story.pages)); err != nil {
		return s, err
	}
	left := 0
	for i, pg := range p.story.pages {
		v := gatePageOf(pg, p.run.Gate.Migrations[i], i+1, p.run.Gate.MaxStall)
		v.Open = i < mostOpen || pg.tone >= open && i < 4*mostOpen
		ok, err := p.add(&s, "gatepage", v)
		if err != nil {
			return s, err
		}
		if !ok {
			left = len(p.story.pages) - i
			break
		}
	}
	if left > 0 {
		s.After = append(s.After, "The pages of "+count(left, "migration", "migrations")+" did not fit here; the run file has them all.")
	}
	return s, nil
}

// trialGrid has a row for each migration, a column for each trial.
func trialGrid(pages []page) gridView {
	g := gridView{Caption: "trials", Head: []string{"migration", "verdict"}}
	var columns []history.TrialName
	for _, name := range history.Trials() {
		if slices.ContainsFunc(pages, func(pg page) bool {
			return slices.ContainsFunc(pg.trials, func(t trial) bool { return t.name == name })
		}) {
			columns = append(columns, name)
			g.Head = append(g.Head, string(name))
		}
	}
	ships := map[tone]string{held: "may ship", bad: "must not ship", open: "not judged in full"}
	words := map[tone]string{plain: "skipped", held: "passed", allowed: "silenced", open: "unknown", bad: "failed"}
	group := groupView{}
	for _, pg := range pages[:min(len(pages), 500)] {
		row := []cellView{{pg.title, "plain"}, {gateMark(pg.tone) + nbsp + strings.ReplaceAll(ships[pg.tone], " ", nbsp), pg.tone.class()}}
		for _, name := range columns {
			cell := cellView{"not made", "plain"}
			for _, t := range pg.trials {
				if t.name == name {
					cell = cellView{strings.TrimPrefix(gateMark(t.tone)+nbsp, "–"+nbsp) + words[t.tone], t.tone.class()}
				}
			}
			row = append(row, cell)
		}
		group.Rows = append(group.Rows, row)
	}
	if more := len(pages) - len(group.Rows); more > 0 {
		group.Notes = []string{fmt.Sprintf("and %d more, in the run file", more)}
	}
	g.Groups = []groupView{group}
	return g
}

func gatePageOf(pg page, j history.Judged, n int, maxStall history.Duration) gatePage {
	v := gatePage{
		ID: fmt.Sprintf("m%d", n), Tone: pg.tone.class(), Mark: gateMark(pg.tone), Title: pg.title, Verdict: pg.verdict, Facts: pg.facts,
		Trials: gridOf(trials(pg.trials, false)), Changes: strings.Join(pg.changes, "\n"), Missing: pg.missing,
		Timeline: timelineOf(j.Statements, fmt.Sprintf("m%d-timeline", n)),
	}
	for _, b := range j.Beside {
		if len(b.Slowest) > 1 && b.Took > 0 {
			v.Beside = append(v.Beside, besideOf(b, maxStall))
		}
	}
	for i, t := range pg.trials {
		if len(t.details) > 0 {
			v.Trials.Groups[0].Rows[i][1].Words += "\n– " + strings.Join(t.details, "\n– ")
		}
	}
	for _, f := range pg.findings {
		v.Findings = append(v.Findings, findingOf(f))
	}
	for _, f := range pg.silenced {
		v.Silenced = append(v.Silenced, findingOf(f))
	}
	for _, t := range pg.tables {
		v.Tables = append(v.Tables, gridOf(t))
	}
	return v
}

func findingOf(f finding) findingView {
	v := findingView{
		Where: f.where, Brief: f.brief, Tone: f.tone.class(), Weight: f.weight(), Says: f.says, Evidence: f.evidence,
		Query: strings.Join(f.query, "\n"), First: strings.Join(f.repair, "\n"), Instead: strings.Join(f.instead, "\n"), Aside: f.aside,
		Rule: f.rule, Shown: f.shown, Allowed: f.allowed,
	}
	if f.level == "" {
		v.Weight = "✗ error:"
	}
	if f.keys != nil {
		v.KeysSay = f.keys.says
		first := gridOf(f.keys.first)
		v.Keys = &first
		if f.keys.all.rows != nil {
			all := gridOf(f.keys.all)
			v.AllKeys = &all
		}
	}
	return v
}

// mostStatements is how many statements a timeline draws.
const mostStatements = 60

// timelineOf draws when each statement ran and whom its strongest lock kept waiting; nil: nothing ran.
func timelineOf(all []history.Statement, id string) *timelineView {
	var total history.Duration
	for _, s := range all {
		total += max(s.Took, 0)
	}
	if len(all) == 0 || total <= 0 {
		return nil
	}
	const label, room, high = 16, 860, 56
	v := &timelineView{ID: id, Width: label + room + 84, Left: max(0, len(all)-mostStatements)}
	var before history.Duration
	rank := map[string]int{"reads and writes": 3, "writes": 2, "schema changes": 1}
	for i, s := range all[:len(all)-v.Left] {
		row := timelineRow{
			Y: 26 + i*high, X: label + int(float64(before)/float64(total)*room), Wide: max(3, int(float64(max(s.Took, 0))/float64(total)*room)),
			Class: "free", Line: fmt.Sprintf("line %d", s.Line), Took: s.Took.Short(), Brief: clip(clean(s.Brief()), 96), Blocks: "blocks nobody",
		}
		before += max(s.Took, 0)
		strongest := 0
		var locks []string
		for _, l := range s.Locks {
			locks = append(locks, say("%s on %s", l.Mode, l.Table))
			if n := rank[l.Blocks]; n > strongest {
				strongest, row.Blocks = n, say("blocks %s", l.Blocks)
			}
		}
		row.Class = []string{"free", "schema", "writes", "all"}[strongest]
		row.Locks = clip(strings.Join(locks, "; "), 96)
		row.Title = fmt.Sprintf("%s: %s, %s", row.Line, row.Took, row.Blocks)
		v.Rows = append(v.Rows, row)
	}
	v.Height = 26 + len(v.Rows)*high + 6
	for i := range 5 {
		v.Ticks = append(v.Ticks, wordView{X: label + i*room/4, Y: 14, Words: precise(total * history.Duration(i) / 4)})
	}
	return v
}
