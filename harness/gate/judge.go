package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/ddl"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/schema"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/migrations"
)

// judge is the judging of one migration.
type judge struct {
	Config    // whose set ends with the migration
	migration migrations.Migration
	before    *server.Template // the state before it
	filled    *server.Template // with rows
	was, is   schema.Schema    // before it and after it, without rows

	roles       []string // of the server, before it
	clones      *atomic.Int32
	proof       func() proof
	statements  []ddl.Statement
	transaction bool // its tool has all of it in one
	directives  []ddl.Directive
	judged      history.Judged
	step        func(what string)
}

// trial is one of the trials. It returns what it showed, or an error of the environment.
type trial struct {
	name history.TrialName
	try  func(context.Context) (history.Trial, error)
}

// run makes all trials. The error is one that concerns the others as well.
func (j *judge) run(ctx context.Context) error {
	if err := j.read(ctx); err != nil {
		return err
	}
	if j.global() && !j.Server.Owned {
		return fmt.Errorf("%s creates what belongs to the whole server, which is yours; try --postgres local", j.migration.Path)
	}
	trials := []trial{
		{history.TrialEmpty, j.empty},
		{history.TrialPopulated, j.populated},
		{history.TrialDirty, j.dirty},
		{history.TrialLive, j.live},
		{history.TrialInterrupted, j.interrupted},
		{history.TrialTwice, j.twice},
		{history.TrialDown, j.down},
		{history.TrialAfter, j.after},
	}
	defer func() {
		if j.filled != nil {
			_ = j.filled.Drop(context.WithoutCancel(ctx))
		}
	}()
	stopped := ""
	for _, t := range trials {
		j.step(string(t.name))
		if t.name == history.TrialInterrupted && stopped == "" && !slices.Contains(j.Skip, history.TrialAfter) {
			j.proof = j.prove(ctx)
			defer j.proof() // whatever becomes of the trials until then
		}
		began := time.Now()
		if slices.Contains(j.Skip, t.name) {
			j.judged.NotCovered = append(j.judged.NotCovered, string(t.name)+": left out, as asked")
			j.judged.Trials = append(j.judged.Trials, history.Trial{Name: t.name, State: history.TrialSkipped, Says: "left out, as asked"})
			continue
		}
		if stopped != "" {
			j.judged.Trials = append(j.judged.Trials, history.Trial{Name: t.name, State: history.TrialSkipped, Says: stopped})
			continue
		}
		done, err := t.try(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			done = history.Trial{State: history.TrialUnknown, Says: "could not be made: " + err.Error()}
			var data DataError
			if errors.As(err, &data) {
				return err
			}
		}
		done.Name, done.Elapsed = t.name, history.Since(began)
		j.judged.Trials = append(j.judged.Trials, done)
		if done.State == history.TrialUnknown {
			j.judged.NotCovered = append(j.judged.NotCovered, fmt.Sprintf("%s: %s", t.name, done.Says))
		}
		applies := done.State == history.TrialPassed || done.State == history.TrialSkipped || t.name == history.TrialEmpty && len(j.is.Objects) > 0
		if (t.name == history.TrialEmpty || t.name == history.TrialPopulated) && !applies {
			stopped = fmt.Sprintf("it does not apply (%s)", t.name)
		}
	}
	j.conclude()
	return nil
}

// read looks at the file, and at the schema that it meets.
func (j *judge) read(ctx context.Context) (err error) {
	if j.roles, err = j.Server.Roles(ctx); err != nil {
		return err
	}
	return j.on(ctx, j.before, func(db *server.Database, conn *pgx.Conn) (err error) {
		if j.was, err = schemaOf(ctx, conn); err != nil {
			return err
		}
		return j.predict()
	})
}

// global reports whether the file creates what belongs to the whole server.
func (j *judge) global() bool {
	return slices.ContainsFunc(j.statements, func(s ddl.Statement) bool { return s.Begins("create role|user|group|database|tablespace") })
}

// predict says what reading the file tells.
func (j *judge) predict() error {
	statements, transaction := j.Set.Statements(j.current())
	j.transaction = transaction
	facts := ddl.Facts{
		Before: j.was, Version: j.Server.Version / 10_000, Transaction: transaction,
		Message: j.Set.Layout == migrations.GolangMigrate || j.Set.Layout == migrations.Prisma,
	}
	var err error
	j.statements, j.directives, err = ddl.Read(j.current().SQL, statements, facts)
	return err
}

