package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

const (
	// mostKeys is how many of the rows that stand in the way are shown beside a finding.
	mostKeys = 5

	// longestProse is the most columns of one sentence that a finding or a trial says.
	longestProse = 2000
)

// page is what there is to say about one judged migration. All its strings are clean; of SQL there is a string a line.
type page struct {
	title    string // the path of its file
	tone     tone   // held, open or bad
	verdict  string // in words
	facts    []string
	findings []finding // that count, or that somebody should know, in order of line
	silenced []finding
	trials   []trial
	tables   []table  // its statements
	changes  []string // of the schema
	missing  []string // what was not covered
}

// finding is one thing that is not as it should be.
type finding struct {
	level string // a word before what it says; empty: it is an error
	tone  tone
	trial history.TrialName
	where string // as "line 5"
	brief string // the statement on one line
	says  string
	rule  string
	shown string // what showed it, as "shown by live"

	evidence []string
	keys     *keys
	query    []string
	instead  []string // SQL
	aside    string   // on the SQL: where to put it, and what became of it here
	repair   []string
	allowed  string // the reason for which it is silenced
}

// keys are rows that stand in the way.
type keys struct {
	says  string // how many there are
	first table
	all   table // as many as the run file has; no rows: first has them
}

// trial is one situation that a migration was put into.
type trial struct {
	name    history.TrialName
	title   string
	tone    tone // plain: it was skipped
	says    string
	details []string
	took    history.Duration
}

// gateMark returns the sign of a verdict on a migration, or of a trial.
func gateMark(t tone) string {
	return [...]string{plain: "–", held: "✓", caught: "✗", allowed: "✗", open: "?", bad: "✗"}[t]
}

// gate adds a page a migration to the story.
func (s *story) gate(run history.Run) func(tone) string {
	n, base := map[tone]int{}, ""
	if run.Gate != nil {
		base = prose(run.Gate.Base)
		for _, j := range run.Gate.Migrations {
			pg := judged(j)
			n[pg.tone]++
			s.pages = append(s.pages, pg)
			s.items = append(s.items, item{group: "gate", name: pg.title, tone: pg.tone, brief: pg.verdict})
		}
		if len(s.pages) == 0 && run.Verdict == history.Held {
			s.items = append(s.items, item{group: "gate", name: "migrations", tone: held, brief: "✓ none to judge"})
		}
	}
	return func(t tone) string {
		if t >= open {
			s.again = command(run.Command)
		}
		if len(s.pages) == 0 {
			if t != held {
				return "Unknown: nothing was judged."
			}
			if base != "" {
				return "No migration to judge among those " + base + "."
			}
			return "No migration to judge."
		}
		var parts []string
		if n[held] > 0 {
			parts = append(parts, fmt.Sprintf("%d may ship", n[held]))
		}
		if n[bad] > 0 && n[held] > 0 {
			parts = append(parts, fmt.Sprintf("%d must not", n[bad]))
		} else if n[bad] > 0 {
			parts = append(parts, fmt.Sprintf("%d must not ship", n[bad]))
		}
		if n[open] > 0 {
			parts = append(parts, fmt.Sprintf("%d could not be judged in full", n[open]))
		}
		lead := ""
		switch {
		case t == bad && n[bad] == 0:
			lead = "Not as it must be on the whole: "
		case t == open && n[open] == 0:
			lead = "Unknown on the whole: "
		}
		return lead + count(len(s.pages), "migration", "migrations") + " judged: " + strings.Join(parts, ", ") + "."
	}
}

// gateHeads returns the line that says what was run, and one on what it was run with.
func gateHeads(first string, run history.Run) []string {
	var with []string
	if run.Layout != "" {
		with = append(with, say("laid out for %s", run.Layout))
	}
	if g := run.Gate; g != nil {
		if g.Base != "" {
			with = append(with, "judged: "+prose(g.Base))
		}
		if g.Rows > 0 {
			with = append(with, thousands(g.Rows)+" rows a table")
		}
		if g.MaxStall > 0 {
			with = append(with, "a client may wait "+g.MaxStall.Short())
		}
	}
	if with == nil {
		return []string{first}
	}
	return []string{first, strings.Join(with, " · ")}
}

