package reports_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
)

const (
	ms  = history.Duration(time.Millisecond)
	sec = history.Duration(time.Second)
)

func text(s string) *string { return &s }

var says = map[string]string{
	"S1": "at most one open session per device",
	"S2": "no two visits to a device less than 30 minutes apart",
	"S3": "a refused request is told conflict, never failed",
	"S4": "of those who contend for a free slot, exactly one is told created",
}

// defaultRun is what `interlock run` writes when all is as it must be: 2 scenarios × 7 defences × 3 migrations.
func defaultRun() history.Run {
	run := history.Run{
		Format: history.Format, Kind: history.KindRun, Seed: 7341, Verdict: history.Held, Elapsed: 12400 * ms,
		Tool:    history.Tool{Version: "0.1.0", Go: "go1.26.0", OS: "linux", Arch: "amd64", CPUs: 2},
		Command: []string{"interlock", "run", "--seed", "7341"},
		Started: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC),
		Server:  history.Server{Provider: "local", Release: "15.18", Ready: 71 * ms},
		Bounds:  history.Bounds{Rounds: 100, For: 4 * sec},
		Migrations: []history.Migration{
			{Version: 1, Label: "base", Checksum: "aa01"},
			{Version: 2, Label: "seed's index", Checksum: "bb02"},
			{Version: 3, Label: "exclusion", Checksum: "cc03"},
		},
	}
	defences := []struct {
		name, says string
		detects    bool // it keeps the race away by itself
		maps       bool // it maps a refusal of the database to conflict
	}{
		{"none", "check, then insert, READ COMMITTED: what production does", false, false},
		{"constraint", "insert, map 23505 and 23P01 to conflict", false, true},
		{"serializable", "SERIALIZABLE, retry on 40001", true, true},
		{"advisory", "pg_advisory_xact_lock, then check", true, true},
		{"rowlock", "SELECT … FOR UPDATE on the device, then check", true, true},
		{"repeatable-read", "REPEATABLE READ: looks safe, is not", false, false},
		{"rowlock-repeatable-read", "FOR UPDATE after the snapshot is taken: looks safe, is not", false, false},
	}
	for _, scenario := range []struct {
		name, main string
		guarded    int64 // from this migration on the database itself refuses
	}{{"sessions", "S1", 2}, {"schedules", "S2", 3}} {
		for _, d := range defences {
			for _, m := range run.Migrations {
				cell := history.Cell{
					Scenario: scenario.name, Variant: d.name, Says: d.says, At: m.Version, AsExpected: true, Verdict: history.Held,
					Coverage: history.Coverage{Rounds: 100, Operations: 400, Elapsed: 280 * ms},
				}
				guarded := m.Version >= scenario.guarded
				for _, name := range []string{scenario.main, "S3", "S4"} {
					j := history.Judgement{Invariant: name, Says: says[name], Verdict: history.Held, Expected: history.MustHold}
					if name == "S3" && guarded && !d.maps || name != "S3" && !guarded && !d.detects {
						j.Verdict, j.Expected, j.Broken, j.First, j.FirstAt = history.Violated, history.MustBreak, 37, 2, 6*ms
						cell.Verdict = history.Violated
					}
					cell.Invariants = append(cell.Invariants, j)
				}
				run.Cells = append(run.Cells, cell)
			}
		}
	}
	return run
}

// at returns a cell of a run, to be changed.
func at(run history.Run, scenario, variant string, version int64) *history.Cell {
	i := slices.IndexFunc(run.Cells, func(c history.Cell) bool { return c.Scenario == scenario && c.Variant == variant && c.At == version })
	return &run.Cells[i]
}

func raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

type visit struct {
	Device int    `json:"device"`
	At     string `json:"at"`
}

// race is a round in which two clients get two visits 12 minutes apart.
func race() history.Round {
	return history.Round{
		Number: 17, Input: raw(map[string]any{"clients": 2}), Took: 9 * ms,
		Operations: []history.Operation{
			{
				Client: "A", Kind: "create schedule", Subject: "17", Slot: "17", Input: raw(visit{17, "10:00"}), Outcome: "created",
				Row: "8c1d2a90", Attempts: 1, Invoked: 12000, Returned: 1402000,
			},
			{
				Client: "B", Kind: "create schedule", Subject: "17", Slot: "17", Input: raw(visit{17, "10:12"}), Outcome: "created",
				Row: "91aa03fe", Attempts: 2, Invoked: 85000, Returned: 1530000,
			},
			{
				Client: "A", Number: 1, Kind: "cancel", Subject: "8c1d2a90", Outcome: "failed", SQLState: "40P01",
				Message: "deadlock detected", Attempts: 3, Invoked: 1600000, Returned: 4200000,
			},
		},
		Violations: []history.Violation{
			{Invariant: "S2", Moment: history.AtRest, Rows: history.Table{
				Columns: []string{"aed_data_id", "first", "second", "apart"},
				Rows:    [][]*string{{text("17"), text("2026-03-01 10:00:00+00"), text("2026-03-01 10:12:00+00"), text("00:12:00")}},
			}},
			{Invariant: "S4", Moment: history.AtRest, Rows: history.Table{Columns: []string{"slot"}, Rows: [][]*string{{text("17")}}}},
		},
	}
}

