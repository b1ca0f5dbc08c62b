package gate

import (
	"context"
	"errors"
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

// At how many places a file is cut off, evenly spread if it has more statements. In one transaction, one place is like another.
const (
	mostCuts          = 8
	cutsInTransaction = 3
)

// longestCuts is after how long no other cut is begun.
const longestCuts = 15 * time.Second

// cut is one way to end a migration before its end.
type cut struct {
	says string
	line int
	// do applies the migration to a database until it is cut off. It reports whether it was.
	do func(context.Context, *server.Database) (bool, error)
}

// interrupted cuts the migration off, after each statement and while it waits, and looks at what is left, and whether it can be run again.
func (j *judge) interrupted(ctx context.Context) (history.Trial, error) {
	cuts := j.cuts()
	tried, left, worst := 0, 0, map[string]bool{}
	var details []string
	began := time.Now()
	for i, c := range cuts {
		if time.Since(began) > longestCuts {
			j.judged.NotCovered = append(j.judged.NotCovered, fmt.Sprintf("interrupted: %d of %d cuts were made in %s", i, len(cuts), longestCuts))
			break
		}
		err := j.on(ctx, j.before, func(db *server.Database, conn *pgx.Conn) error {
			cutOff, err := c.do(ctx, db)
			if err != nil || !cutOff {
				return err
			}
			tried++
			now, err := schemaOf(ctx, conn)
			if err != nil {
				return err
			}
			changes := schema.Diff(j.was, now)
			if len(changes) > 0 {
				left++
			}
			if len(changes) > 0 && len(schema.Diff(j.is, now)) == 0 { // only the tool does not know that it is done
				return nil
			}
			again, err := refusal(j.apply(ctx, db.Config("migrations")))
			if err != nil {
				return err
			}
			end, err := schemaOf(ctx, conn)
			if err != nil {
				return err
			}
			found := j.leftover(c, changes, again, schema.Diff(j.is, end), end)
			if found == nil {
				return nil
			}
			details = append(details, found.Says)
			if key := found.Rule; !worst[key] { // once is enough
				worst[key] = true
				j.find(*found)
			}
			return nil
		})
		if err != nil {
			return history.Trial{}, err
		}
	}
	if tried == 0 {
		return history.Trial{State: history.TrialSkipped, Says: "there is nothing in it to be cut off"}, nil
	}
	says := fmt.Sprintf("cut off %s: nothing was left, and it could be run again", count(tried, "time"))
	switch {
	case len(details) > 0:
		says = fmt.Sprintf("cut off %s: %s left something that is in the way", count(tried, "time"), count(len(details), "cut"))
	case left > 0:
		says = fmt.Sprintf("cut off %s: %s left something, and what was left is complete, or is gone on from", count(tried, "time"), count(left, "cut"))
	}
	return history.Trial{State: history.TrialPassed, Says: says, Details: details}, nil
}

// cuts are the ways to end it: cancelled and killed after each statement, and while it waits for writers of the tables.
func (j *judge) cuts() []cut {
	const (
		cancel = "DO $interlock$ BEGIN RAISE EXCEPTION 'canceling statement due to user request' USING ERRCODE = 'query_canceled'; END $interlock$;"
		kill   = "SELECT pg_terminate_backend(pg_backend_pid());"
	)
	var cuts []cut
	n, places := len(j.statements), mostCuts
	if j.transaction && !slices.ContainsFunc(j.statements, func(s ddl.Statement) bool { return s.Begins("begin|start") }) {
		places = cutsInTransaction
	}
	places = min(n, places)
	for k := range places {
		at := n - 1 - k*n/places
		for _, way := range [][2]string{{"cancelled", cancel}, {"killed", kill}} {
			set := j.Set.Insert(j.migration.Version, at+1, way[1])
			cuts = append(cuts, cut{
				says: fmt.Sprintf("%s after statement %d of %d", way[0], at+1, n), line: j.statements[at].Line,
				do: func(ctx context.Context, db *server.Database) (bool, error) {
					_, err := set.ApplyOne(ctx, db.Config("migrations"), j.migration.Version)
					return err != nil, nil
				},
			})
		}
	}
	for _, way := range [][2]string{{"cancelled", "pg_cancel_backend"}, {"killed", "pg_terminate_backend"}} {
		cuts = append(cuts, cut{says: way[0] + " while it waits for writers", do: func(ctx context.Context, db *server.Database) (bool, error) {
			return j.waiting(ctx, db, way[1])
		}})
	}
	return cuts
}

// waiting applies the migration while a transaction writes to all tables, and ends it when it waits for that. One that waits for nobody is not cut off.
func (j *judge) waiting(ctx context.Context, db *server.Database, end string) (cutOff bool, err error) {
	writer, err := db.Connect(ctx, "writer")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, writer.Close(context.WithoutCancel(ctx))) }()
	watcher, err := db.Connect(ctx, "watcher")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, watcher.Close(context.WithoutCancel(ctx))) }()
	sql := `begin`
	for _, o := range j.was.Objects {
		if o.Kind == schema.Table {
			sql += `; lock table ` + o.Name + ` in row exclusive mode`
		}
	}
	if _, err := writer.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		return false, err
	}

	ended := make(chan error, 1)
	go func() { ended <- j.apply(ctx, db.Config("migrations")) }()
	for {
		select {
		case err := <-ended:
			return err != nil, context.Cause(ctx)
		case <-time.After(2 * time.Millisecond):
		}
		if _, err := watcher.Exec(ctx, `select `+end+`(pid) from pg_stat_activity
			where datname = current_database() and $1 = any(pg_blocking_pids(pid))`, writer.PgConn().PID()); err != nil {
			return false, errors.Join(err, <-ended)
		}
	}
}

