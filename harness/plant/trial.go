package plant

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/schema"
	"github.com/interlock-pg/interlock/harness/server"
)

// The rules of the findings.
const (
	RuleDirtyData    = "dirty-data"                 // note: the rows that would be in the way, and how to resolve them
	RuleAccepted     = "dirty-data-accepted"        // error: the rows are still there, and the migration went through
	RuleResolved     = "dirty-data-resolved"        // note, or warning where rows are gone: the migration resolved them itself
	RuleLeavesHalf   = "dirty-leaves-half"          // error: the refused migration changed the schema
	RuleInvalidIndex = "dirty-leaves-invalid-index" // warning: it left an index that enforces nothing
)

// Config of a trial.
type Config struct {
	// Database returns a populated database in the state before the migration, which Try drops.
	Database func(context.Context) (*server.Database, error)
	// Apply applies the migration as its tool would. A refusal is a [*migrations.Error], or what the driver returned.
	Apply func(context.Context, *pgx.ConnConfig) error
	// Repair resolves the rows by Interlock's own repair, and says what it did; nothing, where it knows nothing of what is broken. nil: there is none.
	Repair func(context.Context, *pgx.ConnConfig) (said string, err error)

	File string // of the migration, for the findings
	Keys int    // how many keys break each constraint; 0: 52
}

// Try plants what breaks each constraint, on a database for each, applies the migration, and says what came of it. The error says what kept it from
// being tried at all; trouble of the server makes the trial unknown instead.
func Try(ctx context.Context, constraints []Constraint, config Config) (history.Trial, []history.Finding, error) {
	start := time.Now()
	if config.Keys <= 0 {
		config.Keys = 52
	}
	t := trial{Config: config, all: constraints}
	for _, c := range constraints {
		err := t.try(ctx, c)
		if ctx.Err() != nil {
			return history.Trial{}, nil, ctx.Err()
		}
		var trouble *environment
		if errors.As(err, &trouble) {
			t.unknown = append(t.unknown, fmt.Sprintf("%s: %v", c, err))
			t.says(c, "unknown: "+err.Error())
		} else if err != nil {
			return history.Trial{}, nil, fmt.Errorf("trying %s on rows that break it: %w", c, err)
		}
	}
	out := t.verdict()
	out.Elapsed = history.Since(start)
	return out, t.findings, nil
}

// trial is the state of one Try.
type trial struct {
	Config
	all      []Constraint
	findings []history.Finding
	details  []string
	unknown  []string // what kept constraints from being judged
	tried    int
	refused  int // of those tried
	unclean  int // of those tried: refused, and something is left
	cut      int // of those refused: keys are counted that are not named
	resolved int
	unlooked int // NOT VALID
	planted  int
	untried  int
}

// environment is trouble that is not the migration's.
type environment struct{ err error }

func (e *environment) Error() string {
	return e.err.Error() + "; try again when the server is well"
}
func (e *environment) Unwrap() error { return e.err }

// outside marks errors of the environment: what the server says of itself, and lost connections.
func outside(err error) error {
	if server.IsTrouble(err) {
		return &environment{err}
	}
	return err
}

