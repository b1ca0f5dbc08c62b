package reports_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

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
	for _, s := range nasty {
		j.Beside = append(j.Beside, history.Beside{
			Took: 1, Slowest: []history.Duration{-1, 0, math.MaxInt64}, Usual: -1,
			Locks: []history.LockSpan{{Table: s, Mode: s, Statement: s, Asked: -5, Granted: math.MaxInt64, Ended: 3}},
		}, history.Beside{Slowest: []history.Duration{0, 0}, Took: math.MaxInt64})
	}
	return run
}

// emptyGate found nothing to judge.
func emptyGate() history.Run {
	run := recorded("gate-clean")
	run.Gate.Migrations = nil
	return run
}

// beside is an index that is built while clients write: held up for most of a second; behind a long transaction, everybody waits.
func beside(long bool) history.Beside {
	const second = history.Duration(time.Second)
	b := history.Beside{
		Long: long, Took: second, Usual: 4 * second / 1000,
		Locks: []history.LockSpan{
			{Table: "aedpics.inspection_sessions", Mode: "SHARE", Asked: second / 10, Granted: second / 10, Ended: 9 * second / 10, Statement: "CREATE INDEX …"},
			{Table: "aedpics.inspection_schedules", Mode: "ACCESS EXCLUSIVE", Asked: second / 10, Granted: 6 * second / 10, Ended: 7 * second / 10},
			{Table: "aedpics.inspection_sessions", Mode: "SHARE", Asked: 95 * second / 100, Granted: 95 * second / 100, Ended: second},
		},
	}
	for i := range 120 {
		slowest := second / 500
		if i > 12 && i < 108 {
			slowest = 8 * second / 10
		}
		b.Slowest = append(b.Slowest, slowest)
	}
	return b
}

func gateSamples() map[string]history.Run {
	full := recorded("gate-full")
	full.Gate.Migrations[0].Beside = []history.Beside{beside(false), beside(true)}
	return map[string]history.Run{
		"gate-seed": recorded("gate-seed"), "gate-clean": recorded("gate-clean"), "gate-full": full, "gate-none": emptyGate(),
		"gate-nasty": nastyGate(),
	}
}
