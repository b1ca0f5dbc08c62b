package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/plant"
	"github.com/interlock-pg/interlock/harness/schema"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/sqltext"
	"github.com/interlock-pg/interlock/migrations"
)

// populated applies the migration over rows: nothing may be lost, and nothing changed that the migration does not say.
func (j *judge) populated(ctx context.Context) (history.Trial, error) {
	says, err := j.fill(ctx)
	if err != nil {
		return history.Trial{}, err
	}
	if !slices.ContainsFunc(j.was.Objects, func(o schema.Object) bool { return o.Kind == schema.Table && !ledger(o.Name) }) {
		return history.Trial{State: history.TrialSkipped, Says: "there are no tables before it"}, j.trace(ctx, j.filled)
	}
	var done history.Trial
	err = j.on(ctx, j.filled, func(db *server.Database, conn *pgx.Conn) error {
		was, err := take(ctx, conn, j.was, j.was)
		if err != nil {
			return err
		}
		one, err := j.Set.ApplyOne(ctx, db.Config("migrations"), j.migration.Version)
		var failure *migrations.Error
		switch {
		case errors.As(err, &failure) && !environmental(failure.Err):
			done = history.Trial{State: history.TrialFailed, Says: "fails over " + says + ": " + oneLine(failure), Details: strings.Split(failure.Error(), "\n")}
			return j.refused(ctx, failure)
		case err != nil:
			return err
		}
		now, err := schema.Read(ctx, conn)
		if err != nil {
			return err
		}
		is, err := take(ctx, conn, now, j.was)
		if err != nil {
			return err
		}
		j.compare(was, is, now)
		done = history.Trial{State: history.TrialPassed, Says: fmt.Sprintf("applies in %s over %s; nothing is lost", milliseconds(one.Duration), says)}
		return nil
	})
	if err != nil || done.State == history.TrialFailed {
		return done, err
	}
	if err := j.trace(ctx, j.filled); err != nil {
		return done, err
	}
	if err := j.rewrites(ctx); err != nil {
		return done, err
	}
	if slices.ContainsFunc(j.judged.Findings, func(f history.Finding) bool { return f.Trial == history.TrialPopulated && f.Counts() }) {
		done.State, done.Says = history.TrialFailed, strings.Replace(done.Says, "; nothing is lost", "; but rows or values are lost", 1)
	}
	return done, nil
}

// rewrites executes the safe form of each statement that has one, over the same rows, after the statements before it.
func (j *judge) rewrites(ctx context.Context) error {
	for i := range j.statements {
		for k := range j.statements[i].Findings {
			r := j.statements[i].Findings[k].Rewrite
			if r == nil || r.SQL == "" || r.Ran != "" {
				continue
			}
			ran := *r
			err := j.on(ctx, j.filled, func(_ *server.Database, conn *pgx.Conn) error {
				for _, s := range j.statements[:i] {
					if _, err := conn.Exec(ctx, s.Text, pgx.QueryExecModeSimpleProtocol); err != nil {
						return nil // it stands on what is not there
					}
				}
				began := time.Now()
				for _, s := range sqltext.Split(r.SQL) {
					_, err := conn.Exec(ctx, s.Text, pgx.QueryExecModeSimpleProtocol)
					var refused *pgconn.PgError
					if errors.As(err, &refused) && !environmental(err) {
						ran.Ran = "tried here, and refused: " + refused.Message
						return nil
					}
					if err != nil {
						return err
					}
				}
				ran.Ran = "applied here in " + milliseconds(time.Since(began))
				return nil
			})
			if err != nil {
				return err
			}
			j.statements[i].Findings[k].Rewrite = &ran
		}
	}
	return nil
}

