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
	unique map[string][]unique // by table
	linked map[string][]string // by table: those that foreign keys or partitions lead to from there, and itself; nil: they lead nowhere
	split  []string            // tables that have partitions or are inherited from
	all    sched.Footprint     // everything there is
	code   code
}

// unique is a unique index or an exclusion constraint. Rows that get all their own values from the columns cannot run into each other.
type unique struct{ own []string }

// code is code of the user's own that statements run.
type code struct {
	functions *regexp.Regexp  // their names; nil: there are none
	tables    []string        // of which a use runs some of it: by triggers, defaults, constraints, indexes, policies, or as views
	touches   sched.Footprint // the most that it touches: what its source names
	looks     bool            // it may notice locks without waiting for them
	catches   bool            // it may go on after an error: what it has touched until then, locks do not show
}

// functions are those of the user's own, as far as they are not written in C, for the FROM of a query.
const functions = `pg_proc p join pg_namespace m on m.oid = p.pronamespace join pg_language l on l.oid = p.prolang
	where m.nspname not in ('pg_catalog', 'information_schema') and l.lanname not in ('c', 'internal') and p.prokind <> 'a'`

func readCatalog(ctx context.Context, conn *pgx.Conn) (catalog, error) {
	c := catalog{unique: map[string][]unique{}, linked: map[string][]string{}}
	for _, read := range []func(context.Context, *pgx.Conn) error{c.readConstraints, c.readUnique, c.readTables, c.readCode} {
		if err := read(ctx, conn); err != nil {
			return c, fmt.Errorf("reading the catalog: %w", err)
		}
	}
	return c, nil
}

// query returns the rows of a query.
func query[T any](ctx context.Context, conn *pgx.Conn, to pgx.RowToFunc[T], sql string) ([]T, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, to)
}

func (c *catalog) readConstraints(ctx context.Context, conn *pgx.Conn) (err error) {
	if c.ForeignKeys, err = query(ctx, conn, pgx.RowToStructByPos[sched.ForeignKey], `
		select n.nspname || '.' || t.relname, m.nspname || '.' || f.relname, k.condeferrable
		from pg_constraint k
		join pg_class t on t.oid = k.conrelid join pg_namespace n on n.oid = t.relnamespace
		join pg_class f on f.oid = k.confrelid join pg_namespace m on m.oid = f.relnamespace
		where k.contype = 'f' order by 1, 2, 3`); err != nil {
		return err
	}
	c.DeferredUnique, err = query(ctx, conn, pgx.RowTo[string], `
		select distinct n.nspname || '.' || t.relname
		from pg_constraint k join pg_class t on t.oid = k.conrelid join pg_namespace n on n.oid = t.relnamespace
		where k.contype in ('p', 'u', 'x') and k.condeferrable order by 1`)
	return err
}

func (c *catalog) readUnique(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `
		select n.nspname || '.' || t.relname, array(
			select a.attname::text from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
			where a.attrelid = t.oid and a.attnum = any(i.indkey) and (a.attidentity <> '' or
				pg_get_expr(d.adbin, d.adrelid) ~ '^(nextval|gen_random_uuid|uuid_generate_v[14]|uuidv[47])\('))
		from pg_index i join pg_class t on t.oid = i.indrelid join pg_namespace n on n.oid = t.relnamespace
		where (i.indisunique or i.indisexclusion) and n.nspname !~ '^pg_' order by 1, i.indexrelid`)
	if err != nil {
		return err
	}
	var table string
	var own []string
	_, err = pgx.ForEachRow(rows, []any{&table, &own}, func() error {
		c.unique[table] = append(c.unique[table], unique{slices.Clone(own)})
		return nil
	})
	return err
}

// readTables reads which tables there are, and how one leads to others.
func (c *catalog) readTables(ctx context.Context, conn *pgx.Conn) error {
	tables, err := query(ctx, conn, pgx.RowTo[string], `
		select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind in ('r', 'p', 'm', 'f') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`)
	if err != nil {
		return err
	}
	c.all = sched.Footprint{Relations: map[string]sched.Modes{}, Keys: []string{sched.AnyKey}}
	for _, table := range tables {
		c.all.Relations[table] = sched.AccessShare | sched.RowShare | sched.RowExclusive | sched.AccessExclusive
	}
	type link struct{ From, To string }
	links, err := query(ctx, conn, pgx.RowToStructByPos[link], `
		select n.nspname || '.' || t.relname, m.nspname || '.' || f.relname
		from pg_inherits i
		join pg_class t on t.oid = i.inhrelid join pg_namespace n on n.oid = t.relnamespace
		join pg_class f on f.oid = i.inhparent join pg_namespace m on m.oid = f.relnamespace`)
	for _, l := range links {
		c.split = append(c.split, l.To)
	}
	for _, key := range c.ForeignKeys {
		links = append(links, link{key.Child, key.Parent})
	}
	for _, l := range links {
		joined := slices.Concat([]string{l.From, l.To}, c.linked[l.From], c.linked[l.To])
		slices.Sort(joined)
		for _, table := range joined {
			c.linked[table] = slices.Compact(joined)
		}
	}
	return err
}

