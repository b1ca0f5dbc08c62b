package explore

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/sched"
)

// catalog is what the schema says about what statements do beside what their text says.
type catalog struct {
	sched.Catalog
	triggers  []string            // tables with triggers of the user's own
	unique    map[string][]unique // by table
	functions *regexp.Regexp      // the names of functions that are not Postgres' own; nil: there are none
}

// unique is a unique index or an exclusion constraint. Rows that get all their own values from the columns cannot run into each other.
type unique struct{ own []string }

func readCatalog(ctx context.Context, conn *pgx.Conn) (catalog, error) {
	c := catalog{unique: map[string][]unique{}}
	fail := func(err error) (catalog, error) { return c, fmt.Errorf("reading the catalog: %w", err) }
	rows, err := conn.Query(ctx, `
		select n.nspname || '.' || t.relname, m.nspname || '.' || f.relname, k.condeferrable
		from pg_constraint k
		join pg_class t on t.oid = k.conrelid join pg_namespace n on n.oid = t.relnamespace
		join pg_class f on f.oid = k.confrelid join pg_namespace m on m.oid = f.relnamespace
		where k.contype = 'f' order by 1, 2, 3`)
	if err != nil {
		return fail(err)
	}
	if c.ForeignKeys, err = pgx.CollectRows(rows, pgx.RowToStructByPos[sched.ForeignKey]); err != nil {
		return fail(err)
	}
	if rows, err = conn.Query(ctx, `
		select distinct n.nspname || '.' || t.relname
		from pg_constraint k join pg_class t on t.oid = k.conrelid join pg_namespace n on n.oid = t.relnamespace
		where k.contype in ('p', 'u', 'x') and k.condeferrable order by 1`); err != nil {
		return fail(err)
	}
	if c.DeferredUnique, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return fail(err)
	}
	if rows, err = conn.Query(ctx, `
		select distinct n.nspname || '.' || t.relname
		from pg_trigger g join pg_class t on t.oid = g.tgrelid join pg_namespace n on n.oid = t.relnamespace
		where not g.tgisinternal order by 1`); err != nil {
		return fail(err)
	}
	if c.triggers, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return fail(err)
	}
	if rows, err = conn.Query(ctx, `
		select n.nspname || '.' || t.relname, array(
			select a.attname::text from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
			where a.attrelid = t.oid and a.attnum = any(i.indkey) and (a.attidentity <> '' or
				pg_get_expr(d.adbin, d.adrelid) ~ '^(nextval|gen_random_uuid|uuid_generate_v[14]|uuidv[47])\('))
		from pg_index i join pg_class t on t.oid = i.indrelid join pg_namespace n on n.oid = t.relnamespace
		where (i.indisunique or i.indisexclusion) and n.nspname !~ '^pg_' order by 1, i.indexrelid`); err != nil {
		return fail(err)
	}
	var table string
	var own []string
	if _, err = pgx.ForEachRow(rows, []any{&table, &own}, func() error {
		c.unique[table] = append(c.unique[table], unique{slices.Clone(own)})
		return nil
	}); err != nil {
		return fail(err)
	}
	if rows, err = conn.Query(ctx, `
		select distinct proname::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
		where n.nspname not in ('pg_catalog', 'information_schema') and l.lanname not in ('c', 'internal') order by 1`); err != nil {
		return fail(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fail(err)
	}
	if len(names) > 0 {
		for i, name := range names {
			names[i] = regexp.QuoteMeta(name)
		}
		c.functions = regexp.MustCompile(`(?i)\b(` + strings.Join(names, "|") + `)\b`)
	}
	return c, nil
}

var (
	looks    = regexp.MustCompile(`(?i)\bnowait\b|\bskip\s+locked\b|\bdo\s+nothing\b|pg_try_advisory|lock_timeout|^\s*merge\b`)
	advisory = regexp.MustCompile(`(?i)advisory`)
	insert   = regexp.MustCompile(`(?is)^\s*insert\s+into\s+[^(]+(\(.*?\))\s*values\b`)
	notBlind = regexp.MustCompile(`(?i)\bselect\b|\bon\s+conflict\b|\bwith\b`)
)

// opaque reports whether a statement may do more than what it is seen to do when it is executed alone: it runs code of the user's own.
func (c catalog) opaque(sql string, touched sched.Footprint) bool {
	if c.functions != nil && c.functions.MatchString(sql) {
		return true
	}
	return slices.ContainsFunc(c.triggers, func(table string) bool { return writes(touched.Relations[table]) })
}

// blind reports whether a statement is an INSERT that cannot notice other transactions' rows. Nothing is parsed beyond a doubt: when in doubt,
// it is not.
func (c catalog) blind(sql string, touched sched.Footprint) bool {
	parts := insert.FindStringSubmatch(sql)
	if parts == nil || notBlind.MatchString(sql) || c.opaque(sql, touched) {
		return false
	}
	for table, modes := range touched.Relations {
		if !writes(modes) {
			continue
		}
		for _, u := range c.unique[table] {
			if !slices.ContainsFunc(u.own, func(column string) bool {
				return !regexp.MustCompile(`(?i)\b` + regexp.QuoteMeta(column) + `\b`).MatchString(parts[1])
			}) {
				return false
			}
		}
	}
	return true
}

func writes(modes sched.Modes) bool { return modes&^(sched.AccessShare|sched.RowShare) != 0 }
