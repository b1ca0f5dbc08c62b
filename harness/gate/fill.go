package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/ddl"
	"github.com/interlock-pg/interlock/harness/history"
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
	if config.Main, err = j.concerned(ctx); err != nil {
		return "", err
	}
	var report populate.Report
	err = j.on(ctx, j.before, func(db *server.Database, after *pgx.Conn) error {
		if err := j.apply(ctx, db.Config("migrations")); err != nil {
			return err
		}
		if err := j.unseed(ctx, after); err != nil {
			return err
		}
		if err := j.generate(ctx, after, config, &report); err != nil {
			return err
		}
		j.filled, err = j.extend(ctx, func(conn *pgx.Conn) error {
			if err := j.transfer(ctx, after, conn); err != nil {
				return err
			}
			return j.generate(ctx, conn, config, &report) // what is there no more afterwards
		})
		return err
	})
	if err != nil { // rows of the schema after do not fit into the one before
		j.filled, err = j.extend(ctx, func(conn *pgx.Conn) error { return j.generate(ctx, conn, config, &report) })
	}
	if err != nil {
		return "", err
	}
	rows, tables, fewer := 0, 0, 0
	for _, t := range report.Tables {
		if _, known := j.was.Find(schema.Table, t.Name); !known { // the ledger
			continue
		}
		rows, tables = rows+t.Rows, tables+1
		if config.Main != nil && !slices.Contains(config.Main, t.Name) && t.Rows <= t.Wanted {
			fewer++
		}
		if t.Rows < t.Wanted {
			j.judged.NotCovered = append(j.judged.NotCovered, fmt.Sprintf("%s has %d of %d rows: %s", t.Name, t.Rows, t.Wanted, t.Reason))
		}
	}
	says = fmt.Sprintf("%d generated rows in %s", rows, count(tables, "table"))
	if fewer > 0 {
		says += fmt.Sprintf(" (%d, which it does not touch, have few)", fewer)
	}
	return says, nil
}

// generate fills what is empty, with the domain's own rows where it fits.
func (j *judge) generate(ctx context.Context, conn *pgx.Conn, config populate.Config, report *populate.Report) error {
	if j.Domain != nil && j.Domain.Fill != nil && j.Domain.Fits(ctx, conn) == nil {
		now, err := schemaOf(ctx, conn)
		if err != nil {
			return err
		}
		empty, err := tablesWithoutRows(ctx, conn, now)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(now.Objects, func(o schema.Object) bool {
			return o.Kind == schema.Table && !slices.Contains(empty, o.Name)
		}) {
			if err := j.Domain.Fill(ctx, conn, j.Rows, j.Seed); err != nil {
				return err
			}
		}
	}
	var err error
	*report, err = populate.Fill(ctx, conn, config)
	return err
}

// concerned returns the tables that the migration touches in any way, those that their rows refer to, and those of which they are partitions.
func (j *judge) concerned(ctx context.Context) (tables []string, err error) {
	tables = []string{}
	err = j.on(ctx, j.before, func(db *server.Database, watcher *pgx.Conn) error {
		err := j.walk(ctx, db, func(s *ddl.Statement, _ history.Duration, conn *pgx.Conn) error {
			for _, l := range s.Locks {
				tables = append(tables, l.Table)
			}
			rows, err := watcher.Query(ctx, `select distinct format('%I.%I', n.nspname, c.relname) from pg_locks l join pg_class c on c.oid = l.relation
				join pg_namespace n on n.oid = c.relnamespace
				where l.pid = $1 and c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`, conn.PgConn().PID())
			if err != nil {
				return err
			}
			names, err := pgx.CollectRows(rows, pgx.RowTo[string])
			tables = append(tables, names...)
			return err
		})
		var alone aloneError
		if errors.As(err, &alone) {
			tables = nil // it cannot be told: all of them
			return nil
		}
		if err != nil {
			return err
		}
		rows, err := watcher.Query(ctx, `with recursive up (oid) as (
				select to_regclass(name)::oid from unnest($1::text[]) name
				union
				select r.parent from up join lateral (
					select confrelid as parent from pg_constraint where contype = 'f' and conrelid = up.oid
					union all select inhparent from pg_inherits where inhrelid = up.oid) r on true)
			select format('%I.%I', n.nspname, c.relname) from up join pg_class c on c.oid = up.oid join pg_namespace n on n.oid = c.relnamespace`, tables)
		if err != nil {
			return err
		}
		tables, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return tables, err
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
	empty, err := tablesWithoutRows(ctx, to, j.was)
	if err != nil {
		return err
	}
	columns := map[string][]string{}
	for _, o := range j.is.Objects {
		if was, both := j.was.Find(o.Kind, o.Name); both && o.Kind == schema.Column && o.Get("generated") == "" && was.Get("generated") == "" {
			columns[o.Table] = append(columns[o.Table], strings.TrimPrefix(o.Name, o.Table+"."))
		}
	}
	for _, o := range j.was.Objects {
		if _, both := j.is.Find(o.Kind, o.Name); !both {
			continue
		}
		switch {
		case o.Kind == schema.Table && (len(columns[o.Name]) == 0 || !slices.Contains(empty, o.Name)):
		case o.Kind == schema.Table:
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
	_, err = to.Exec(ctx, `set session_replication_role = origin`)
	return err
}

// unseed takes out what the migration has put into tables that were there and empty before it: it is to put it there itself.
func (j *judge) unseed(ctx context.Context, after *pgx.Conn) error {
	return j.on(ctx, j.before, func(_ *server.Database, before *pgx.Conn) error {
		empty, err := tablesWithoutRows(ctx, before, j.was)
		if err != nil {
			return err
		}
		sql := `set session_replication_role = replica`
		for _, name := range empty {
			if _, still := j.is.Find(schema.Table, name); still {
				sql += `; delete from ` + name
			}
		}
		_, err = after.Exec(ctx, sql+`; set session_replication_role = origin`, pgx.QueryExecModeSimpleProtocol)
		return err
	})
}

// tablesWithoutRows returns the tables of a schema that are empty.
func tablesWithoutRows(ctx context.Context, conn *pgx.Conn, s schema.Schema) (names []string, err error) {
	for _, o := range s.Objects {
		if o.Kind != schema.Table {
			continue
		}
		var some bool
		if err := conn.QueryRow(ctx, `select exists (select from `+o.Name+`)`).Scan(&some); err != nil {
			return nil, err
		}
		if !some {
			names = append(names, o.Name)
		}
	}
	return names, nil
}