// leftover says what is wrong with what a cut left, if anything is. again is what running the migration again was refused with, missing what the schema then
// lacks or has too much.
func (j *judge) leftover(c cut, left []schema.Change, again *migrations.Error, missing []schema.Change, end schema.Schema) *history.Finding {
	f := &history.Finding{Trial: history.TrialInterrupted, Line: c.line, Level: history.LevelError}
	var invalid []string
	for _, o := range end.Objects {
		if o.Kind == schema.Index && o.Get("invalid") != "" {
			invalid = append(invalid, o.Name)
		}
	}
	if len(invalid) > 0 && f.Line == 0 {
		f.Line = j.lineOf(strings.Trim(afterDot(invalid[0]), `"`))
	}
	for _, change := range left {
		f.Evidence = append(f.Evidence, "left: "+change.String())
	}
	if again != nil {
		f.Evidence = append(f.Evidence, fmt.Sprintf("again: line %d: ERROR %s: %s", again.Line, again.SQLState, again.Message))
	}
	switch {
	case again == nil && len(missing) == 0:
		return nil
	case len(invalid) > 0 && again == nil:
		f.Rule = "invalid-index-kept"
		f.Says = fmt.Sprintf("%s, it leaves the INVALID index %s; run again, it succeeds and the index stays INVALID: it enforces nothing, and no query uses it",
			c.says, strings.Join(invalid, ", "))
		f.Rewrite = &history.Rewrite{SQL: "DROP INDEX CONCURRENTLY IF EXISTS " + invalid[0] + ";", Note: "before it, in a file of its own, outside a transaction"}
	case len(invalid) > 0 && onlyIndexes(left):
		f.Rule, f.Level = "leaves-invalid-index", history.LevelWarning
		f.Says = fmt.Sprintf("%s, it leaves the INVALID index %s, which has to be dropped before it can be run again", c.says, strings.Join(invalid, ", "))
		f.Rewrite = &history.Rewrite{SQL: "DROP INDEX CONCURRENTLY IF EXISTS " + invalid[0] + ";", Note: "before it is run again"}
	case again == nil:
		f.Rule = "half-applied"
		f.Says = c.says + ", and run again, it succeeds but leaves another schema than it should"
		for _, change := range missing {
			f.Evidence = append(f.Evidence, "in the end: "+change.String())
		}
	default:
		f.Rule = "half-applied"
		f.Says = fmt.Sprintf("%s, it leaves a part of itself, and cannot be run again", c.says)
		f.Rewrite = &history.Rewrite{Note: "put the statements into one transaction (BEGIN; … COMMIT;), or one statement in a file"}
	}
	return f
}

// onlyIndexes reports whether nothing but indexes has changed.
func onlyIndexes(changes []schema.Change) bool {
	return !slices.ContainsFunc(changes, func(c schema.Change) bool { return c.Kind != schema.Index })
}
