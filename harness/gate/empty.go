package gate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/ddl"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/schema"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/migrations"
)

// empty applies the migration to a schema without rows. If it fails on every database, and the failing statement has a rewrite, the rewrite is put
// in its place and the file tried again: the other trials are then made with that.
func (j *judge) empty(ctx context.Context) (history.Trial, error) {
	failed := false
	for {
		took, failure, err := j.tryEmpty(ctx)
		if err != nil {
			return history.Trial{}, err
		}
		if failure == nil {
			for _, c := range schema.Diff(j.was, j.is) {
				j.judged.Changes = append(j.judged.Changes, c.String())
			}
			if failed {
				return history.Trial{State: history.TrialFailed, Says: fmt.Sprintf("fails as it stands; with the rewrite, it applies in %s", milliseconds(took))}, nil
			}
			return history.Trial{State: history.TrialPassed, Says: fmt.Sprintf("applies in %s: %s", milliseconds(took), count(len(j.judged.Changes), "change"))}, nil
		}
		failed = true
		rewritten, err := j.rewrite(ctx, failure)
		if err != nil {
			return history.Trial{}, err
		}
		if !rewritten {
			return history.Trial{State: history.TrialFailed, Says: "fails on every database: " + oneLine(failure), Details: strings.Split(failure.Error(), "\n")}, nil
		}
	}
}

// tryEmpty applies the migration once. A refusal is a failure, anything else an error.
func (j *judge) tryEmpty(ctx context.Context) (took time.Duration, failure *migrations.Error, err error) {
	err = j.on(ctx, j.before, func(db *server.Database, conn *pgx.Conn) error {
		began := time.Now()
		failure, err = refusal(j.apply(ctx, db.Config("migrations")))
		took = time.Since(began)
		switch {
		case err != nil:
		case failure == nil:
			j.is, err = schemaOf(ctx, conn)
		case failure.SQLState == "":
			err = fmt.Errorf("this is not judged: %s, line %d: %s; try %s", failure.File, failure.Line, failure.Message, failure.Try)
		case failure.SQLState == "0A000" && strings.Contains(failure.Message, "is not available"): // CREATE EXTENSION
			err = fmt.Errorf("the server lacks what it needs: %s; try a server that has it, with --postgres", failure.Message)
		}
		return err
	})
	return took, failure, err
}

// rewrite notes a failure and, where reading the file gave a safe form for the statement, puts that in its place. It reports whether it did.
func (j *judge) rewrite(ctx context.Context, failure *migrations.Error) (bool, error) {
	f := history.Finding{
		Rule: "fails", Trial: history.TrialEmpty, Level: history.LevelError, Line: failure.Line, Column: failure.Column, SQLState: failure.SQLState,
		Statement: failure.Statement, Says: "fails on every database: " + failure.Message, Evidence: evidence(failure),
	}
	at := slices.IndexFunc(j.statements, func(s ddl.Statement) bool {
		return s.Line <= failure.Line && failure.Line <= s.Line+strings.Count(s.Text, "\n") && strings.Contains(s.Text, strings.TrimSpace(failure.Statement))
	})
	var safe *history.Finding
	if at >= 0 {
		for i := range j.statements[at].Findings {
			if one := &j.statements[at].Findings[i]; one.Level == history.LevelError && (one.SQLState == failure.SQLState || one.SQLState == "" || safe == nil) {
				safe = one
			}
		}
	}
	if safe == nil {
		f.Says += "; try " + failure.Try
		j.find(f)
		return false, nil
	}
	f.Rule, f.Says, f.Rewrite = safe.Rule, safe.Says, safe.Rewrite
	safe.Line, safe.Column = failure.Line, failure.Column // it is one finding, at the server's place
	if safe.Rewrite == nil || safe.Rewrite.SQL == "" || j.judged.Rewritten && len(j.judged.Findings) > 20 {
		j.find(f)
		return false, nil
	}
	tried := *j
	tried.Set.Migrations = slices.Clone(j.Set.Migrations)
	m := &tried.Set.Migrations[len(tried.Set.Migrations)-1]
	s := j.statements[at]
	sql := strings.TrimSuffix(strings.TrimSpace(safe.Rewrite.SQL), ";")
	sql += strings.Repeat("\n", max(0, strings.Count(s.Text, "\n")-strings.Count(sql, "\n"))) // the lines below keep their numbers
	m.SQL = m.SQL[:s.Offset] + sql + strings.TrimPrefix(m.SQL[s.Offset:], strings.TrimSuffix(s.Text, ";"))
	took, again, err := tried.tryEmpty(ctx)
	if err != nil {
		return false, err
	}
	rewrite := *safe.Rewrite
	f.Rewrite = &rewrite
	switch {
	case again == nil:
		rewrite.Ran = "applied here in " + milliseconds(took)
	case again.Line == failure.Line && again.SQLState == failure.SQLState:
		rewrite.Ran = "tried here, and refused as well: " + again.Message
	default:
		rewrite.Ran = "accepted here"
	}
	j.find(f)
	if again != nil && again.Line == failure.Line && again.SQLState == failure.SQLState {
		return false, nil
	}
	j.Set, j.judged.Rewritten = tried.Set, true
	found := j.statements
	if err := j.predict(); err != nil {
		return false, err
	}
	for i := range j.statements { // what was found in the file as it stands
		if i < len(found) {
			j.statements[i].Findings = found[i].Findings
		}
	}
	return true, nil
}

// evidence returns what the server said.
func evidence(e *migrations.Error) []string {
	lines := []string{fmt.Sprintf("ERROR %s: %s", e.SQLState, e.Message)}
	for _, more := range [][2]string{{"DETAIL", e.Detail}, {"HINT", e.Hint}, {"WHERE", e.Where}} {
		if more[1] != "" {
			lines = append(lines, more[0]+": "+more[1])
		}
	}
	if e.Kept > 0 {
		lines = append(lines, count(e.Kept, "statement")+" before it in this file committed, and stay")
	}
	return lines
}

func oneLine(e *migrations.Error) string {
	return fmt.Sprintf("line %d: %s %s", e.Line, e.SQLState, e.Message)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "x") {
		what += "e"
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func milliseconds(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}
