package reports_test

import (
	"fmt"

	"github.com/interlock-pg/interlock/harness/history"
)

// texts returns values as they are in a run file; "NULL" is none.
func texts(values ...string) []*string {
	all := make([]*string, len(values))
	for i, v := range values {
		if v != "NULL" {
			all[i] = text(v)
		}
	}
	return all
}

func told(kind, outcome string) []history.Told {
	return []history.Told{{Kind: kind, Outcome: outcome}}
}

// number numbers steps by their releases: a step that goes on belongs to the release before it.
func number(steps ...history.Step) []history.Step {
	n := 0
	for i := range steps {
		if !steps[i].Resumed {
			n++
		}
		steps[i].Number = n
		if steps[i].Kind == "" {
			steps[i].Kind = "statement"
		}
		if steps[i].Outcome == "" {
			steps[i].Outcome = history.Answered
		}
	}
	return steps
}

const (
	lookForVisits = `
		select count(*) from aedpics.inspection_schedules
		where aed_data_id = $1 and status <> 'cancelled' -- the app forgets in_progress
		  and scheduled_for between $2::timestamptz - interval '30 minutes' and $2::timestamptz + interval '30 minutes'`
	insertVisit = `insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for, created_by) values ($1, $2, $3, $4) returning id`
)

func look(client, at string) history.Step {
	return history.Step{
		Client: client, SQL: lookForVisits, Parameters: texts("17", at), Types: []string{"integer", "timestamp with time zone"},
		Isolation: "read committed", Begins: true, Tag: "SELECT 1", Rows: 1,
		Returned: &history.Table{Columns: []string{"count"}, Rows: [][]*string{texts("0")}},
	}
}

func insert(client, at, id string) history.Step {
	return history.Step{
		Client: client, SQL: insertVisit, Parameters: texts("17", "AED-17's", at, "NULL"), Isolation: "read committed", Tag: "INSERT 0 1", Rows: 1,
		Returned: &history.Table{Columns: []string{"id"}, Rows: [][]*string{texts(id)}},
	}
}

func commit(client, outcome string) history.Step {
	return history.Step{
		Client: client, Kind: "commit", SQL: "commit", Isolation: "read committed", Tag: "COMMIT", Told: told("create schedule", outcome),
	}
}

// interleaved is two clients who look before either of them commits.
func interleaved() history.Counterexample {
	cx := counterexample()
	cx.Round.Operations = cx.Round.Operations[:2]
	last := commit("B", "created")
	last.Broken = []string{"S2", "S4"}
	occupied := look("B", "2026-03-01 10:12:00+09")
	occupied.Returned = &history.Table{Columns: []string{"count"}, Rows: [][]*string{texts("1")}}
	cx.Interleaving = &history.Interleaving{Clients: []string{"A", "B"}, Steps: number(
		look("A", "2026-03-01 10:00:00+09"), look("B", "2026-03-01 10:12:00+09"),
		insert("A", "2026-03-01 10:00:00+09", "8c1d2a90-0000-4000-8000-000000000001"), commit("A", "created"),
		insert("B", "2026-03-01 10:12:00+09", "91aa03fe-0000-4000-8000-000000000002"), last,
	)}
	cx.Nearest = &history.Interleaving{Clients: []string{"A", "B"}, Steps: number(
		look("A", "2026-03-01 10:00:00+09"), insert("A", "2026-03-01 10:00:00+09", "8c1d2a90-0000-4000-8000-000000000001"), commit("A", "created"),
		occupied, history.Step{Client: "B", Kind: "rollback", SQL: "rollback", Isolation: "read committed", Told: told("create schedule", "conflict")},
	)}
	cx.Parts, cx.Preemptions, cx.Order, cx.Tried = 2, 1, 2, 0
	cx.Query = "select aed_data_id from aedpics.inspection_schedules"
	cx.Database = ""
	return cx
}

// exploreRun is what `interlock explore` writes of one cell.
func exploreRun(c history.Cell, cxs ...history.Counterexample) history.Run {
	run := defaultRun()
	c.Counterexamples = cxs
	run.Kind, run.Cells, run.Bounds, run.Elapsed, run.Verdict = history.KindExplore, []history.Cell{c}, history.Bounds{For: 30 * sec}, 412*ms, c.Verdict
	run.Command = []string{"interlock", "explore", c.Name()}
	return run
}

