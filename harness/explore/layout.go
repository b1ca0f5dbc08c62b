package explore

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/arena"
)

var (
	picks    = regexp.MustCompile(`(?i)\blimit\b|\bfetch\b`)
	gathers  = regexp.MustCompile(`(?i)_agg\b|\bdistinct\b|\barray\s*\(`)
	ordered  = regexp.MustCompile(`(?i)\border\s+by\b`)
	distinct = regexp.MustCompile(`(?i)\bis\s+(not\s+)?distinct\s+from\b`) // compares, and gathers nothing
)

// showsLayout: rows that come first in an order are not told by where they lie, unless several come first. Should they change the course of a run,
// it is made again with all rows where they were.
func showsLayout(sql string) bool {
	return picks.MatchString(sql) && !ordered.MatchString(sql) || gathers.MatchString(distinct.ReplaceAllString(sql, ""))
}

// layer sees to it that rows come to lie where they did in the first run on a fresh database, and are found in the same way: those that were deleted are
// in the way of those that come.
type layer struct {
	truncated []string // tables
	vacuum    string   // gives back the space of the other tables once they have been emptied, at half the cost of truncating them; empty: there are none
	settle    string   // gives all tables the sizes again that the planner had for them, and asks which of the vacuumed ones have kept some space; empty: it may not
}

// newLayer looks at a fresh database. As a superuser it leaves tables to be truncated only when the template brings rows to them.
func newLayer(ctx context.Context, conn *pgx.Conn, superuser bool) (layer, error) {
	rows, err := conn.Query(ctx, `
		select t.name, pg_relation_size(c.oid) > 0 or not $1, format('case when pg_relation_size(%L) > 0 then %1$L end', t.name),
			(select string_agg(format('(%s::oid, %s, %s::real, %s)', s.oid, s.relpages, s.reltuples, s.relallvisible), ', ')
				from pg_class s where s.oid = c.oid or s.oid in (select indexrelid from pg_index where indrelid = c.oid))
		from pg_class c join pg_namespace n on n.oid = c.relnamespace, format('%I.%I', n.nspname, c.relname) t (name)
		where c.relkind = 'r' and c.relpersistence <> 't' and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'interlock_saved')
			and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
		order by 1`, superuser)
	if err != nil {
		return layer{}, fmt.Errorf("listing tables: %w", err)
	}
	var name, kept, size string
	var truncate bool
	var l layer
	var vacuumed, left, sizes []string
	_, err = pgx.ForEachRow(rows, []any{&name, &truncate, &kept, &size}, func() error {
		if truncate {
			l.truncated = append(l.truncated, name)
		} else {
			vacuumed, left = append(vacuumed, name), append(left, kept)
		}
		sizes = append(sizes, size)
		return nil
	})
	if err != nil {
		return layer{}, fmt.Errorf("listing tables: %w", err)
	}
	if len(vacuumed) > 0 {
		l.vacuum = "vacuum (truncate on, index_cleanup on) " + strings.Join(vacuumed, ", ")
	}
	if superuser && len(sizes) > 0 {
		l.settle = fmt.Sprintf(`
			with settled as (
				update pg_class c set relpages = s.pages, reltuples = s.tuples, relallvisible = s.visible from (values %s) s (oid, pages, tuples, visible)
				where c.oid = s.oid and (c.relpages, c.reltuples, c.relallvisible) is distinct from (s.pages, s.tuples, s.visible))
			select concat_ws(', ', %s)`, strings.Join(sizes, ", "), strings.Join(append(left, "null"), ", "))
	}
	return l, nil
}

// flatten resets the database.
func (l layer) flatten(ctx context.Context, a *arena.Arena) error {
	truncated := l.truncated
	for range 2 {
		if err := l.reset(ctx, a, truncated); err != nil || l.settle == "" {
			return err
		}
		if l.vacuum != "" {
			if _, err := a.Control.Exec(ctx, l.vacuum); err != nil {
				return fmt.Errorf("giving back space: %w", err)
			}
		}
		var left string
		if err := a.Control.QueryRow(ctx, l.settle).Scan(&left); err != nil {
			return fmt.Errorf("looking for space that was not given back: %w", err)
		}
		if left == "" {
			return nil
		}
		truncated = append([]string{left}, l.truncated...) // somebody may still see what was deleted
	}
	return nil
}

// reset resets the database, after truncating tables and those that refer to them.
func (l layer) reset(ctx context.Context, a *arena.Arena, tables []string) error {
	if len(tables) > 0 {
		if _, err := a.Control.Exec(ctx, "truncate "+strings.Join(tables, ", ")+" cascade"); err != nil {
			return fmt.Errorf("emptying tables: %w", err)
		}
	}
	return a.Reset(ctx)
}
