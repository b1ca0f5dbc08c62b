package reports

import (
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// suite returns a judged migration as a suite: a case for what reading it showed, and a case a trial. What keeps it from shipping is a failure,
// what could not be judged an error.
func (pg page) suite() junitSuite {
	suite := junitSuite{Name: plainly(pg.title)}
	of := func(name history.TrialName) func(finding) bool {
		return func(f finding) bool { return f.trial == name }
	}
	tried := func(f finding) bool {
		return slices.ContainsFunc(pg.trials, func(t trial) bool { return t.name == f.trial && t.name != "" })
	}
	reading := trial{title: "reading", tone: held, says: "nothing that is known to be unsafe"}
	rest := pick(pg.findings, func(f finding) bool { return !tried(f) })
	if n := len(rest); n > 0 {
		reading.says = count(n, "finding", "findings")
	}
	for _, f := range rest {
		if f.tone == bad {
			reading.tone = bad
		}
	}
	suite.add(pg.title, reading, rest, pick(pg.silenced, func(f finding) bool { return !tried(f) }))
	worst, took := reading.tone, history.Duration(0)
	for _, t := range pg.trials {
		var own, silenced []finding
		if t.name != "" {
			own, silenced = pick(pg.findings, of(t.name)), pick(pg.silenced, of(t.name))
		}
		suite.add(pg.title, t, own, silenced)
		worst, took = max(worst, t.tone), took+t.took
	}
	if pg.tone > worst { // no case of it says so
		suite.add(pg.title, trial{title: "verdict", tone: pg.tone, says: pg.verdict}, nil, nil)
	}
	suite.Time = seconds(took)
	return suite
}

func pick(all []finding, those func(finding) bool) []finding {
	return slices.DeleteFunc(slices.Clone(all), func(f finding) bool { return !those(f) })
}

// add adds a trial as a case.
func (s *junitSuite) add(class string, t trial, findings, silenced []finding) {
	c := junitCase{Class: plainly(class), Name: plainly(t.title), Time: seconds(t.took)}
	p := printer{Style: Style{Width: 100}}
	p.line(t.says)
	for _, detail := range t.details {
		p.line("- " + detail)
	}
	p.findings(findings)
	for _, f := range silenced {
		p.line("silenced in the file: " + f.where + ", " + f.rule + ": " + f.allowed)
	}
	said := plainly(p.String())
	fault := &junitFault{Message: plainly(t.says), Text: said}
	if i := slices.IndexFunc(findings, func(f finding) bool { return f.tone == bad }); i >= 0 {
		fault.Message = plainly(strings.TrimSpace(findings[i].where + ": " + findings[i].says))
	}
	switch t.tone {
	case bad:
		fault.Type = "must not ship"
		c.Failure = fault
		s.Failures++
	case open:
		fault.Type = "unknown"
		c.Error = fault
		s.Errors++
	case plain:
		c.Skipped = &junitSkip{Message: plainly(t.says)}
		s.Skipped++
		if len(findings)+len(silenced)+len(t.details) > 0 {
			c.Says = said
		}
	default:
		c.Says = said
	}
	s.Cases = append(s.Cases, c)
	s.Tests++
}
