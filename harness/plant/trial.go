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
	"github.com/interlock-pg/interlock/migrations"
)

// The rules of the findings.
const (
	RuleDirtyData    = "dirty-data"                 // note: the rows that would be in the way, and how to resolve them
	RuleAccepted     = "dirty-data-accepted"        // error: the rows are still there, and the migration went through
	RuleResolved     = "dirty-data-resolved"        // note, or warning where rows are gone: the migration resolved them itself
	RuleLeavesHalf   = "dirty-leaves-half"          // error: the refused migration changed the schema
	RuleInvalidIndex = "dirty-leaves-invalid-index" // warning: it left an index that enforces nothing
)

// keptRows is how many of the rows in the way are kept with a finding; the rest are counted.
const keptRows = 100

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
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError
	var refusal *migrations.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &pg):
		if environmental(pg.Code) {
			return &environment{err}
		}
	case errors.As(err, &refusal): // the server was not asked
	case errors.As(err, &connect), pgconn.SafeToRetry(err), isLost(err):
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
		add(t.refused, fmt.Sprintf("refused cleanly, %d of its keys named at most", keptRows))
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

// try tries one constraint.
func (t *trial) try(ctx context.Context, c Constraint) (err error) {
	db, err := t.Database(ctx)
	if err != nil {
		return outside(err)
	}
	defer func() { err = errors.Join(err, outside(db.Drop(context.WithoutCancel(ctx)))) }()
	config := db.Config("plant")
	var before state
	var there, planted int
	var why string
	err = with(ctx, config, func(conn *pgx.Conn) (err error) {
		if there, planted, why, err = c.plant(ctx, conn, t.Keys); err != nil || planted == 0 {
			return err
		}
		before, err = look(ctx, conn, c)
		return err
	})
	if err != nil {
		return outside(err)
	}
	if planted == 0 {
		t.untried++
		t.says(c, "not tried: "+why)
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
	f := finding(c, t.File, refusal)
	var after schema.Schema
	left, rows := before.keys.Total, before.rows
	err = with(ctx, config, func(conn *pgx.Conn) (err error) {
		if refusal != nil {
			after, err = schema.Read(ctx, conn)
			return err
		}
		now, err := look(ctx, conn, c)
		var pg *pgconn.PgError
		if errors.As(err, &pg) && !environmental(pg.Code) {
			return fmt.Errorf("the query for it does not run in the state after: %w", err)
		}
		left, rows = now.keys.Total, now.rows
		return err
	})
	var pg *pgconn.PgError
	if refusal == nil && errors.As(err, &pg) && !environmental(pg.Code) {
		t.unknown = append(t.unknown, fmt.Sprintf("%s: accepted, and %v", c, err))
		t.says(c, "accepted, and "+err.Error())
		return nil
	}
	if err != nil {
		return outside(err)
	}
	t.planted += planted
	if refusal == nil {
		t.tried++
		t.accepted(c, f, before, left, rows, planted)
		return nil
	}
	state := f.SQLState
	if other := another(c, t.all, refusal); other != "" || !strings.HasPrefix(state, "23") && state != "P0001" {
		t.planted -= planted
		if other != "" { // rows in the way of that one were generated, or what was planted broke both
			t.untried++
			t.says(c, fmt.Sprintf("not tried: the migration was refused by %s first", other))
		} else {
			t.unknown = append(t.unknown, fmt.Sprintf("%s: the migration fails for another reason: %s", c, strings.Join(f.Evidence, "; ")))
			t.says(c, "not judged: the migration fails for another reason: "+strings.Join(f.Evidence, "; "))
		}
		return nil
	}
	t.tried++
	clean := t.left(c, f, before.schema, after)
	f.Rule, f.Level = RuleDirtyData, history.LevelNote
	f.Says = fmt.Sprintf("would refuse %s: %s", count(before.keys.Total, "key"), c.Says())
	f.Keys, f.Query = &before.keys, c.Query()
	if f.Repair, err = t.repair(ctx, c, db, clean); err != nil {
		return err
	}
	t.findings = append(t.findings, f)
	detail := fmt.Sprintf("%s planted; refused with %s", count(planted, "key"), state)
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
	if there > 0 {
		detail += fmt.Sprintf("; of these, generated rows broke %d already", there)
	}
	if why != "" {
		detail += "; " + why
	}
	if named := len(before.keys.Rows); named < before.keys.Total {
		t.cut++
		detail += fmt.Sprintf("; %d named, the query finds all", named)
	} else {
		detail += "; all named"
	}
	t.says(c, detail)
	return nil
}

// state is what there is to see of a database.
type state struct {
	schema schema.Schema
	keys   history.Table // that break the constraint
	rows   int           // of the table
}

// look reads the state.
func look(ctx context.Context, conn *pgx.Conn, c Constraint) (s state, err error) {
	if s.schema, err = schema.Read(ctx, conn); err != nil {
		return s, err
	}
	if err := conn.QueryRow(ctx, "select count(*) from "+c.from("", "")).Scan(&s.rows); err != nil {
		return s, err
	}
	rows, err := conn.Query(ctx, c.Query(), pgx.QueryResultFormats{pgx.TextFormatCode})
	if err != nil {
		return s, err
	}
	defer rows.Close()
	for _, f := range rows.FieldDescriptions() {
		s.keys.Columns = append(s.keys.Columns, f.Name)
	}
	for rows.Next() {
		if s.keys.Total++; s.keys.Total > keptRows {
			continue
		}
		row := make([]*string, len(s.keys.Columns))
		for i, value := range rows.RawValues() {
			if value != nil {
				text := crop(string(value))
				row[i] = &text
			}
		}
		s.keys.Rows = append(s.keys.Rows, row)
	}
	return s, rows.Err()
}

// crop keeps a cell from filling pages.
func crop(text string) string {
	if all := []rune(text); len(all) > 400 {
		return string(all[:399]) + "…"
	}
	return text
}

// accepted judges a migration that went through.
func (t *trial) accepted(c Constraint, f history.Finding, before state, left, rows, planted int) {
	f.Query = c.Query()
	switch {
	case !c.Validated:
		t.unlooked++
		t.says(c, fmt.Sprintf("%s planted; accepted, as NOT VALID says; VALIDATE CONSTRAINT is refused as long as this query finds any: %s",
			count(planted, "key"), strings.Join(strings.Fields(c.Query()), " ")))
		return
	case left > 0:
		f.Rule, f.Level, f.Keys = RuleAccepted, history.LevelError, &before.keys
		f.Says = fmt.Sprintf("went through over %s that it should refuse: %s", count(before.keys.Total, "key"), c.Says())
		f.Evidence = []string{fmt.Sprintf("of %s, %d are still there after the migration", count(before.keys.Total, "key"), left)}
		t.says(c, fmt.Sprintf("%s planted; accepted, and %d are still there", count(planted, "key"), left))
	default:
		t.resolved++
		f.Rule, f.Level = RuleResolved, history.LevelNote
		f.Says = fmt.Sprintf("resolves %s itself: %s", count(before.keys.Total, "key"), c.Says())
		f.Evidence = []string{"none of them is left after the migration"}
		if gone := before.rows - rows; gone > 0 {
			f.Level = history.LevelWarning
			f.Says += fmt.Sprintf("; it removes %s for that", count(gone, "row"))
			f.Evidence = append(f.Evidence, fmt.Sprintf("%s had %d rows before, and has %d after", c.Table, before.rows, rows))
		}
		t.says(c, fmt.Sprintf("%s planted; the migration resolved them itself", count(planted, "key")))
	}
	t.findings = append(t.findings, f)
}

// ledger is the table in which goose notes what it applied. It is the tool's, not the migration's.
const ledger = "goose_db_version"

// left looks what a refused migration left behind.
func (t *trial) left(c Constraint, f history.Finding, before, after schema.Schema) bool {
	var half, drop, invalid []string
	for _, change := range schema.Diff(before, after) {
		if strings.Contains(change.Name, ledger) || strings.Contains(change.Table, ledger) {
			continue
		}
		now, _ := after.Find(change.Kind, change.Name)
		if change.Kind == schema.Index && change.What == schema.Added && now.Get("invalid") != "" {
			invalid = append(invalid, change.String())
			drop = append(drop, "DROP INDEX CONCURRENTLY "+change.Name+";")
			continue
		}
		half = append(half, change.String())
	}
	f.Query = ""
	if len(invalid) > 0 {
		g := f
		g.Rule, g.Level = RuleInvalidIndex, history.LevelWarning
		g.Says = "refused over rows that break " + c.String() + ", it leaves an INVALID index: that enforces nothing, slows every write down, and keeps its name"
		g.Evidence, g.Repair = shorten(invalid), "before the migration is applied again: "+strings.Join(drop, " ")
		t.add(g)
	}
	if len(half) > 0 {
		g := f
		g.Rule, g.Level = RuleLeavesHalf, history.LevelError
		g.Says = "refused over rows that break " + c.String() + ", it leaves half of itself behind, and cannot be applied again as it is"
		g.Evidence, g.Repair = shorten(half), "one transaction for the whole file; or a file of its own for each statement that cannot run in one"
		t.add(g)
	}
	return len(half)+len(invalid) == 0
}

// add adds a finding, unless an earlier constraint of the same statement gave it already.
func (t *trial) add(f history.Finding) {
	for _, there := range t.findings {
		if there.Rule == f.Rule && there.Line == f.Line && strings.Join(there.Evidence, "\n") == strings.Join(f.Evidence, "\n") {
			return
		}
	}
	t.findings = append(t.findings, f)
}

func shorten(lines []string) []string {
	const most = 20
	if len(lines) <= most {
		return lines
	}
	return append(lines[:most:most], fmt.Sprintf("and %d more", len(lines)-most))
}
