package plant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/migrations"
)

// with runs do on a connection of its own.
func with(ctx context.Context, config *pgx.ConnConfig, do func(*pgx.Conn) error) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", config.Database, err)
	}
	return errors.Join(do(conn), conn.Close(context.WithoutCancel(ctx)))
}

// finding is the beginning of one: the place that was refused, and what the server said.
func finding(c Constraint, file string, refusal error) history.Finding {
	f := history.Finding{Trial: history.TrialDirty, File: file}
	var e *migrations.Error
	var pg *pgconn.PgError
	if errors.As(refusal, &e) {
		f.Line, f.Column, f.Statement = e.Line, e.Column, e.Statement
		f.SQLState = e.SQLState
		f.Evidence = said(e.SQLState, e.Message, e.Detail)
	} else if errors.As(refusal, &pg) {
		f.SQLState, f.Evidence = pg.Code, said(pg.Code, pg.Message, pg.Detail)
	} else if refusal != nil {
		f.Evidence = []string{refusal.Error()}
	} else {
		f.Statement = c.Definition
	}
	return f
}

func said(state, message, detail string) []string {
	lines := []string{strings.TrimSpace("ERROR "+state) + ": " + message}
	if detail != "" {
		lines = append(lines, "DETAIL: "+detail)
	}
	return lines
}

// another returns what refused the migration, where that is another constraint than the one that was broken; empty: it is that one, or the server
// does not say. The index of a partition is not called as its parent's.
func another(c Constraint, all []Constraint, refusal error) string {
	var pg *pgconn.PgError
	if !errors.As(refusal, &pg) || !strings.HasPrefix(pg.Code, "23") || pg.TableName == "" {
		return ""
	}
	kinds := map[string]Kind{"23502": NotNull, "23503": ForeignKey, "23505": Unique, "23514": Check, "23P01": Exclusion}
	is := func(c Constraint) bool {
		name := pg.ConstraintName
		if c.Kind == NotNull {
			name = pg.ColumnName
		}
		return kinds[pg.Code] == c.Kind && strings.HasSuffix("."+plain(c.Name), "."+plain(name))
	}
	name := cmp.Or(pg.ConstraintName, pg.ColumnName)
	for _, o := range all {
		if is(o) && plain(o.Table) == tableOf(pg) {
			if o.Name == c.Name && o.Table == c.Table {
				return ""
			}
			return name
		}
	}
	if kinds[pg.Code] != c.Kind || plain(c.Table) == tableOf(pg) && !is(c) {
		return name
	}
	return ""
}

// tableOf is the table that an error is about, without quotes.
func tableOf(pg *pgconn.PgError) string { return pg.SchemaName + "." + pg.TableName }

func plain(name string) string { return strings.ReplaceAll(name, `"`, "") }

// repair says how to resolve the rows: by Interlock's own repair, where that does it, which is tried; else in words, with a beginning of SQL that
// destroys nothing as it stands.
func (t *trial) repair(ctx context.Context, c Constraint, db *server.Database, clean bool) (string, error) {
	if t.Repair == nil {
		return c.advice(), nil
	}
	did, err := t.Repair(ctx, db.Config("repair"))
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	var trouble *environment
	switch {
	case errors.As(outside(err), &trouble):
		return "", outside(err)
	case err != nil:
		return fmt.Sprintf("interlock repair did not resolve them here: %v; instead: %s", err, c.advice()), nil
	case did == "":
		return c.advice(), nil
	case !clean:
		return did + "; then the migration was not applied again, because of what it had left behind", nil
	}
	err = t.Apply(ctx, db.Config("migrations"))
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	switch {
	case err == nil:
		return did + "; after that, the migration applies", nil
	case errors.As(outside(err), &trouble):
		return "", outside(err)
	}
	said := finding(c, "", err).Evidence
	return fmt.Sprintf("%s; after that, the migration is still refused: %s; what is left: %s", did, strings.Join(said, "; "), c.advice()), nil
}

// advice is what to do about the rows that the query finds.
func (c Constraint) advice() string {
	var set []string
	for _, name := range c.Reads {
		set = append(set, name+" = …")
	}
	if len(set) == 0 {
		set = []string{"…"}
	}
	update := fmt.Sprintf("UPDATE %s SET %s WHERE ", c.Table, strings.Join(set, ", "))
	of := tuple(c.ID) + " = …;"
	switch c.Kind {
	case Unique:
		return "decide which row of each key stays; have what refers to the others refer to it, and then give those another key, or take them out of the condition: " + update + of +
			" Delete rows only when they are archived."
	case Exclusion:
		return "decide which row of each pair stays as it is, and move the other, or take it out of the condition: " + update + of
	case NotNull:
		return "decide what stands for a missing value, and fill it in, in batches if they are many: " + update + c.Keys[0].SQL + " IS NULL;"
	case Check:
		return "correct the rows: " + update + "NOT " + bracketed(c.Where) + "; or add the constraint NOT VALID now, and VALIDATE it when they are corrected"
	default:
		return "insert what is referred to into " + c.Parent + ", or correct the reference, or empty it where that is allowed: " + update + of +
			" Or add the constraint NOT VALID now, and VALIDATE it when they are gone."
	}
}
