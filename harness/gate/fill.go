package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/populate"
	"github.com/interlock-pg/interlock/harness/schema"
	"github.com/interlock-pg/interlock/harness/server"
)

// fill makes the populated state before: with the rows given, or with generated ones. Those are generated for the schema after the migration and
// put into the one before it, for them to be such as the migration finds in order: what it must refuse is the dirty trial's.
func (j *judge) fill(ctx context.Context) (says string, err error) {
	if j.Data != "" {
		j.filled, err = j.extend(ctx, func(conn *pgx.Conn) error {
			if err := load(ctx, conn, j.Data); err != nil {
				return DataError{fmt.Errorf("the data could not be loaded: %w; try a file for the schema before the migration, as pg_dump --data-only writes it", err)}
			}
			return nil
		})
		return "the rows given", err
	}
	config := populate.Config{Rows: j.Rows, Seed: j.Seed}
	var report populate.Report
	err = j.on(ctx, j.before, func(db *server.Database, after *pgx.Conn) error {
		if err := j.apply(ctx, db.Config("migrations")); err != nil {
			return err
		}
		if _, err := populate.Fill(ctx, after, config); err != nil {
			return err
		}
		j.filled, err = j.extend(ctx, func(conn *pgx.Conn) error {
			if err := j.transfer(ctx, after, conn); err != nil {
				return err
			}
			report, err = populate.Fill(ctx, conn, config) // what is there no more afterwards
			return err
		})
		return err
	})
	if err != nil { // rows of the schema after do not fit into the one before
		j.filled, err = j.extend(ctx, func(conn *pgx.Conn) error {
			report, err = populate.Fill(ctx, conn, config)
			return err
		})
	}
	if err != nil {
		return "", err
	}
	rows, tables := 0, 0
	for _, t := range report.Tables {
		if ledger(t.Name) {
			continue
		}
		rows, tables = rows+t.Rows, tables+1
		if t.Rows < t.Wanted {
			j.judged.NotCovered = append(j.judged.NotCovered, fmt.Sprintf("%s has %d of %d rows: %s", t.Name, t.Rows, t.Wanted, t.Reason))
		}
	}
	return fmt.Sprintf("%d generated rows in %s", rows, count(tables, "table")), nil
}

// extend makes a template of the state before with more in it.
func (j *judge) extend(ctx context.Context, do func(*pgx.Conn) error) (*server.Template, error) {
	return j.before.Extend(ctx, func(ctx context.Context, config *pgx.ConnConfig) error {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		if err = do(conn); err == nil {
			_, err = conn.Exec(ctx, `analyze`)
		}
		return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	})
}

// transfer copies the rows of all tables that both schemas have, and where their sequences are, from one database to another. Triggers do not fire,
// and foreign keys are not looked at: the rows were in order where they come from.
func (j *judge) transfer(ctx context.Context, from, to *pgx.Conn) error {
	for _, o := range j.is.Objects {
		if was, both := j.was.Find(o.Kind, o.Name); both && o.Kind == schema.Column && o.Get("type") != was.Get("type") {
			return fmt.Errorf("%s changes its type: its values must be such as the old one has", o.Name)
		}
	}
	if _, err := to.Exec(ctx, `set session_replication_role = replica`); err != nil {
		return err
	}
	columns := map[string][]string{}
	for _, o := range j.is.Objects {
		if was, both := j.was.Find(o.Kind, o.Name); both && o.Kind == schema.Column && o.Get("generated") == "" && was.Get("generated") == "" {
			columns[o.Table] = append(columns[o.Table], strings.TrimPrefix(o.Name, o.Table+"."))
		}
	}
	for _, o := range j.was.Objects {
		if _, both := j.is.Find(o.Kind, o.Name); !both || ledger(o.Name) {
			continue
		}
		switch {
		case o.Kind == schema.Table && len(columns[o.Name]) > 0:
			list := strings.Join(columns[o.Name], ", ")
			var rows bytes.Buffer
			if _, err := from.PgConn().CopyTo(ctx, &rows, fmt.Sprintf(`copy (select %s from %s) to stdout`, list, o.Name)); err != nil {
				return err
			}
			if _, err := to.PgConn().CopyFrom(ctx, &rows, fmt.Sprintf(`copy %s (%s) from stdin`, o.Name, list)); err != nil {
				return err
			}
		case o.Kind == schema.Sequence:
			var at int64
			var called bool
			if err := from.QueryRow(ctx, `select last_value, is_called from `+o.Name).Scan(&at, &called); err != nil {
				return err
			}
			if _, err := to.Exec(ctx, `select setval($1::text::regclass, $2, $3)`, o.Name, at, called); err != nil {
				return err
			}
		}
	}
	_, err := to.Exec(ctx, `set session_replication_role = origin`)
	return err
}
