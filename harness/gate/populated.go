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

	"github.com/interlock-pg/interlock/harness/ddl"
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
	if !slices.ContainsFunc(j.was.Objects, func(o schema.Object) bool { return o.Kind == schema.Table }) {
		return history.Trial{State: history.TrialSkipped, Says: "there are no tables before it"}, j.trace(ctx, j.filled)
	}
	var done history.Trial
	err = j.on(ctx, j.filled, func(db *server.Database, conn *pgx.Conn) error {
		was, err := take(ctx, conn, j.was, j.was)
		if err != nil {
			return err
		}
		one, err := j.Set.ApplyOne(ctx, db.Config("migrations"), j.migration.Version)
		failure, err := refusal(err)
		if err != nil {
			return err
		}
		if failure != nil {
			done = history.Trial{State: history.TrialFailed, Says: "fails over " + says + ": " + oneLine(failure), Details: strings.Split(failure.Error(), "\n")}
			if j.Data == "" && strings.HasPrefix(failure.SQLState, "22") { // a value that no application would have written, it may be
				done.State, done.Says = history.TrialUnknown, "depends on what the rows hold ("+oneLine(failure)+"); try --data with rows of yours"
				return nil
			}
			return j.refused(ctx, failure)
		}
		now, err := schemaOf(ctx, conn)
		if err != nil {
			return err
		}
		is, err := take(ctx, conn, now, j.was)
		if err != nil {
			return err
		}
		j.compare(was, is, now)
		if err := j.on(ctx, j.filled, func(_ *server.Database, before *pgx.Conn) error { return j.release(ctx, before, conn) }); err != nil {
			return err
		}
		done = history.Trial{State: history.TrialPassed, Says: fmt.Sprintf("applies in %s over %s; nothing is lost", milliseconds(one.Duration), says)}
		return nil
	})
	if err != nil || done.State != history.TrialPassed {
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
	} else if slices.ContainsFunc(j.judged.Findings, func(f history.Finding) bool { return f.Rule == "rows-removed" }) {
		done.Says = strings.Replace(done.Says, "; nothing is lost", "; rows are removed, as it says", 1)
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
	return j.on(ctx, j.filled, func(_ *server.Database, conn *pgx.Conn) error {
		for _, c := range named {
			keys, err := c.Offenders(ctx, conn)
			if err != nil {
				return fmt.Errorf("finding the rows that stand in the way: %w", err)
			}
			if keys.Total > 0 {
				f.Keys, f.Query = &keys, c.Query()
				f.Says = fmt.Sprintf("fails over rows: %s break %s", count(keys.Total, "key"), c.Name)
				if j.Domain != nil && j.Domain.Repair != nil && j.Domain.Fits(ctx, conn) == nil {
					f.Repair = "interlock repair --postgres … --dry-run, then --apply"
				}
			}
		}
		j.find(f)
		return nil
	})
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
	fewer, more, changed := was.lost(is)
	note := func(rule string, level history.Level, text string, evidence []string) {
		j.find(history.Finding{Rule: rule, Trial: history.TrialPopulated, Level: level, Says: text, Evidence: evidence})
	}
	said, unsaid := j.said(fewer)
	if len(said) > 0 {
		note("rows-removed", history.LevelNote, "removes rows, as it says: "+strings.Join(said, "; "), nil)
	}
	if len(unsaid) > 0 {
		note("rows-lost", history.LevelError, "rows are gone from tables that no statement which removes rows names: a cascade, a trigger or a function took them", unsaid)
	}
	if len(more) > 0 {
		note("rows-added", history.LevelNote, "adds rows to tables that had some: "+strings.Join(more, "; "), nil)
	}
	var retyped []string
	_, silently := j.said(changed)
	for _, name := range changed {
		before, _ := j.was.Find(schema.Column, name)
		after, _ := now.Find(schema.Column, name)
		label := func(c schema.Change) bool {
			return c.Kind == schema.Type && strings.HasSuffix(c.Name, afterDot(after.Get("type"))) && c.What == schema.Changed
		}
		switch {
		case before.Get("type") != after.Get("type"):
			retyped = append(retyped, fmt.Sprintf("%s: %s → %s", name, before.Get("type"), after.Get("type")))
		case !slices.ContainsFunc(schema.Diff(j.was, now), label): // an enum's labels were renamed
			continue
		}
		silently = slices.DeleteFunc(silently, func(one string) bool { return one == name })
	}
	if len(retyped) > 0 {
		note("lossy-type-change", history.LevelError, "values are lost in the new type", retyped)
	}
	if len(silently) > 0 {
		note("values-changed", history.LevelError, "values have changed, and no statement of the file says so", silently)
	}
}

// said tells changes of rows that the file says it makes from others. Each begins with the name of its table; a statement says it that changes rows, or
// runs code, and names the table.
func (j *judge) said(changes []string) (said, unsaid []string) {
	for _, change := range changes {
		table, _, _ := strings.Cut(change, ":")
		parts := strings.SplitN(table, ".", 3)
		bare := strings.ToLower(strings.Trim(parts[min(1, len(parts)-1)], `"`))
		if slices.ContainsFunc(j.statements, func(s ddl.Statement) bool {
			return s.Begins("insert|update|delete|merge|truncate|do|call|select|copy|with") && strings.Contains(strings.ToLower(s.Text), bare)
		}) {
			said = append(said, change)
		} else {
			unsaid = append(unsaid, change)
		}
	}
	return said, unsaid
}

func afterDot(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }
