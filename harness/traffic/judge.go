package traffic

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/migrations"
)

// The rules of the findings.
const (
	StallsClients    = "stalls-clients"      // clients wait for it for too long
	LockQueue        = "lock-queue"          // it waits behind a long transaction, and clients behind it
	Deadlock         = "deadlock"            // with what clients do
	BreaksCode       = "breaks-running-code" // statements that worked fail
	FailsLive        = "fails-live"          // it cannot be applied while clients are at work
	CannotBeRepeated = "not-repeatable"      // refused behind a long transaction, it cannot be applied again
)

// judge says what was measured.
func (t *trial) judge() (history.Trial, []history.Finding) {
	trial := history.Trial{Name: history.TrialLive, State: history.TrialPassed, Says: t.says(), Details: t.details()}
	var findings []history.Finding
	add := func(f history.Finding, is bool) {
		if is {
			f.Trial, f.File = history.TrialLive, t.File
			findings = append(findings, f)
		}
	}
	add(t.fails())
	add(t.deadlocks())
	add(t.stalls())
	add(t.queue())
	for _, f := range t.breaks() {
		add(f, true)
	}
	for _, f := range findings {
		if f.Level == history.LevelError {
			trial.State = history.TrialFailed
		}
	}
	return trial, findings
}

// fails: the migration itself was refused, for another reason than a deadlock.
func (t *trial) fails() (f history.Finding, is bool) {
	err, rule, says := t.failed, FailsLive, "cannot be applied while clients read and write its tables"
	if err == nil {
		err = t.stuck
		if t.report.Refused > 0 {
			rule, says = CannotBeRepeated, "refused by its timeout behind a transaction that only reads, it cannot be applied again when that has ended"
		}
	}
	if err == nil || state(err) == deadlockDetected {
		return f, false
	}
	f = history.Finding{Rule: rule, Level: history.LevelError}
	locate(&f, err)
	f.Says = says + ": " + reason(err)
	return f, true
}

// locate takes over what an error of the migration's says of its place.
func locate(f *history.Finding, err error) {
	f.SQLState = state(err)
	if at := (*migrations.Error)(nil); errors.As(err, &at) {
		f.Line, f.Column, f.Statement = at.Line, at.Column, at.Statement
	}
}

// reason returns what the server said.
func reason(err error) string {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err.Error()
	}
	return fmt.Sprintf("%s (%s)", pg.Message, pg.Code)
}

// deadlocks: the server had to refuse somebody.
func (t *trial) deadlocks() (f history.Finding, is bool) {
	f = history.Finding{
		Rule: Deadlock, Level: history.LevelError, SQLState: deadlockDetected, Evidence: t.report.Deadlocked,
		Says: "runs into deadlocks with clients that use one table at a time: where they are let in by one lock, it asks for a stronger one",
	}
	for _, err := range []error{t.failed, t.stuck} {
		if state(err) == deadlockDetected {
			locate(&f, err)
		}
	}
	return f, t.report.Deadlocks > 0
}

// stalls: clients were seen waiting for a lock of the migration, which may be for too long.
func (t *trial) stalls() (f history.Finding, is bool) {
	r := t.report
	if len(r.Locks) == 0 || r.Locks[0].Longest == 0 {
		return f, false
	}
	worst := r.Locks[0]
	f = history.Finding{Rule: StallsClients, Level: history.LevelNote, Statement: worst.Statement}
	stall := max(r.During.Max, worst.Longest)
	if worst.Longest > t.MaxStall || stall > t.MaxStall && stall >= 3*r.Baseline.Max {
		f.Level = history.LevelError
	}
	f.Says = fmt.Sprintf("%s on %s is held for %s", worst.Mode, worst.Table, short(worst.Held))
	if worst.Mode == rows {
		f.Says = fmt.Sprintf("rows of %s stay locked until its transaction ends", worst.Table)
	}
	f.Says += fmt.Sprintf(", and clients that %s it wait: they stalled for %s at most", worst.stops(), short(stall))
	if r.Baseline.Requests > 0 {
		f.Says += fmt.Sprintf(", %s without the migration", short(r.Baseline.Max))
	}
	if f.Level == history.LevelError {
		f.Says += fmt.Sprintf("; %s is allowed", short(t.MaxStall))
	}
	f.Evidence = waitedFor(r.Locks)
	return f, true
}

// queue: clients waited for too long behind the migration, which waited behind the long transaction.
func (t *trial) queue() (f history.Finding, is bool) {
	var worst Held
	for _, h := range t.report.Queued {
		if h.Behind > worst.Behind {
			worst = h
		}
	}
	if worst.Behind <= t.MaxStall {
		return f, false
	}
	timeout := fmt.Sprintf("SET lock_timeout = '%dms';", max(1, (t.MaxStall/2).Milliseconds()))
	f = history.Finding{
		Rule: LockQueue, Level: history.LevelError, Statement: worst.Statement,
		Says: fmt.Sprintf("waits for %s on %s behind a transaction that only reads, for as long as that is open, and everyone queues behind it: "+
			"clients stalled for %s, until the transaction was ended here; %s is allowed", worst.Mode, worst.Table, short(worst.Behind), short(t.MaxStall)),
		Evidence: waitedFor(t.report.Queued),
		Rewrite:  &history.Rewrite{SQL: timeout, Note: "before it; when it is refused with 55P03, apply the migration again"},
	}
	if worst.Statement != "" {
		f.Rewrite.SQL += "\n" + worst.Statement
	}
	return f, true
}

// waitedFor says the locks that clients waited for.
func waitedFor(locks []Held) (lines []string) {
	for _, h := range locks {
		if h.Longest > 0 {
			lines = append(lines, h.String())
		}
	}
	return lines
}

// breaks: statements that worked before fail with the new schema, by table and SQLSTATE.
func (t *trial) breaks() (found []history.Finding) {
	type about struct{ table, state string }
	at := map[about]int{}
	for _, f := range t.report.Failures {
		if slices.Contains(t.usual, failing{f.Table, f.SQLState, f.Statement}) {
			continue
		}
		id := about{f.Table, f.SQLState}
		i, known := at[id]
		if !known {
			i = len(found)
			at[id] = i
			one := history.Finding{
				Rule: BreaksCode, Level: history.LevelWarning, SQLState: f.SQLState,
				Says: fmt.Sprintf("code that is running meanwhile fails on %s: %s (%s)", f.Table, f.Message, f.SQLState),
			}
			if f.SQLState == cachedPlan {
				one.Level = history.LevelNote
				one.Says = fmt.Sprintf("statements on %s that are prepared already fail once: %s (%s); drivers that cache statements prepare them again",
					f.Table, f.Message, f.SQLState)
			}
			found = append(found, one)
		}
		found[i].Evidence = append(found[i].Evidence, fmt.Sprintf("%s failed with %s, %s", brief(f.Statement), f.SQLState, times(f.Count)))
	}
	return found
}

// says sums the trial up.
func (t *trial) says() string {
	r := t.report
	if t.failed != nil {
		return "while clients were at work, it failed: " + reason(t.failed)
	}
	says := fmt.Sprintf("clients stalled %s at most (%s without it)", short(r.During.Max), short(r.Baseline.Max))
	if len(r.Locks) > 0 && (strength(r.Locks[0].Mode) >= sched.Share || r.Locks[0].Longest > 0) {
		says += "; " + r.Locks[0].held()
	}
	says += "; behind a long transaction: " + short(r.Queue.Max)
	switch {
	case t.stuck != nil:
		says += ", and it failed: " + reason(t.stuck)
	case r.Refused > 0:
		says += fmt.Sprintf(", refused %s by its timeout and applied afterwards", times(r.Refused))
	}
	return says
}

// details is the evidence, a line each.
func (t *trial) details() (lines []string) {
	r := t.report
	for _, l := range []struct {
		name string
		Latency
	}{{"without the migration", r.Baseline}, {"while it was applied", r.During}, {"behind a long transaction", r.Queue}} {
		if l.Requests > 0 {
			lines = append(lines, fmt.Sprintf("%s: %d requests, half within %s, 99 %% within %s, the longest %s",
				l.name, l.Requests, short(l.P50), short(l.P99), short(l.Max)))
		}
	}
	for _, h := range r.Locks {
		lines = append(lines, h.String())
	}
	for _, h := range r.Queued {
		lines = append(lines, "behind a long transaction: "+h.String())
	}
	if t.other > 0 {
		lines = append(lines, fmt.Sprintf("behind a long transaction: waited %s for it to end, without a lock on a table", short(t.other)))
	}
	for _, said := range t.refused {
		lines = append(lines, "not asked by clients, because it fails without the migration: "+said)
	}
	return lines
}

// held says the lock, and for how long it was.
func (h Held) held() string {
	says := fmt.Sprintf("%s on %s", h.Mode, h.Table)
	if h.Mode == rows {
		says = "rows of " + h.Table + " locked"
	}
	if h.Held > 0 {
		says += " held " + short(h.Held)
	}
	return says
}

// String says the lock in one line.
func (h Held) String() string {
	says := h.held()
	if h.Waited > 0 {
		says += ", which it waited for " + short(h.Waited)
	}
	if h.Reads+h.Writes == 0 {
		return says + "; nobody was seen waiting for it"
	}
	var who []string
	if h.Reads > 0 {
		who = append(who, fmt.Sprintf("readers waited %s", times(h.Reads)))
	}
	if h.Writes > 0 {
		who = append(who, fmt.Sprintf("writers waited %s", times(h.Writes)))
	}
	return fmt.Sprintf("%s; %s, %s at most", says, strings.Join(who, " and "), short(h.Longest))
}

// stops says which clients wait for the lock.
func (h Held) stops() string {
	if h.Reads > 0 {
		return "read or write"
	}
	return "write"
}

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}

func short(d time.Duration) string { return history.Duration(d).Short() }