// cell returns a cell; of its invariants, the first ones are violated.
func cell(scenario, variant string, verdict history.Verdict, violated int, invariants ...string) history.Cell {
	c := history.Cell{Scenario: scenario, Variant: variant, Says: "check, then insert, as production does", At: 2, Verdict: verdict}
	for i, name := range invariants {
		j := history.Judgement{Invariant: name, Says: says[name], Verdict: verdict}
		switch {
		case verdict != history.Violated:
		case i < violated:
			j.Orders = 2 - i
		default:
			j.Verdict = history.Held
		}
		c.Invariants = append(c.Invariants, j)
	}
	return c
}

// exploreViolated is check-then-insert at READ COMMITTED.
func exploreViolated() history.Run {
	c := cell("schedules", "none", history.Violated, 2, "S2", "S4", "S3")
	c.Explorations = []history.Exploration{{
		Strategy: "reduced", Clients: 2, Possible: "20", Executed: 4, Violating: 2, Complete: true, Workers: 2, Elapsed: 5 * ms,
		Outcomes: map[string]int{"A created; B conflict": 1, "A conflict; B created": 1, "A created; B created": 2},
	}}
	return exploreRun(c, interleaved())
}

// exploreDeadlock is three clients that move money, and wait for each other.
func exploreDeadlock() history.Run {
	move := func(client string, amount, account string) history.Step {
		return history.Step{
			Client: client, SQL: "update accounts set balance = balance + $1 where id = $2", Parameters: texts(amount, account), Isolation: "read committed",
			Tag: "UPDATE 1", Rows: 1,
		}
	}
	begins := func(s history.Step) history.Step { s.Begins = true; return s }
	waits := func(s history.Step, lock string, clients ...string) history.Step {
		s.Outcome, s.WaitsFor, s.Lock, s.Tag = history.Waiting, clients, lock, ""
		return s
	}
	goes := func(s history.Step) history.Step { s.Resumed = true; return s }
	fails := func(s history.Step) history.Step {
		s.Outcome, s.SQLState, s.Message, s.Tag, s.Rows = history.Refused, "40P01", "deadlock detected", "", 0
		return s
	}
	end := func(client, kind, outcome string) history.Step {
		return history.Step{Client: client, Kind: kind, SQL: kind, Isolation: "read committed", Told: told("transfer", outcome)}
	}
	last := end("C", "commit", "done")
	last.Broken = []string{"S3"}
	cx := history.Counterexample{
		Invariant: "S3", Clients: 3, Reproduced: 7, Repeated: 10, Preemptions: 3, Order: 1204, File: "interlock-out/transfers-at-2-S3.json",
		Again: "interlock replay interlock-out/transfers-at-2-S3.json", Outcomes: true, Tried: 6,
		Round: history.Round{
			Operations: []history.Operation{
				{Client: "A", Kind: "transfer", Input: raw(map[string]int{"from": 1, "to": 2}), Outcome: "done"},
				{Client: "B", Kind: "transfer", Input: raw(map[string]int{"from": 2, "to": 1}), Outcome: "failed"},
				{Client: "C", Kind: "transfer", Input: raw(map[string]int{"from": 1, "to": 3}), Outcome: "done"},
			},
			Violations: []history.Violation{{Invariant: "S3", Moment: history.AtRest, Rows: history.Table{
				Columns: []string{"client", "outcome", "sqlstate"}, Rows: [][]*string{texts("B", "failed", "40P01")},
			}}},
		},
	}
	cx.Interleaving = &history.Interleaving{Clients: []string{"A", "B", "C"}, Steps: number(
		begins(move("A", "-5", "1")), begins(move("B", "-7", "2")), waits(begins(move("C", "-1", "1")), "a row of accounts", "A"),
		waits(move("A", "5", "2"), "a row of accounts", "B"), fails(move("B", "7", "1")), goes(move("A", "5", "2")),
		end("B", "rollback", "failed"), end("A", "commit", "done"), goes(move("C", "-1", "1")), move("C", "1", "3"), last,
	)}
	c := cell("transfers", "", history.Violated, 1, "S3")
	c.Says = "two updates in a transaction"
	c.Explorations = []history.Exploration{
		{Strategy: "reduced", Clients: 2, Executed: 6, Complete: true, Workers: 2, Elapsed: 12 * ms, Outcomes: map[string]int{"A done; B done": 6}},
		{Strategy: "reduced", Clients: 3, Executed: 1204, Asleep: 17, Violating: 1, WakeOrders: 88, Workers: 2, Elapsed: 3 * sec, Trouble: "the first violation was enough"},
	}
	return exploreRun(c, cx)
}