func counterexample() history.Counterexample {
	found := race()
	for i := range 5 {
		found.Operations = append(found.Operations, history.Operation{Client: fmt.Sprintf("C%d", i), Kind: "create schedule"})
	}
	return history.Counterexample{
		Invariant: "S2", Found: found, Round: race(), Clients: 2, Tried: 41, Reproduced: 10, Repeated: 10,
		Database: "postgres://postgres:secret@127.0.0.1:54321/interlock_7341_12?sslmode=disable",
		File:     "interlock-out/schedules-constraint-3.json", Again: "interlock replay interlock-out/schedules-constraint-3.json", Elapsed: 800 * ms,
	}
}

// violatedRun has one violation where none may be.
func violatedRun() history.Run {
	run := defaultRun()
	run.Verdict = history.Violated
	run.Findings = []string{"the constraint that protects S2 at 3 is not enforced"}
	cell := at(run, "schedules", "constraint", 3)
	cell.Verdict, cell.AsExpected = history.Violated, false
	j := &cell.Invariants[0]
	j.Verdict, j.Broken, j.First, j.FirstAt = history.Violated, 3, 17, 48*ms
	cell.Counterexamples = []history.Counterexample{counterexample()}
	return run
}

// missedRun has a negative control that was not caught.
func missedRun() history.Run {
	run := defaultRun()
	run.Verdict = history.Violated
	cell := at(run, "sessions", "none", 1)
	cell.Verdict, cell.AsExpected = history.Held, false
	for i := range cell.Invariants {
		cell.Invariants[i].Verdict, cell.Invariants[i].Broken = history.Held, 0
	}
	return run
}

// unknownRun was cut short: one cell could not be judged, one had too little time, the rest was not reached.
func unknownRun() history.Run {
	run := defaultRun()
	run.Verdict, run.Trouble, run.Cells = history.Unknown, "interrupted", run.Cells[:7]
	one := &run.Cells[5]
	one.Verdict, one.AsExpected, one.Trouble, one.Invariants = history.Unknown, false, "the server closed the connection", nil
	other := &run.Cells[6]
	other.Verdict, other.AsExpected, other.Coverage.Rounds = history.Unknown, false, 0
	for i := range other.Invariants {
		other.Invariants[i].Verdict = history.Unknown
	}
	return run
}

func replayRun(reproduced int) history.Run {
	run := violatedRun()
	cell := *at(run, "schedules", "constraint", 3)
	run.MigrationsDir = "./db/migrations"
	run.Kind, run.Cells, run.Findings, run.Bounds, run.Elapsed = history.KindReplay, []history.Cell{cell}, nil, history.Bounds{}, 210*ms
	cx := &run.Cells[0].Counterexamples[0]
	cx.Reproduced = reproduced
	if reproduced == 0 {
		run.Verdict = history.Unknown
		quiet := race()
		quiet.Violations = nil
		quiet.Operations = quiet.Operations[:2]
		quiet.Operations[1].Outcome, quiet.Operations[1].SQLState, quiet.Operations[1].Row = "conflict", "23P01", ""
		run.Cells[0].Rounds = []history.Round{quiet}
	}
	return run
}

func checkRun(dirty bool) history.Run {
	run := history.Run{
		Format: history.Format, Kind: history.KindCheck, Verdict: history.Held, Elapsed: 82 * ms,
		Command: []string{"interlock", "check", "--postgres", "host=db user=me password=secret"},
		Server:  history.Server{Provider: "dsn", Release: "16.4"},
		Check: &history.Check{
			Database: "postgres://me:secret@db:5432/prod",
			Invariants: []history.CheckedOne{
				{Invariant: "S1", Says: says["S1"], Verdict: history.Held, Rows: history.Table{Columns: []string{"serial"}}, Elapsed: 3100000},
				{Invariant: "S2", Says: says["S2"], Verdict: history.Held, Elapsed: 12 * ms},
			},
			Indexes: []history.Index{
				{
					Name: "one_open_session_per_device", Table: "inspection_sessions", Protects: "S1", Present: true, Valid: true, Enforcing: true,
					Scans: 1042, Bytes: 16384,
				},
				{Name: "no_overlapping_schedules", Table: "inspection_schedules", Protects: "S2", Present: true, Valid: true, Enforcing: true, Bytes: 40 << 20},
				{Name: "sessions_by_inspector", Table: "inspection_sessions", Present: true, Valid: true, Scans: 7, Bytes: 8192},
			},
		},
	}
	if !dirty {
		return run
	}
	run.Verdict = history.Violated
	first := &run.Check.Invariants[0]
	first.Verdict = history.Violated
	first.Rows = history.Table{Columns: []string{"equipment_serial", "open", "oldest"}, Total: 52}
	for i := range 25 {
		first.Rows.Rows = append(first.Rows.Rows, []*string{text(fmt.Sprintf("AED-%04d", i)), text("2"), text("2026-03-01 10:00:00+00")})
	}
	run.Check.Invariants = append(run.Check.Invariants,
		history.CheckedOne{Invariant: "S5", Says: "what was acknowledged is there", Verdict: history.Unknown, Why: "no permission on aedpics.audit", Elapsed: ms})
	run.Check.Indexes[0].Valid, run.Check.Indexes[0].Enforcing = false, false
	run.Check.Indexes[0].Why = "INVALID: a CREATE INDEX CONCURRENTLY failed and left it behind"
	run.Check.Indexes[1].Enforcing, run.Check.Indexes[1].Present = false, false
	run.Check.Indexes[2].Valid = false
	return run
}

