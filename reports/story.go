package reports

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// story is what there is to say about a run, before anyone decides how it looks. All its strings are clean.
type story struct {
	head     []string // what was run, on what
	tables   []table
	legend   []string // what the marks and names in the tables mean
	headline string
	tone     tone
	findings []string
	items    []item
	pages    []page // a migration that was judged each; they come before the headline, except in Markdown
	again    string // the command of the run, where it has no proofs that hold one
	took     history.Duration

	verdictFirst bool // the headline comes before the tables
}

// item is one thing that was judged: a cell, a replayed counterexample, an invariant or index of a checked database, or the run itself where
// its parts do not explain its verdict.
type item struct {
	group, name string
	tone        tone
	brief       string   // the judgement in a few words, for a table
	notes       []string // one sentence on each thing that is not as it must be
	proofs      []proof
	took        history.Duration
}

// tone is how a thing is to be taken. The higher of two is that of both together.
type tone int

const (
	plain   tone = iota
	held         // nothing was seen that breaks it
	allowed      // broke where it may
	caught       // a negative control that broke, as it must
	open         // unknown
	bad          // not as it must be
)

// mark returns the sign that stands beside the words, never instead of them.
func (t tone) mark() string {
	return [...]string{plain: "", held: "✓", caught: "✗", allowed: "✗", open: "?", bad: "!!"}[t]
}

// table is rows under a head, of which the first column names the row, or else an interleaving.
type table struct {
	caption string
	head    []string
	rows    [][]text
	notes   []string
	chart   *chart
}

// text is what one cell of a table says.
type text struct {
	words string
	tone  tone
}

// proof shows how something broke: sentences, then tables, then sentences, then where to look and how to see it again.
type proof struct {
	title  string
	tone   tone
	facts  []string
	tables []table
	after  []string
	where  [][2]string // label and value
	again  string      // the command that repeats it
	forms  [][2]string // commands that print it for other tools, with their names
}

// tell returns the story of a run.
func tell(run history.Run) story {
	s := story{took: run.Elapsed, head: heads(run)}
	for _, finding := range run.Findings {
		if finding != "" {
			s.findings = append(s.findings, say("%s", finding))
		}
	}
	headline := s.race
	switch run.Kind {
	case history.KindReplay:
		headline = s.replay
	case history.KindCheck:
		headline = s.check
	case history.KindRepair:
		headline = s.repair
	case history.KindExplore:
		headline = s.explore
	case history.KindGate:
		headline = s.gate
	case history.KindLoad:
		headline = s.load
	}
	conclude := headline(run)

	whole := item{group: "interlock", name: say("%s", cmp.Or(run.Kind, history.KindRun)), took: run.Elapsed}
	for _, it := range s.items {
		s.tone = max(s.tone, it.tone)
	}
	verdict := map[history.Verdict]tone{history.Held: held, history.Violated: bad}[run.Verdict]
	switch {
	case run.Trouble != "":
		whole.tone, whole.notes = max(open, verdict), []string{say("cut short: %s", run.Trouble)}
	case len(s.items) == 0:
		whole.tone, whole.notes = max(open, verdict), []string{"nothing was judged"}
	case verdict == plain && s.tone < open:
		whole.tone, whole.notes = open, []string{say("the verdict on the whole is %q, and its parts do not say why", string(run.Verdict))}
	case verdict == bad && s.tone < bad:
		whole.tone, whole.notes = bad, []string{"the verdict on the whole is violated, and its parts do not say why"}
		if len(s.findings) > 0 {
			whole.notes = s.findings
		}
	}
	if whole.tone != plain {
		s.items = append(s.items, whole)
		s.tone = max(s.tone, whole.tone)
	}
	s.headline = conclude(s.tone)
	return s
}

// heads returns the lines that say what was run, on what; what the run file does not say is left out.
func heads(run history.Run) []string {
	var what, bounds []string
	if run.Kind == history.KindCheck && run.Check != nil && run.Check.Database != "" {
		what = append(what, "check of "+withoutPassword(run.Check.Database))
	} else if run.Kind == history.KindRepair && run.Repair != nil && run.Repair.Database != "" {
		what = append(what, "repair of "+withoutPassword(run.Repair.Database))
	} else if run.Kind == history.KindGate {
		what = append(what, "gate")
	} else if run.Kind == history.KindReplay {
		what = append(what, "replay")
	}
	if run.Server.Release != "" {
		server := say("postgres %s", run.Server.Release)
		if run.Server.Provider != "" {
			server += say(", %s", run.Server.Provider)
		}
		if run.Server.Ready > 0 {
			server += ", ready in " + run.Server.Ready.Short()
		}
		what = append(what, server)
	}
	if n := len(run.Migrations); n > 0 {
		migrations := fmt.Sprintf("migration %d", run.Migrations[0].Version)
		if n > 1 {
			migrations = fmt.Sprintf("migrations %d…%d", run.Migrations[0].Version, run.Migrations[n-1].Version)
		}
		if run.MigrationsDir != "" {
			migrations += say(" of %s", run.MigrationsDir)
		}
		what = append(what, migrations)
	}
	if run.Kind == history.KindCheck || run.Kind == history.KindRepair {
		return []string{strings.Join(what, " · ")}
	}
	what = append(what, fmt.Sprintf("seed %d", run.Seed))
	if run.Kind == history.KindGate {
		return gateHeads(strings.Join(what, " · "), run)
	}
	if run.Kind == history.KindLoad {
		return loadHeads(strings.Join(what, " · "), run)
	}
	driver, one, many := "stress", "round", "rounds"
	if run.Kind == history.KindExplore {
		driver, one, many = "explore", "interleaving", "interleavings"
	}
	if run.Bounds.Rounds > 0 {
		bounds = append(bounds, "at most "+count(run.Bounds.Rounds, one, many)+" a cell")
	}
	if run.Bounds.For > 0 {
		bounds = append(bounds, "at most "+run.Bounds.For.Short()+" a cell")
	}
	if run.Bounds.Clients > 0 {
		bounds = append(bounds, "at most "+count(run.Bounds.Clients, "client", "clients")+" at once")
	}
	lines := []string{strings.Join(what, " · ")}
	if bounds != nil {
		lines = append(lines, driver+": "+strings.Join(bounds, ", "))
	}
	return lines
}