// refused notes that rows stand in the way. They are all named if a constraint that the migration adds forbids them.
func (j *judge) refused(ctx context.Context, failure *migrations.Error) error {
	f := history.Finding{
		Rule: "rows-in-the-way", Trial: history.TrialPopulated, Level: history.LevelError, Line: failure.Line, Column: failure.Column,
		SQLState: failure.SQLState, Statement: failure.Statement, Says: "fails over rows: " + failure.Message + "; try " + failure.Try,
		Evidence: evidence(failure),
	}
	constraints, err := j.constraints(ctx)
	if err != nil {
		return err
	}
	named := constraints[:0:0]
	for _, c := range constraints {
		if strings.Contains(failure.Message, strings.Trim(afterDot(c.Name), `"`)) {
			named = append(named, c)
		}
	}
	if len(named) == 0 && strings.HasPrefix(failure.SQLState, "23") {
		named = constraints
	}
	return errors.Join(j.on(ctx, j.filled, func(_ *server.Database, conn *pgx.Conn) error {
		for _, c := range named {
			keys, err := offenders(ctx, conn, c.Query())
			if err != nil {
				return err
			}
			if len(keys.Rows) > 0 {
				f.Keys, f.Query = &keys, c.Query()
				f.Says = fmt.Sprintf("fails over rows: %s break %s", count(max(keys.Total, len(keys.Rows)), "key"), c.Name)
				if j.Domain != nil && j.Domain.Repair != nil && j.Domain.Fits(ctx, conn) == nil {
					f.Repair = "interlock repair --postgres … --dry-run, then --apply"
				}
			}
		}
		j.find(f)
		return nil
	}))
}

// constraints returns what the migration adds that rows can break.
func (j *judge) constraints(ctx context.Context) (added []plant.Constraint, err error) {
	err = j.on(ctx, j.before, func(_ *server.Database, before *pgx.Conn) error {
		return j.on(ctx, j.before, func(db *server.Database, after *pgx.Conn) error {
			if err := j.apply(ctx, db.Config("migrations")); err != nil {
				return err
			}
			added, err = plant.Added(ctx, before, after)
			return err
		})
	})
	return added, err
}

// compare notes what the rows lost.
func (j *judge) compare(was, is contents, now schema.Schema) {
	says := j.changesRows()
	fewer, more, changed := was.lost(is)
	note := func(rule string, level history.Level, text string, evidence []string) {
		j.find(history.Finding{Rule: rule, Trial: history.TrialPopulated, Level: level, Says: text, Evidence: evidence})
	}
	switch {
	case len(fewer) > 0 && says:
		note("rows-removed", history.LevelNote, "removes rows, as it says", fewer)
	case len(fewer) > 0:
		note("rows-lost", history.LevelError, "rows are gone, and no statement of the file says so", fewer)
	}
	if len(more) > 0 {
		note("rows-added", history.LevelNote, "adds rows to tables that had some", more)
	}
	var retyped, silently []string
	for _, name := range changed {
		before, _ := j.was.Find(schema.Column, name)
		after, _ := now.Find(schema.Column, name)
		switch {
		case before.Get("type") != after.Get("type"):
			retyped = append(retyped, fmt.Sprintf("%s: %s → %s", name, before.Get("type"), after.Get("type")))
		case !says:
			silently = append(silently, name)
		}
	}
	if len(retyped) > 0 {
		note("lossy-type-change", history.LevelError, "values are lost in the new type", retyped)
	}
	if len(silently) > 0 {
		note("values-changed", history.LevelError, "values have changed, and no statement of the file says so", silently)
	}
}

// changesRows reports whether the file says that it changes rows, or runs code that may.
func (j *judge) changesRows() bool {
	for _, s := range j.statements {
		if s.Begins("insert") || s.Begins("update") || s.Begins("delete") || s.Begins("merge") || s.Begins("truncate") || s.Begins("do") ||
			s.Begins("call") || s.Begins("select") || s.Begins("copy") || s.Begins("with") {
			return true
		}
	}
	return false
}

func afterDot(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// ledger reports whether a table is the book that a migration tool keeps.
func ledger(name string) bool {
	return slices.Contains([]string{"goose_db_version", "schema_migrations", "flyway_schema_history", "_prisma_migrations"}, strings.Trim(afterDot(name), `"`))
}