// readCode finds out what code of the user's own there is. What it does is told by the words in its source: when in doubt, it does.
func (c *catalog) readCode(ctx context.Context, conn *pgx.Conn) (err error) {
	if c.code.tables, err = query(ctx, conn, pgx.RowTo[string], `
		select distinct n.nspname || '.' || t.relname
		from (
			select tgrelid from pg_trigger where not tgisinternal
			union select coalesce(a.adrelid, k.conrelid, i.indrelid, o.polrelid, r.ev_class)
			from (select p.oid from `+functions+`) f join pg_depend d on d.refclassid = 'pg_proc'::regclass and d.refobjid = f.oid
			left join pg_attrdef a on d.classid = 'pg_attrdef'::regclass and a.oid = d.objid
			left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
			left join pg_index i on d.classid = 'pg_class'::regclass and i.indexrelid = d.objid
			left join pg_policy o on d.classid = 'pg_policy'::regclass and o.oid = d.objid
			left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
		) uses(relid) join pg_class t on t.oid = uses.relid join pg_namespace n on n.oid = t.relnamespace order by 1`); err != nil {
		return err
	}
	type function struct {
		Name, Source string
		Read         bool // its language is one that we can read
	}
	all, err := query(ctx, conn, pgx.RowToStructByPos[function], `
		select p.proname::text, pg_get_functiondef(p.oid), l.lanname in ('sql', 'plpgsql') from `+functions+` order by 1, 2`)
	if err != nil || len(all) == 0 {
		return err
	}
	views, err := query(ctx, conn, pgx.RowTo[string], `
		select pg_get_ruledef(r.oid) from pg_rewrite r join pg_class t on t.oid = r.ev_class join pg_namespace n on n.oid = t.relnamespace
		where n.nspname not in ('pg_catalog', 'information_schema')`)
	if err != nil {
		return err
	}
	source, read := strings.Join(views, "\n"), true
	var names []string
	for _, f := range all {
		names = append(names, regexp.QuoteMeta(f.Name))
		source += "\n" + f.Source
		read = read && f.Read
	}
	c.code.functions = regexp.MustCompile(`(?i)\b(` + strings.Join(names, "|") + `)\b`)
	c.code.looks = !read || looks.MatchString(source)
	c.code.catches = !read || catches.MatchString(source)
	c.code.touches = c.named(source, read)
	return c.readDeferred(ctx, conn)
}

// named returns the most that code can touch whose source it is.
func (c *catalog) named(source string, read bool) sched.Footprint {
	if !read || dynamic.MatchString(source) {
		return c.all
	}
	var most sched.Footprint
	for table, modes := range c.all.Relations {
		_, name, _ := strings.Cut(table, ".")
		if regexp.MustCompile(`(?i)\b` + regexp.QuoteMeta(name) + `\b`).MatchString(source) {
			if !locksTables.MatchString(source) {
				modes &^= sched.AccessExclusive
			}
			most = most.Join(sched.Footprint{Relations: map[string]sched.Modes{table: modes}})
		}
	}
	if advisory.MatchString(source) {
		most.Keys = c.all.Keys
	}
	return most
}

// readDeferred finds the deferred triggers of the user's own: COMMIT touches what they may touch.
func (c *catalog) readDeferred(ctx context.Context, conn *pgx.Conn) error {
	tables, err := query(ctx, conn, pgx.RowTo[string], `
		select distinct n.nspname || '.' || t.relname
		from pg_trigger g join pg_class t on t.oid = g.tgrelid join pg_namespace n on n.oid = t.relnamespace
		where not g.tgisinternal and g.tgdeferrable order by 1`)
	for _, table := range tables {
		c.DeferredTriggers = append(c.DeferredTriggers, sched.DeferredTrigger{Relation: table, Touched: c.code.touches})
	}
	return err
}

var (
	looks       = regexp.MustCompile(`(?i)\bnowait\b|\bskip\s+locked\b|\bdo\s+nothing\b|pg_try_advisory|lock_timeout|^\s*merge\b`)
	advisory    = regexp.MustCompile(`(?i)advisory`)
	catches     = regexp.MustCompile(`(?i)\bexception\s+when\b`)
	dynamic     = regexp.MustCompile(`(?i)\bexecute\b`)
	locksTables = regexp.MustCompile(`(?i)\block\b|\btruncate\b`)
	runs        = regexp.MustCompile(`(?i)^\s*(do|call|execute|set\s+constraints)\b`)
	bare        = regexp.MustCompile(`(?i)\block\b|\bset\b.*\bconstraints\b`)
	insert      = regexp.MustCompile(`(?is)^\s*insert\s+into\s+[^(]+(\(.*?\))\s*values\b`)
	notBlind    = regexp.MustCompile(`(?i)\bselect\b|\bon\s+conflict\b|\bwith\b`)
)

// others returns the tables that a statement which touches so much may touch beside, depending on the rows.
func (c catalog) others(touched sched.Footprint) []string {
	var others []string
	for table, modes := range touched.Relations {
		if writes(modes) {
			others = append(others, c.linked[table]...)
		}
	}
	return others
}

// runsCode reports whether a statement runs code of the user's own.
func (c catalog) runsCode(sql string, touched sched.Footprint) bool {
	if c.code.functions != nil && c.code.functions.MatchString(sql) {
		return true
	}
	used := c.others(touched)
	for table := range touched.Relations {
		used = append(used, table)
	}
	return slices.ContainsFunc(c.code.tables, func(table string) bool { return slices.Contains(used, table) })
}

// blind reports whether a statement is an INSERT that cannot notice other transactions' rows. Nothing is parsed beyond a doubt: when in doubt,
// it is not.
func (c catalog) blind(sql string, touched sched.Footprint) bool {
	parts := insert.FindStringSubmatch(sql)
	if parts == nil || notBlind.MatchString(sql) || c.runsCode(sql, touched) {
		return false
	}
	for table, modes := range touched.Relations {
		if !writes(modes) {
			continue
		}
		if slices.Contains(c.split, table) {
			return false // indexes of partitions are their own
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