// judged returns the page of a migration. What is unknown never passes for held, nor what failed for either, whatever its verdict claims.
func judged(j history.Judged) page {
	pg := page{title: say("%s", cmp.Or(j.Path, j.Label, fmt.Sprint(j.Version))), tone: open}
	switch j.Verdict {
	case history.Held:
		pg.tone = held
	case history.Violated:
		pg.tone = bad
	}
	explained := j.Verdict == history.Held
	for _, f := range ordered(j) {
		one := found(f, j)
		if f.Counts() {
			pg.tone, explained = bad, true
		}
		if f.Allowed != "" {
			pg.silenced = append(pg.silenced, one)
		} else {
			pg.findings = append(pg.findings, one)
		}
	}
	var why []string
	for _, t := range j.Trials {
		one := tried(t, j.Findings)
		switch one.tone {
		case bad:
			pg.tone, explained = bad, true
		case open:
			pg.tone, explained = max(pg.tone, open), true
			why = append(why, one.title+": "+strings.TrimSuffix(one.says, "."))
		}
		pg.trials = append(pg.trials, one)
	}
	if len(j.Trials) == 0 && pg.tone == held {
		pg.tone, why = open, []string{"no trial was made"}
	}
	if !explained {
		why = append(why, "the run file does not say why")
	}
	switch pg.tone {
	case held:
		pg.verdict = "may ship"
	case bad:
		pg.verdict = "must not ship"
	default:
		pg.verdict = "not everything could be judged"
	}
	if why != nil && (pg.tone == open || !explained) {
		pg.verdict += " (" + strings.Join(why, "; ") + ")"
	}
	if j.Rewritten {
		pg.facts = append(pg.facts, "As it is, the file fails on every database; the trials after the first were made with what is to be written instead.")
	}
	if len(j.Statements) > 0 {
		pg.tables = append(pg.tables, statements(j.Statements))
	}
	pg.changes, pg.missing = sentences(j.Changes), sentences(j.NotCovered)
	return pg
}

// ordered returns the findings by line, what is not about a line after them, and what is about another file last.
func ordered(j history.Judged) []history.Finding {
	rank := func(f history.Finding) int {
		switch {
		case f.File != "" && f.File != j.Path:
			return 2
		case f.Line <= 0:
			return 1
		}
		return 0
	}
	return slices.SortedStableFunc(slices.Values(j.Findings), func(a, b history.Finding) int {
		if by := cmp.Compare(rank(a), rank(b)); by != 0 || rank(a) > 0 {
			return by
		}
		return cmp.Compare(a.Line, b.Line)
	})
}

// found returns a finding as it is shown.
func found(f history.Finding, j history.Judged) finding {
	one := finding{
		trial: f.Trial, where: "whole file", brief: clean(history.Statement{SQL: f.Statement}.Brief()), says: prose(f.Says), rule: say("%s", f.Rule),
		evidence: sentences(f.Evidence), query: script(f.Query), repair: script(f.Repair), allowed: prose(f.Allowed), shown: "from reading the file",
	}
	switch f.Level {
	case history.LevelError:
		one.tone = bad
	case history.LevelNote:
		one.level = "note"
	default:
		one.level, one.tone = "warning", open
	}
	if f.Line > 0 {
		one.where = fmt.Sprintf("line %d", f.Line)
	}
	if f.File != "" && f.File != j.Path {
		one.where = say("%s ", f.File) + one.where
	}
	if f.SQLState != "" && !strings.Contains(one.says, f.SQLState) {
		one.says = aside(one.says, say("%s", f.SQLState))
	}
	if f.Trial != "" {
		one.shown = say("shown by the trial %s", f.Trial)
	}
	for i, line := range one.repair {
		one.repair[i] = withoutPassword(line)
	}
	if f.Rewrite != nil {
		one.instead = script(f.Rewrite.SQL)
		ran := cmp.Or(prose(f.Rewrite.Ran), "not run here")
		one.aside = ran
		if note := prose(f.Rewrite.Note); note != "" {
			one.aside = note + "; " + ran
		}
	}
	if f.Keys != nil {
		one.keys = standing(*f.Keys, f.Trial)
	}
	return one
}

// weight returns how much a finding weighs, as a word; of an error, its sign.
func (f finding) weight() string {
	if f.level != "" {
		return f.level + ":"
	}
	return gateMark(bad)
}

// aside puts a word in brackets at the end of a sentence.
func aside(sentence, word string) string {
	if bare, stopped := strings.CutSuffix(sentence, "."); stopped {
		return bare + " (" + word + ")."
	}
	return sentence + " (" + word + ")"
}