// verdict sums up.
func (t *trial) verdict() history.Trial {
	out := history.Trial{Name: history.TrialDirty, State: history.TrialPassed, Details: t.details}
	failed := 0
	for _, f := range t.findings {
		if f.Counts() {
			failed++
		}
	}
	var came []string
	add := func(n int, what string) {
		if n == t.tried && n > 1 {
			came = append(came, "each "+what)
		} else if n == 1 && t.tried == 1 {
			came = append(came, what)
		} else if n > 0 {
			came = append(came, fmt.Sprintf("%d %s", n, what))
		}
	}
	if t.cut == 0 {
		add(t.refused, "refused cleanly, all named")
	} else {
		add(t.refused, fmt.Sprintf("refused cleanly, %d of its keys named at most", mostRows))
	}
	add(t.unclean, "refused, and leaving something behind")
	add(t.resolved, "resolved by the migration itself")
	add(t.unlooked, "accepted, as NOT VALID says")
	if failed > 0 {
		came = append(came, count(failed, "finding")+" that must be put right")
	}
	if t.untried > 0 {
		came = append(came, fmt.Sprintf("%d not tried", t.untried))
	}
	if len(t.unknown) > 0 {
		came = append(came, "unknown of "+t.unknown[0])
	}
	out.Says = fmt.Sprintf("%s, %s planted: %s", count(len(t.all), "constraint"), count(t.planted, "offending key"), strings.Join(came, ", "))
	switch {
	case len(t.all) == 0:
		out.State, out.Says = history.TrialSkipped, "adds nothing that rows could break"
	case failed > 0:
		out.State = history.TrialFailed
	case len(t.unknown) > 0:
		out.State = history.TrialUnknown
	case t.tried == 0:
		out.State = history.TrialSkipped
		out.Says = fmt.Sprintf("%s, none of which could be tried: %s", count(len(t.all), "constraint"), strings.Join(t.details, "; "))
	}
	return out
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (t *trial) says(c Constraint, what string) { t.details = append(t.details, c.String()+": "+what) }

// attempt is one constraint that was broken, on a database of its own.
type attempt struct {
	Constraint
	db      *server.Database
	there   int // keys that generated rows broke
	planted int // all keys, those included
	why     string
	before  state
}

// try tries one constraint.
func (t *trial) try(ctx context.Context, c Constraint) (err error) {
	db, err := t.Database(ctx)
	if err != nil {
		return outside(err)
	}
	defer func() { err = errors.Join(err, outside(db.Drop(context.WithoutCancel(ctx)))) }()
	a := attempt{Constraint: c, db: db}
	err = with(ctx, db.Config("plant"), func(conn *pgx.Conn) (err error) {
		if a.there, a.planted, a.why, err = c.plant(ctx, conn, t.Keys); err != nil || a.planted == 0 {
			return err
		}
		a.before, err = look(ctx, conn, c)
		return err
	})
	if err != nil {
		return outside(err)
	}
	if a.planted == 0 {
		t.untried++
		t.says(c, "not tried: "+a.why)
		return nil
	}
	refusal := t.Apply(ctx, db.Config("migrations"))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var trouble *environment
	if err := outside(refusal); errors.As(err, &trouble) {
		return err
	}
	if refusal == nil {
		return t.accepted(ctx, a)
	}
	return t.refusedOver(ctx, a, refusal)
}

// refusedOver judges a migration that was refused.
func (t *trial) refusedOver(ctx context.Context, a attempt, refusal error) (err error) {
	f := finding(a.Constraint, t.File, refusal)
	if other := another(a.Constraint, t.all, refusal); other != "" { // rows in the way of that one were generated, or what was planted broke both
		t.untried++
		t.says(a.Constraint, fmt.Sprintf("not tried: the migration was refused by %s first", other))
		return nil
	}
	if !strings.HasPrefix(f.SQLState, "23") && f.SQLState != "P0001" { // P0001: the migration looks itself, and raises
		otherwise := "the migration fails for another reason: " + strings.Join(f.Evidence, "; ")
		t.unknown = append(t.unknown, fmt.Sprintf("%s: %s", a.Constraint, otherwise))
		t.says(a.Constraint, "not judged: "+otherwise)
		return nil
	}
	var after schema.Schema
	if err := with(ctx, a.db.Config("plant"), func(conn *pgx.Conn) (err error) {
		after, err = schemaOf(ctx, conn)
		return err
	}); err != nil {
		return outside(err)
	}
	t.tried++
	t.planted += a.planted
	clean := t.left(a.Constraint, f, a.before.schema, after)
	f.Rule, f.Level = RuleDirtyData, history.LevelNote
	f.Says = fmt.Sprintf("would refuse %s: %s", count(a.before.keys.Total, "key"), a.Says())
	f.Keys, f.Query = &a.before.keys, a.Query()
	if f.Repair, err = t.repair(ctx, a.Constraint, a.db, clean); err != nil {
		return err
	}
	t.findings = append(t.findings, f)
	detail := fmt.Sprintf("%s planted; refused with %s", count(a.planted, "key"), f.SQLState)
	if f.Line > 0 {
		detail += fmt.Sprintf(" at line %d", f.Line)
	}
	if clean {
		t.refused++
		detail += "; the schema is as it was"
	} else {
		t.unclean++
		detail += "; the schema is not as it was"
	}
	if a.there > 0 {
		detail += fmt.Sprintf("; of these, generated rows broke %d already", a.there)
	}
	if a.why != "" {
		detail += "; " + a.why
	}
	if named := len(a.before.keys.Rows); named < a.before.keys.Total {
		t.cut++
		detail += fmt.Sprintf("; %d named, the query finds all", named)
	} else {
		detail += "; all named"
	}
	t.says(a.Constraint, detail)
	return nil
}

// accepted judges a migration that went through. That is well where it does not look at the rows, or has resolved them itself.
func (t *trial) accepted(ctx context.Context, a attempt) error {
	f := finding(a.Constraint, t.File, nil)
	f.Query = a.Query()
	broke := count(a.before.keys.Total, "key")
	if !a.Validated {
		t.tried, t.planted, t.unlooked = t.tried+1, t.planted+a.planted, t.unlooked+1
		t.says(a.Constraint, fmt.Sprintf("%s planted; accepted, as NOT VALID says; VALIDATE CONSTRAINT is refused as long as this query finds any: %s",
			broke, strings.Join(strings.Fields(f.Query), " ")))
		return nil
	}
	var now state
	err := with(ctx, a.db.Config("plant"), func(conn *pgx.Conn) (err error) {
		now, err = look(ctx, conn, a.Constraint)
		return err
	})
	var pg *pgconn.PgError
	if errors.As(err, &pg) && !server.IsTrouble(pg) {
		said := fmt.Sprintf("accepted, and what became of the rows cannot be seen: the query for them does not run in the state after: %s %s", pg.Code, pg.Message)
		t.unknown = append(t.unknown, fmt.Sprintf("%s: %s", a.Constraint, said))
		t.says(a.Constraint, said)
		return nil
	}
	if err != nil {
		return outside(err)
	}
	t.tried++
	t.planted += a.planted
	if left := now.keys.Total; left > 0 {
		f.Rule, f.Level, f.Keys = RuleAccepted, history.LevelError, &a.before.keys
		f.Says = fmt.Sprintf("went through over %s that it should refuse: %s", broke, a.Says())
		f.Evidence = []string{fmt.Sprintf("of %s, %d are still there after the migration", broke, left)}
		t.says(a.Constraint, fmt.Sprintf("%s planted; accepted, and %d are still there", broke, left))
		t.findings = append(t.findings, f)
		return nil
	}
	t.resolved++
	f.Rule, f.Level = RuleResolved, history.LevelNote
	f.Says = fmt.Sprintf("resolves %s itself: %s", broke, a.Says())
	f.Evidence = []string{"none of them is left after the migration"}
	if gone := a.before.rows - now.rows; gone > 0 {
		f.Level = history.LevelWarning
		f.Says += fmt.Sprintf("; it removes %s for that", count(gone, "row"))
		f.Evidence = append(f.Evidence, fmt.Sprintf("%s had %d rows before, and has %d after", a.Table, a.before.rows, now.rows))
	}
	t.says(a.Constraint, fmt.Sprintf("%s planted; the migration resolved them itself", broke))
	t.findings = append(t.findings, f)
	return nil
}
