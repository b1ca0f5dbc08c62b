package populate

import (
	"context"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"
)

// table is a table to fill. All names are quoted.
type table struct {
	oid        uint32
	name       string
	rows       string // where its rows are read: not those of tables that inherit from it
	columns    []*column
	checks     []check
	uniques    []unique
	references []*reference

	wanted  int
	refused map[string]int // generated rows that were refused, by what refused them
	tried   int
	notes   []string
}

type column struct {
	name    string
	num     int16
	kind    *kind
	base    string // the type that its values are made of, with its modifiers: a domain's base
	notNull bool
	// given is set for identity columns and those that draw from a sequence: the database fills them.
	given     bool
	sequence  string
	generated string  // the expression that the database computes
	checks    []check // of its domains, over VALUE
}

// check is a condition that is not false for any row.
type check struct{ name, expr string }

// unique is a unique index or an exclusion constraint.
type unique struct {
	name      string
	text      string  // columns and expressions
	columns   []int16 // plain ones
	partial   bool
	exclusion bool
}

type reference struct {
	name       string // of the constraint, with its schema
	child      *table
	columns    []*column
	parent     uint32
	parentName string
	parentKey  []string // columns of the parent
	deferrable bool
	later      bool // filled after all tables are
}

// kind is a type, without modifiers.
type kind struct {
	oid        uint32
	name       string // as SQL
	short      string // in the catalog
	class      string // typtype
	array      bool
	element    uint32
	base       uint32 // of a domain
	baseName   string // with modifiers
	mod        int32
	notNull    bool
	labels     []string
	ranges     uint32 // what a multirange has
	attributes []uint32
	checks     []check
}

const own = `(n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'interlock_saved'))`

func (f *filler) read(ctx context.Context) error {
	for _, read := range []func(context.Context) error{f.readTypes, f.readTables, f.readColumns, f.readChecks, f.readUniques, f.readReferences} {
		if err := read(ctx); err != nil {
			return err
		}
	}
	return nil
}

// each runs a query and calls do after each row is in into.
func (f *filler) each(ctx context.Context, sql string, into []any, do func()) error {
	rows, err := f.db.tx.Query(ctx, sql)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, into, func() error { do(); return nil })
	return err
}

func (f *filler) readTypes(ctx context.Context) error {
	f.types = map[uint32]*kind{}
	var k kind
	if err := f.each(ctx, `
		select t.oid, format_type(t.oid, null), t.typname::text, t.typtype::text, t.typelem <> 0 and t.typlen = -1 and t.typcategory = 'A', t.typelem,
			t.typbasetype, format_type(t.typbasetype, t.typtypmod), t.typtypmod, t.typnotnull,
			array(select enumlabel::text from pg_enum where enumtypid = t.oid order by enumsortorder),
			coalesce((select coalesce(nullif(r.rngtypid, t.oid), r.rngsubtype) from pg_range r
				where r.rngtypid = t.oid or (to_jsonb(r)->>'rngmultitypid')::oid = t.oid), 0),
			array(select atttypid from pg_attribute where attrelid = t.typrelid and attnum > 0 and not attisdropped and t.typtype = 'c' order by attnum)
		from pg_type t where t.typtype <> 'p'`,
		[]any{
			&k.oid, &k.name, &k.short, &k.class, &k.array, &k.element, &k.base, &k.baseName, &k.mod, &k.notNull, &k.labels, &k.ranges,
			&k.attributes,
		}, func() {
			one := k
			one.labels, one.attributes = slices.Clone(k.labels), slices.Clone(k.attributes)
			f.types[k.oid] = &one
		}); err != nil {
		return err
	}
	var oid uint32
	var c check
	return f.each(ctx, `
		select contypid, format('CHECK %I of domain %s', conname, contypid::regtype), pg_get_expr(conbin, 0) from pg_constraint
		where contypid <> 0 and contype = 'c' order by 2`, []any{&oid, &c.name, &c.expr}, func() { f.types[oid].checks = append(f.types[oid].checks, c) })
}

func (f *filler) readTables(ctx context.Context) error {
	var t table
	return f.each(ctx, `
		select c.oid, format('%I.%I', n.nspname, c.relname), case when c.relkind = 'r' then 'only ' else '' end || format('%I.%I', n.nspname, c.relname)
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence <> 't' and `+own+`
			and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
		order by 2`, []any{&t.oid, &t.name, &t.rows}, func() {
		f.tables = append(f.tables, &table{oid: t.oid, name: t.name, rows: t.rows, refused: map[string]int{}})
	})
}

func (f *filler) table(oid uint32) *table {
	for _, t := range f.tables {
		if t.oid == oid {
			return t
		}
	}
	return nil
}

func (t *table) column(num int16) *column {
	for _, c := range t.columns {
		if c.num == num {
			return c
		}
	}
	return nil
}