// exploreAutocommit is two statements, atomic each of them, that insert twice.
func exploreAutocommit() history.Run {
	const sql = "insert into bookings (seat, who) select 1, $1 where not exists (select from bookings where seat = 1)"
	book := func(client, who string) history.Step {
		return history.Step{Client: client, SQL: sql, Parameters: texts(who), Begins: true, Autocommit: true, Isolation: "read committed", Tag: "INSERT 0 1", Rows: 1}
	}
	end := func(client string) history.Step {
		return history.Step{Client: client, Kind: "commit", SQL: sql, Autocommit: true, Isolation: "read committed", Told: told("book", "created")}
	}
	last := end("B")
	last.Broken = []string{"one booking"}
	none := book("B", "Park")
	none.Tag, none.Rows = "INSERT 0 0", 0
	refused := end("B")
	refused.Told = told("book", "conflict")
	cx := history.Counterexample{
		Invariant: "one booking", Clients: 2, Reproduced: 10, Repeated: 10, Order: 1, File: "seats.json", Again: "interlock replay seats.json", Preemptions: 1,
		Interleaving: &history.Interleaving{Clients: []string{"A", "B"}, Steps: number(book("A", "Kim"), book("B", "Park"), end("A"), last)},
		Nearest:      &history.Interleaving{Clients: []string{"A", "B"}, Steps: number(book("A", "Kim"), end("A"), none, refused)}, Parts: 2,
		Round: history.Round{
			Operations: []history.Operation{{Client: "A", Kind: "book", Outcome: "created"}, {Client: "B", Kind: "book", Outcome: "created"}},
			Violations: []history.Violation{{Invariant: "one booking", Moment: history.AtRest, Rows: history.Table{
				Columns: []string{"seat", "bookings"}, Rows: [][]*string{texts("1", "2")},
			}}},
		},
	}
	c := cell("seats", "", history.Violated, 1, "one booking")
	c.At, c.Says, c.Invariants[0].Says = 0, "", "a seat is booked at most once"
	c.Explorations = []history.Exploration{{
		Strategy: "all", Clients: 2, Possible: "6", Executed: 6, Violating: 4, Complete: true, Workers: 2, Elapsed: 6 * ms,
		Outcomes: map[string]int{"A created; B created": 4, "A created; B conflict": 1, "A conflict; B created": 1},
	}}
	return exploreRun(c, cx)
}

// exploreRetry is SERIALIZABLE: a client's first attempt fails, and its second one is told what breaks the invariant.
func exploreRetry() history.Run {
	cx := interleaved()
	strict := func(s history.Step) history.Step { s.Isolation = "serializable"; return s }
	fails := strict(commit("B", ""))
	fails.Outcome, fails.SQLState, fails.Told, fails.Tag = history.Refused, "40001", nil, ""
	fails.Message = "could not serialize access due to read/write dependencies among transactions"
	again := strict(look("B", "2026-03-01 10:12:00+09"))
	again.Passed = []string{"set timezone = 'Asia/Seoul'"}
	again.Returned, again.Rows = &history.Table{Columns: []string{"id", "scheduled_for"}, Rows: [][]*string{
		texts("1", "2026-03-01 01:00:00+00"), texts("2", "NULL"),
	}}, 2
	gives := history.Step{Client: "B", Kind: "rollback", SQL: "rollback", Isolation: "serializable", Told: told("create schedule", "conflict"), Broken: []string{"S6"}}
	lock := strict(history.Step{Client: "B", SQL: "lock table aedpics.inspection_schedules in share mode", Tag: "LOCK TABLE"})
	cx.Invariant, cx.Nearest = "S6", nil
	cx.Interleaving.Steps = number(
		strict(look("A", "2026-03-01 10:00:00+09")), strict(look("B", "2026-03-01 10:12:00+09")),
		strict(insert("A", "2026-03-01 10:00:00+09", "8c1d2a90-0000-4000-8000-000000000001")),
		strict(insert("B", "2026-03-01 10:12:00+09", "91aa03fe-0000-4000-8000-000000000002")), strict(commit("A", "created")), fails, again, lock, gives,
	)
	c := cell("schedules", "serializable", history.Violated, 1, "S6", "S2")
	c.Says, c.Invariants[0].Says = "SERIALIZABLE, retry on 40001", "a request is refused only when something stood in its way"
	c.Explorations = []history.Exploration{{Strategy: "reduced", Clients: 2, Executed: 12, Violating: 8, Complete: true, Workers: 2, Elapsed: 31 * ms}}
	return exploreRun(c, cx)
}