// nasty is content that wants to be more than content.
var nasty = []string{
	"한국어-AED-서울 🚑👩‍🚒 e\u0301", "a|b `c` *d* _e_ [f](javascript:alert(1))", "<script>alert('x')</script> &amp; ]]>", "line\r\nbreak\ttab",
	"\x1b[31mred\x1b[0m \a\b \x7f \u0085 \u202e gnp.exe \u2066", "bad\xffbytes\xc3", "", "NULL", "::error title=x::50% done, now", "\ufeff\u200b\u00a0\ufffe",
}

// nastyRun has nasty content wherever a run holds text, in an unexpected violation.
func nastyRun() history.Run {
	run := violatedRun()
	cell := *at(run, "schedules", "constraint", 3)
	cell.Scenario, cell.Variant, cell.Says = nasty[0], nasty[1], nasty[2]+nasty[3]
	run.Cells = []history.Cell{cell}
	run.Findings = slices.Clone(nasty)
	run.Trouble, run.Server.Release, run.Server.Provider = nasty[4], nasty[5], nasty[2]
	run.Command = nasty
	run.Tool.Version = nasty[4]
	run.Migrations[2].Label = nasty[9] + nasty[1]
	j := &run.Cells[0].Invariants[0]
	j.Invariant, j.Says = nasty[0]+nasty[4], nasty[2]
	cx := counterexample()
	cx.Invariant, cx.Again, cx.File, cx.Database = j.Invariant, "interlock replay "+nasty[4]+" ```"+nasty[3], nasty[3], nasty[8]
	long := ""
	for range 400 {
		long += "가나"
	}
	values := []*string{nil}
	for _, s := range append(slices.Clone(nasty), long) {
		values = append(values, text(s))
	}
	cx.Round.Operations = nil
	for i, s := range nasty {
		cx.Round.Operations = append(cx.Round.Operations, history.Operation{
			Client: nasty[(i+1)%3], Number: i, Kind: s, Subject: s, Input: raw(map[string]string{"value": s}), Outcome: s, Row: s, SQLState: s,
			Message: s, Invoked: history.Duration(i) * ms, Returned: history.Duration(i+3) * ms,
		})
	}
	cx.Round.Violations = []history.Violation{
		{Invariant: j.Invariant, Moment: history.Running, Rows: history.Table{Columns: nasty[:4], Rows: [][]*string{values[:4], values[4:8], values[8:]}}},
		{Invariant: j.Invariant, Moment: history.AtRest, Rows: history.Table{Columns: []string{"none"}}},
	}
	run.Cells[0].Counterexamples = []history.Counterexample{cx}
	return run
}

func samples() map[string]history.Run {
	all := map[string]history.Run{
		"default": defaultRun(), "violated": violatedRun(), "missed": missedRun(), "unknown": unknownRun(), "nasty": nastyRun(),
		"replay-reproduced": replayRun(10), "replay-not-reproduced": replayRun(0),
		"check-clean": checkRun(false), "check-dirty": checkRun(true), "empty": {},
		"explore-violated": exploreViolated(), "explore-deadlock": exploreDeadlock(), "explore-autocommit": exploreAutocommit(), "explore-retry": exploreRetry(),
		"explore-held": exploreHeld(), "explore-unknown": exploreUnknown(), "explore-four": exploreFour(), "explored": exploredRun(),
		"replay-interleaving": replayedRun(history.Violated, ""), "replay-gone": replayedRun(history.Held, ""),
		"replay-unsteady": replayedRun(history.Unknown, "the search diverged"), "replay-not-applicable": notApplicableRun(),
		"nasty-interleaving": nastyInterleaving(), "saved": savedRun(), "load-defences": recorded("load-defences"), "load-ramp": recorded("load-ramp"),
	}
	maps.Copy(all, gateSamples())
	return all
}