func (f *filler) readColumns(ctx context.Context) error {
	var oid, kind uint32
	var c column
	return f.each(ctx, `
		select a.attrelid, quote_ident(a.attname), a.attnum, a.atttypid, format_type(a.atttypid, a.atttypmod), a.attnotnull,
			a.attidentity <> '' or coalesce(a.attgenerated = '' and pg_get_expr(d.adbin, d.adrelid) ~ '\mnextval\(', false),
			coalesce(pg_get_serial_sequence(format('%I.%I', n.nspname, r.relname), a.attname), ''),
			case when a.attgenerated <> '' then pg_get_expr(d.adbin, d.adrelid) else '' end
		from pg_attribute a join pg_class r on r.oid = a.attrelid join pg_namespace n on n.oid = r.relnamespace
		left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
		where a.attnum > 0 and not a.attisdropped and r.relkind in ('r', 'p') and `+own+` order by a.attrelid, a.attnum`,
		[]any{&oid, &c.name, &c.num, &kind, &c.base, &c.notNull, &c.given, &c.sequence, &c.generated}, func() {
			t := f.table(oid)
			if t == nil {
				return
			}
			one := c
			for one.kind = f.types[kind]; one.kind.class == "d"; one.kind = f.types[one.kind.base] {
				one.base = one.kind.baseName
				one.notNull = one.notNull || one.kind.notNull
				one.checks = append(one.checks, one.kind.checks...)
			}
			t.columns = append(t.columns, &one)
		})
}

// readChecks reads CHECK constraints, and what the partitions of a table can hold.
func (f *filler) readChecks(ctx context.Context) error {
	var oid uint32
	var c check
	return f.each(ctx, `
		select conrelid, format('CHECK %I', conname), pg_get_expr(conbin, conrelid) from pg_constraint where contype = 'c' and conrelid <> 0
		union all
		select p.oid, 'its partitions', (select string_agg('(' || pg_get_partition_constraintdef(relid) || ')', ' or ')
			from pg_partition_tree(p.oid) where isleaf and relid <> p.oid)
		from pg_class p where p.relkind = 'p' and not p.relispartition
			and exists (select from pg_partition_tree(p.oid) where isleaf and relid <> p.oid and pg_get_partition_constraintdef(relid) is not null)
		order by 1, 2`, []any{&oid, &c.name, &c.expr}, func() {
		if t := f.table(oid); t != nil {
			t.checks = append(t.checks, c)
		}
	})
}

func (f *filler) readUniques(ctx context.Context) error {
	var oid uint32
	var u unique
	return f.each(ctx, `
		select i.indrelid, quote_ident(x.relname), (select string_agg(pg_get_indexdef(i.indexrelid, k, false), ', ') from generate_series(1, i.indnkeyatts) k),
			(i.indkey::int2[])[0:i.indnkeyatts - 1], i.indpred is not null, i.indisexclusion
		from pg_index i join pg_class x on x.oid = i.indexrelid
		where (i.indisunique or i.indisexclusion) and i.indislive order by i.indrelid, i.indisprimary desc, 2`,
		[]any{&oid, &u.name, &u.text, &u.columns, &u.partial, &u.exclusion}, func() {
			if t := f.table(oid); t != nil {
				one := u
				one.columns = slices.Clone(u.columns)
				t.uniques = append(t.uniques, one)
			}
		})
}

func (f *filler) readReferences(ctx context.Context) error {
	var oid uint32
	var r reference
	var columns []int16
	return f.each(ctx, `
		select k.conrelid, format('%I.%I', n.nspname, k.conname), k.conkey, k.confrelid, format('%I.%I', m.nspname, p.relname),
			array(select quote_ident(a.attname) from unnest(k.confkey) with ordinality u(num, nth)
				join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.num order by nth), k.condeferrable
		from pg_constraint k join pg_namespace n on n.oid = k.connamespace
		join pg_class p on p.oid = k.confrelid join pg_namespace m on m.oid = p.relnamespace
		where k.contype = 'f' and k.conparentid = 0 order by k.conrelid, array_length(k.conkey, 1) desc, k.conname`,
		[]any{&oid, &r.name, &columns, &r.parent, &r.parentName, &r.parentKey, &r.deferrable}, func() {
			t := f.table(oid)
			if t == nil {
				return
			}
			one := r
			one.child, one.parentKey = t, slices.Clone(r.parentKey)
			for _, num := range columns {
				one.columns = append(one.columns, t.column(num))
			}
			t.references = append(t.references, &one)
		})
}

// uses reports whether an expression uses a column, itself or through a generated one.
func (t *table) uses(expr string, c *column) bool {
	return mentions(expr, c.name) || slices.ContainsFunc(t.columns, func(g *column) bool {
		return g.generated != "" && mentions(expr, g.name) && mentions(g.generated, c.name)
	})
}

var literal = regexp.MustCompile(`'(?:[^']|'')*'`)

// mentions reports whether an expression uses a column.
func mentions(expr, column string) bool {
	expr = literal.ReplaceAllString(expr, "''")
	return regexp.MustCompile(`(^|[^\w".])` + regexp.QuoteMeta(column) + `($|[^\w"(])`).MatchString(expr)
}