// standing returns rows that stand in the way; nil: there are none.
func standing(t history.Table, of history.TrialName) *keys {
	total := max(t.Total, len(t.Rows))
	if total == 0 {
		return nil
	}
	k := keys{says: "would refuse " + count(total, "key", "keys")}
	if of != history.TrialDirty {
		k.says = count(total, "row stands", "rows stand") + " in the way"
	}
	for _, column := range t.Columns {
		k.all.head = append(k.all.head, say("%s", column))
	}
	for _, row := range t.Rows {
		cells := make([]text, len(row))
		for i, v := range row {
			cells[i].words = value(v)
		}
		k.all.rows = append(k.all.rows, cells)
	}
	k.first = table{head: k.all.head, rows: k.all.rows[:min(mostKeys, len(k.all.rows))]}
	shown, kept := len(k.first.rows), len(k.all.rows)
	switch {
	case kept < total && kept > shown:
		k.first.notes = []string{fmt.Sprintf("… and %d more (%d of them in the run file)", total-shown, kept-shown)}
	case kept < total:
		k.first.notes = []string{fmt.Sprintf("… and %d more", total-shown)}
	case kept > shown:
		k.first.notes = []string{fmt.Sprintf("… and %d more (in the run file)", total-shown)}
	}
	if kept == shown {
		k.all.rows = nil
	}
	return &k
}

// tried returns a trial as it is shown. A trial whose errors are all silenced does not count against the migration.
func tried(t history.Trial, findings []history.Finding) trial {
	one := trial{
		name: t.Name, title: cmp.Or(say("%s", t.Name), "unnamed"), says: cmp.Or(prose(t.Says), say("%s", t.State)),
		details: sentences(t.Details), took: t.Elapsed, tone: open,
	}
	counts, silenced := false, false
	for _, f := range findings {
		if f.Trial == t.Name {
			counts = counts || f.Counts()
			silenced = silenced || f.Level == history.LevelError && f.Allowed != ""
		}
	}
	switch {
	case counts:
		one.tone = bad
	case t.State == history.TrialFailed && silenced:
		one.tone, one.says = allowed, one.says+" (silenced)"
	case t.State == history.TrialFailed:
		one.tone = bad
	case t.State == history.TrialPassed:
		one.tone = held
	case t.State == history.TrialSkipped:
		one.tone = plain
	}
	return one
}

// statements returns what the run showed of each statement.
func statements(all []history.Statement) table {
	t := table{caption: "statements", head: []string{"line", "statement", "locked and rewrote", "took"}}
	for _, s := range all {
		var did []string
		for _, l := range s.Locks {
			lock := say("%s on %s", l.Mode, l.Table)
			if l.Blocks != "" {
				lock += say(", blocks %s", l.Blocks)
			}
			did = append(did, lock)
		}
		if rewrote := sentences(s.Rewrote); rewrote != nil {
			did = append(did, "rewrote "+strings.Join(rewrote, ", "))
		}
		took := s.Took.Short()
		if s.Rows > 0 {
			took += " at " + thousands(s.Rows) + nbsp + "rows"
		}
		t.rows = append(t.rows, []text{
			{words: fmt.Sprint(s.Line)}, {words: clean(s.Brief())}, {words: cmp.Or(strings.Join(did, ";\n"), "nothing")}, {words: took},
		})
	}
	return t
}

// strip returns all trials on one line.
func strip(trials []trial) string {
	names := make([]string, len(trials))
	for i, t := range trials {
		names[i] = t.title + nbsp + gateMark(t.tone)
	}
	return strings.Join(names, nbsp+" ")
}

var unbroken = strings.NewReplacer("\r\n", " ", "\n", " ", "\t", " ")

// prose returns a sentence that may be of several lines on one, clean.
func prose(s string) string { return clip(clean(strings.TrimSpace(unbroken.Replace(s))), longestProse) }

// sentences returns those that say something.
func sentences(all []string) []string {
	var clean []string
	for _, s := range all {
		if s = prose(s); s != "" {
			clean = append(clean, s)
		}
	}
	return clean
}

// script returns code as lines, each of them clean, without empty ones before and after; nil: there is none.
func script(code string) []string {
	code = strings.NewReplacer("\r\n", "\n", "\t", "    ").Replace(code)
	var all []string
	for line := range strings.SplitSeq(code, "\n") {
		all = append(all, strings.TrimRight(clean(line), " "))
	}
	for len(all) > 0 && all[0] == "" {
		all = all[1:]
	}
	for len(all) > 0 && all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	if len(all) == 0 {
		return nil
	}
	return all
}