// current is the migration as it is tried: with the rewrite, if the file as it is fails on every database.
func (j *judge) current() migrations.Migration {
	m, _ := j.Set.At(j.migration.Version)
	return m
}

// apply applies the migration to a database in the state before.
func (j *judge) apply(ctx context.Context, config *pgx.ConnConfig) error {
	_, err := j.Set.ApplyOne(ctx, config, j.migration.Version)
	return err
}

// on does something to a clone of a template, which is dropped afterwards.
func (j *judge) on(ctx context.Context, t *server.Template, do func(*server.Database, *pgx.Conn) error) error {
	j.clones.Add(1)
	defer j.clones.Add(-1)
	db, err := t.Database(ctx)
	if err != nil {
		return err
	}
	conn, err := db.Connect(ctx, "gate")
	if err == nil {
		err = do(db, conn)
		err = errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	}
	return errors.Join(err, db.Drop(context.WithoutCancel(ctx)), j.forget(context.WithoutCancel(ctx)))
}

// forget drops the roles that the migration has created, which belong to the whole server, for it to create them again; unless another clone may have
// some use for them.
func (j *judge) forget(ctx context.Context) error {
	if j.clones.Load() > 1 {
		return nil
	}
	now, err := j.Server.Roles(ctx)
	if err != nil || !j.Server.Owned {
		return err
	}
	for _, role := range now {
		if !slices.Contains(j.roles, role) {
			err = errors.Join(err, j.Server.DropRole(ctx, role))
		}
	}
	return err
}

// DataError says that Config.Data could not be loaded.
type DataError struct{ error }

// find notes a finding. What lies in a statement is said at its place.
func (j *judge) find(f history.Finding) {
	f.File = j.migration.Path
	if f.Line == 0 && f.Statement != "" {
		i := slices.IndexFunc(j.statements, func(s ddl.Statement) bool { return strings.TrimSpace(s.Text) == strings.TrimSpace(f.Statement) })
		if i < 0 { // what the tool itself sends
			f.Statement = ""
		} else {
			f.Line, f.Column = j.statements[i].Line, 1
		}
	}
	for _, s := range j.statements {
		if f.Statement == "" && f.Line > 0 && s.Line <= f.Line && f.Line <= s.Line+strings.Count(s.Text, "\n") {
			f.Statement = s.Text
		}
	}
	j.judged.Findings = append(j.judged.Findings, f)
}

// schemaOf takes a snapshot of a schema, without the ledger of the migration tool.
func schemaOf(ctx context.Context, conn *pgx.Conn) (schema.Schema, error) {
	s, err := schema.Read(ctx, conn)
	return s.Without(migrations.Ledger), err
}

// conclude puts the findings in order and gives the verdict.
func (j *judge) conclude() {
	for _, s := range j.statements {
		for _, f := range s.Findings {
			f.File = j.migration.Path
			known := slices.ContainsFunc(j.judged.Findings, func(other history.Finding) bool { return other.Rule == f.Rule && other.Line == f.Line })
			if !known {
				j.judged.Findings = append(j.judged.Findings, f)
			}
		}
	}
	for _, d := range j.directives {
		if d.Problem != "" {
			j.judged.Findings = append(j.judged.Findings, history.Finding{
				Rule: "directive", Level: history.LevelError, File: j.migration.Path, Line: d.Line, Column: 1, Says: d.Problem,
			})
		}
	}
	j.judged.Findings = ddl.Silence(j.judged.Findings, j.directives)
	slices.SortStableFunc(j.judged.Findings, func(a, b history.Finding) int {
		return cmp.Or(cmp.Compare(whole(a), whole(b)), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	j.judged.Verdict = history.Held
	for i := range j.judged.Trials {
		t := &j.judged.Trials[i]
		counts := slices.ContainsFunc(j.judged.Findings, func(f history.Finding) bool { return f.Trial == t.Name && f.Counts() })
		switch {
		case counts:
			t.State = history.TrialFailed
		case t.State == history.TrialFailed: // what it found is silenced
			t.State = history.TrialPassed
		case t.State == history.TrialUnknown:
			j.judged.Verdict = history.Unknown
		}
	}
	if slices.ContainsFunc(j.judged.Findings, history.Finding.Counts) {
		j.judged.Verdict = history.Violated
	}
}

func whole(f history.Finding) int {
	if f.Line == 0 {
		return 1
	}
	return 0
}