// exploreHeld is a proof, with three clients too.
func exploreHeld() history.Run {
	c := cell("sessions", "serializable", history.Held, 0, "S1", "S3", "S4")
	c.Says = "SERIALIZABLE, retry on 40001"
	c.Explorations = []history.Exploration{
		{
			Strategy: "reduced", Clients: 2, Possible: "20", Executed: 12, Complete: true, Workers: 2, Elapsed: 31 * ms,
			Outcomes: map[string]int{"A created; B conflict": 6, "A conflict; B created": 6},
		},
		{
			Strategy: "reduced", Clients: 3, Executed: 1438, Complete: true, WakeOrders: 1, Workers: 2, Elapsed: 1900 * ms,
			Outcomes: map[string]int{"A created; B conflict; C conflict": 480, "A conflict; B created; C conflict": 480, "A conflict; B conflict; C created": 478},
		},
	}
	return exploreRun(c)
}

// exploreUnknown is two searches that ended early, and one that ended well.
func exploreUnknown() history.Run {
	all := cell("sessions", "none", history.Unknown, 0, "S1", "S3")
	all.Explorations = []history.Exploration{{
		Strategy: "all", Clients: 5, Possible: "168168000", Executed: 5000, Preemptions: 2, Workers: 2, Elapsed: 4 * sec, Trouble: "--limit was reached",
	}}
	pct := cell("sessions", "advisory", history.Unknown, 0, "S1", "S3")
	pct.Explorations = []history.Exploration{{Strategy: "pct", Clients: 4, Executed: 1, Preemptions: -1, Bound: 1.0 / 192, Workers: 2, Elapsed: 2 * sec}}
	bad := cell("sessions", "rowlock", history.Unknown, 0, "S1")
	bad.Trouble = "client B, operation 1 (create session): panicked: index out of range"
	good := exploreHeld().Cells[0]
	run := exploreRun(all)
	run.Cells = append(run.Cells, pct, bad, good)
	return run
}

// exploreFour is more clients than fit beside each other.
func exploreFour() history.Run {
	cx := interleaved()
	steps := cx.Interleaving.Steps[:5:5]
	cx.Interleaving.Clients = []string{"A", "B", "inspector 3", "D"}
	cx.Interleaving.Steps = number(append(steps,
		history.Step{
			Client: "D", SQL: "select id from aedpics.aed_data where id = $1 for update", Parameters: texts("17"), Isolation: "repeatable read", Begins: true,
			Outcome: history.Waiting, WaitsFor: []string{"A", "B"}, Lock: "a row of aedpics.aed_data",
		},
		commit("B", "created"),
		history.Step{
			Client: "D", Resumed: true, SQL: "select id from aedpics.aed_data where id = $1 for update", Isolation: "repeatable read",
			Outcome: history.Refused, SQLState: "40001", Message: "could not serialize access due to concurrent update",
		},
		history.Step{Client: "inspector 3", SQL: "delete from aedpics.inspection_schedules", Autocommit: true, Begins: true, Tag: "DELETE 2", Rows: 2},
		history.Step{
			Client: "inspector 3", Kind: "commit", Autocommit: true, Told: []history.Told{{Operation: 0, Kind: "sweep", Outcome: "done"}}, Broken: []string{"S2"},
		},
		history.Step{
			Client: "inspector 3", SQL: "select 1", Autocommit: true, Begins: true, Tag: "SELECT 1", Rows: 1,
			Returned: &history.Table{Columns: []string{"?column?"}, Rows: [][]*string{texts("1")}},
		},
		history.Step{Client: "inspector 3", Kind: "commit", Autocommit: true, Told: []history.Told{{Operation: 1, Kind: "look", Outcome: "done"}}},
	)...)
	cx.Round.Operations = append(cx.Round.Operations, history.Operation{Client: "inspector 3", Kind: "sweep"}, history.Operation{Client: "inspector 3", Kind: "look"})
	cx.Parts = 5
	c := cell("schedules", "none", history.Violated, 1, "S2")
	c.Explorations = []history.Exploration{{Strategy: "random", Clients: 4, Executed: 812, Violating: 3, Workers: 2, Elapsed: 2 * sec, Trouble: "--for was reached"}}
	return exploreRun(c, cx)
}

// exploredRun is `interlock run`, every cell of which is explored as well.
func exploredRun() history.Run {
	run := violatedRun()
	for i := range run.Cells {
		c := &run.Cells[i]
		c.Explorations = []history.Exploration{
			{Strategy: "reduced", Clients: 2, Possible: "20", Executed: 4, Complete: true},
			{Strategy: "reduced", Clients: 3, Possible: "1680", Executed: 36, Complete: true},
		}
		if c.Verdict == history.Violated {
			c.Explorations[0].Violating, c.Explorations = 2, c.Explorations[:1]
			for k := range c.Invariants {
				c.Invariants[k].Orders = 2
			}
		}
	}
	at(run, "schedules", "constraint", 3).Counterexamples = []history.Counterexample{interleaved()}
	at(run, "sessions", "rowlock", 1).Explorations = run.Cells[0].Explorations[:1:1]
	stopped := at(run, "sessions", "rowlock", 2)
	stopped.Explorations[0].Violating, stopped.Explorations[1] = 0, history.Exploration{Strategy: "reduced", Clients: 3, Executed: 812}
	at(run, "sessions", "advisory", 3).Explorations = nil
	unknown := at(run, "schedules", "rowlock", 2)
	unknown.Verdict, unknown.AsExpected = history.Unknown, false
	unknown.Explorations = []history.Exploration{{Strategy: "reduced", Clients: 2, Executed: 5000}}
	for i := range unknown.Invariants {
		unknown.Invariants[i].Verdict = history.Unknown
	}
	return run
}

// replayedRun is the replay of an interleaving.
func replayedRun(verdict history.Verdict, trouble string) history.Run {
	run := replayRun(10)
	c := &run.Cells[0]
	cx := interleaved()
	c.Verdict, c.Trouble, run.Verdict = verdict, trouble, verdict
	switch {
	case verdict == history.Violated:
		cx.Nearest = nil
	case trouble != "":
		cx.Reproduced = 7
	default:
		cx.Reproduced = 0
		c.Explorations = []history.Exploration{{Strategy: "reduced", Clients: 2, Executed: 6, Complete: true}}
		refused := insert("B", "2026-03-01 10:12:00+09", "")
		refused.Outcome, refused.SQLState, refused.Tag, refused.Returned = history.Refused, "23P01", "", nil
		refused.Message = `conflicting key value violates exclusion constraint "no_overlap"`
		steps := append(cx.Interleaving.Steps[:4:4], refused, history.Step{Client: "B", Kind: "rollback", SQL: "rollback", Told: told("create schedule", "conflict")})
		cx.Nearest = &history.Interleaving{Clients: []string{"A", "B"}, Steps: number(steps...)}
	}
	c.Counterexamples = []history.Counterexample{cx}
	return run
}

// savedRun repeats counterexamples first: one that is gone, one that has to break, and one that must not.
func savedRun() history.Run {
	run := defaultRun()
	save := func(verdict history.Verdict, expected bool, file string) {
		c := replayedRun(verdict, "").Cells[0]
		c.AsExpected = expected
		c.Counterexamples[0].File = file
		run.Replayed = append(run.Replayed, c)
	}
	save(history.Held, true, "interlock-counterexamples/gone.json")
	save(history.Violated, true, "interlock-counterexamples/control.json")
	save(history.Violated, false, "interlock-counterexamples/back.json")
	run.Verdict = history.Violated
	return run
}

// nastyInterleaving has nasty content wherever an interleaving holds text.
func nastyInterleaving() history.Run {
	run := exploreViolated()
	cx := &run.Cells[0].Counterexamples[0]
	cx.Again = "interlock replay " + nasty[3]
	steps := []history.Step{}
	for i, s := range nasty {
		steps = append(steps, history.Step{
			Client: nasty[i%3], SQL: s + " $1 " + s, Parameters: texts(s), Types: []string{s}, Passed: nasty[:2], Isolation: s, Begins: true, Tag: "SELECT 1", Rows: 1,
			Lock: s, WaitsFor: nasty[:3], Outcome: []history.StepOutcome{history.Waiting, history.Refused, history.Answered}[i%3], SQLState: s, Message: s,
			Returned: &history.Table{Columns: []string{s}, Rows: [][]*string{texts(s)}}, Told: told(s, s), Broken: nasty[i:],
		})
	}
	cx.Interleaving.Clients = nasty[1:3]
	cx.Interleaving.Steps = number(steps...)
	cx.Nearest = &history.Interleaving{Steps: number(steps[1:]...)}
	run.Cells[0].Explorations[0].Outcomes = map[string]int{fmt.Sprint(nasty): 1}
	run.Cells[0].Explorations[0].Possible, run.Cells[0].Explorations[0].Trouble = nasty[2], nasty[4]
	return run
}

// notApplicableRun is the replay of what is no more.
func notApplicableRun() history.Run {
	run := replayedRun(history.Unknown, "")
	run.Cells = nil
	run.Trouble = "the recorded counterexample is no longer applicable: there is no scenario schedules/constraint now; try making the run again"
	return run
}
