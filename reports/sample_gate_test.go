package reports_test

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/interlock-pg/interlock/harness/history"
)

// recorded reads one of the runs in testdata.
func recorded(name string) history.Run {
	file, err := os.Open(filepath.Join("testdata", name+".json"))
	if err != nil {
		panic(err)
	}
	defer file.Close()
	run, err := history.Decode(file)
	if err != nil {
		panic(err)
	}
	return run
}

// nastyGate has nasty content wherever a gate holds text.
func nastyGate() history.Run {
	run := recorded("gate-seed")
	run.Gate.Base = nasty[4]
	j := &run.Gate.Migrations[0]
	j.Path, j.Changes, j.NotCovered = nasty[8]+nasty[1]+nasty[3], slices.Clone(nasty), slices.Clone(nasty)
	for i := range j.Trials {
		j.Trials[i].Says, j.Trials[i].Details = nasty[i], slices.Clone(nasty)
	}
	j.Findings, j.Statements = nil, nil
	for i, s := range nasty {
		sql := "SELECT '" + s + "' || `x` /* ```` </code></details> | \n\n# no heading\n- no item */"
		f := history.Finding{
			Rule: s, Trial: history.Trials()[i%8], Level: []history.Level{history.LevelError, history.LevelWarning, history.LevelNote}[i%3], File: j.Path, Line: i,
			Column: i, Statement: sql, SQLState: s, Says: s, Evidence: nasty, Keys: &history.Table{Columns: []string{s}, Rows: [][]*string{texts(s), nil}},
			Query: sql, Rewrite: &history.Rewrite{SQL: sql, Note: s, Ran: s}, Repair: sql,
		}
		allowed := f
		allowed.Allowed = s
		j.Findings = append(j.Findings, f, allowed)
		j.Statements = append(j.Statements, history.Statement{
			Line: i, SQL: sql, Locks: []history.Lock{{Table: s, Mode: s, Blocks: s}}, Rewrote: nasty[:i%2],
		})
	}
	return run
}

// emptyGate found nothing to judge.
func emptyGate() history.Run {
	run := recorded("gate-clean")
	run.Gate.Migrations = nil
	return run
}

func gateSamples() map[string]history.Run {
	return map[string]history.Run{
		"gate-seed": recorded("gate-seed"), "gate-clean": recorded("gate-clean"), "gate-full": recorded("gate-full"), "gate-none": emptyGate(),
		"gate-nasty": nastyGate(),
	}
}
