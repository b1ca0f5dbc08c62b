package gate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/schema"
	"github.com/interlock-pg/interlock/harness/traffic"
)

// write is a statement as the release that still runs may send it to a table, copied from a row that is there. It is taken back.
type write struct {
	table, sql string
	says       string
	sure       bool // whoever writes to the table at all sends the like of it
}

// writes are the statements that the schema before allows: a row with all its columns, one with those only that have to be given, and a change that
// changes nothing.
func (j *judge) writes() (all []write) {
	for _, t := range j.was.Objects {
		if _, still := j.is.Find(t.Kind, t.Name); t.Kind != schema.Table || !still {
			continue
		}
		var every, needed []string
		for _, c := range j.was.Objects {
			if c.Kind != schema.Column || c.Table != t.Name || c.Get("generated") != "" || strings.HasPrefix(c.Get("identity"), "always") {
				continue
			}
			if _, still := j.is.Find(c.Kind, c.Name); !still {
				continue // what drops it is told of that
			}
			name := strings.TrimPrefix(c.Name, t.Name+".")
			every = append(every, name)
			if c.Get("not null") != "" && c.Get("default") == "" && c.Get("identity") == "" {
				needed = append(needed, name)
			}
		}
		if len(every) == 0 {
			continue
		}
		row := func(columns []string) string {
			list := strings.Join(columns, ", ")
			return fmt.Sprintf("INSERT INTO %s (%s) SELECT %[2]s FROM %[1]s LIMIT 1", t.Name, list)
		}
		few := write{t.Name, "INSERT INTO " + t.Name + " DEFAULT VALUES", "an INSERT that leaves out what could be left out before", false}
		if len(needed) > 0 {
			few.sql = row(needed)
		}
		all = append(all, write{t.Name, row(every), "an INSERT of a row like those that are there", true}, few,
			write{t.Name, fmt.Sprintf("UPDATE %s SET %s = %[2]s WHERE ctid = (SELECT ctid FROM %[1]s LIMIT 1)", t.Name, every[len(every)-1]), "an UPDATE", true})
	}
	return all
}

// outcome executes a write, takes it back, and returns what the server refused it with; nil: nothing.
func (w write) outcome(ctx context.Context, conn *pgx.Conn) (*pgconn.PgError, error) {
	undo := errors.New("taken back")
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, w.sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `set constraints all immediate`); err != nil {
			return err
		}
		return undo
	})
	var refused *pgconn.PgError
	switch {
	case errors.Is(err, undo):
		return nil, nil
	case errors.As(err, &refused) && !environmental(err):
		return refused, nil
	}
	return nil, err
}

// release has the release that still runs write to each table, before and after the migration, and notes what is refused only afterwards.
func (j *judge) release(ctx context.Context, before, after *pgx.Conn) error {
	for _, w := range j.writes() {
		was, err := w.outcome(ctx, before)
		if err != nil {
			return err
		}
		now, err := w.outcome(ctx, after)
		if err != nil {
			return err
		}
		if now == nil || was != nil && was.Code == now.Code || now.Code == "23505" || now.Code == "23P01" { // a copy is in its own way
			continue
		}
		f := history.Finding{
			Rule: traffic.BreaksCode, Trial: history.TrialPopulated, Level: history.LevelWarning, SQLState: now.Code,
			Says:     fmt.Sprintf("the release that still runs may fail on %s: %s is refused now: %s", w.table, w.says, now.Message),
			Evidence: []string{w.sql + ";", fmt.Sprintf("ERROR %s: %s", now.Code, now.Message)},
		}
		if w.sure {
			f.Level = history.LevelError
		}
		if now.ColumnName != "" {
			f.Line = j.lineOf(now.ColumnName)
		}
		j.find(f)
	}
	return nil
}
