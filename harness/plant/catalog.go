package plant

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Added returns the constraints that the database after has and the one before has not, on tables that both have. One that is renamed is not new;
// one that is validated is. What reads columns that are new is passed over, unless the database computes them from others.
func Added(ctx context.Context, before, after *pgx.Conn) ([]Constraint, error) {
	was, err := read(ctx, before)
	if err != nil {
		return nil, err
	}
	is, err := read(ctx, after)
	if err != nil {
		return nil, err
	}
	known := map[string]Constraint{} // by rule
	for _, c := range was.constraints {
		if !known[c.rule()].Validated {
			known[c.rule()] = c
		}
	}
	var added []Constraint
	for _, c := range is.constraints {
		old, there := known[c.rule()]
		if there && (old.Validated || !c.Validated) {
			continue
		}
		if there && c.Kind != NotNull {
			c.standing = &old
		}
		if c, can := is.onto(was, c); can {
			added = append(added, c)
		}
	}
	return added, nil
}

// snapshot is what a catalog says of tables and constraints.
type snapshot struct {
	tables      map[string]*table
	constraints []Constraint
}

type table struct {
	id      []string
	columns map[string]string // what the database computes them from; empty: nothing
}

// onto says a constraint of s in terms of an earlier state, and whether that can be done.
func (s snapshot) onto(was snapshot, c Constraint) (Constraint, bool) {
	old, now := was.tables[c.Table], s.tables[c.Table]
	if old == nil || now == nil {
		return c, false
	}
	if c.Kind == ForeignKey {
		parent := was.tables[c.Parent]
		if parent == nil {
			return c, false
		}
		for _, k := range c.ParentKey {
			if _, there := parent.columns[k]; !there {
				return c, false
			}
		}
	}
	var reads []string
	c.Keys = slices.Clone(c.Keys)
	for _, name := range c.Reads {
		if _, there := old.columns[name]; there {
			reads = append(reads, name)
			continue
		}
		computed := now.columns[name]
		i := slices.IndexFunc(c.Keys, func(k Key) bool { return k.SQL == name })
		if computed == "" || i < 0 || c.Kind == Check || c.Kind == ForeignKey || mentions(c.Where, name) {
			return c, false
		}
		for j, k := range c.Keys {
			if j != i && mentions(k.SQL, name) {
				return c, false
			}
		}
		c.Keys[i].SQL = "(" + computed + ")"
		for other := range now.columns {
			if !mentions(computed, other) {
				continue
			}
			if _, there := old.columns[other]; !there {
				return c, false
			}
			reads = append(reads, other)
		}
	}
	c.Reads, c.ID = nil, old.id
	for _, name := range reads {
		if !slices.Contains(c.Reads, name) {
			c.Reads = append(c.Reads, name)
		}
	}
	return c, true
}

// read takes a snapshot in a read only transaction.
func read(ctx context.Context, conn *pgx.Conn) (snapshot, error) {
	s := snapshot{tables: map[string]*table{}}
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// Expressions then name every schema, and dates in them read the same everywhere.
		if _, err := tx.Exec(ctx, `set local search_path = pg_catalog; set local datestyle = 'ISO'; set local intervalstyle = 'postgres';
			set local timezone = 'UTC'; set local quote_all_identifiers = off`, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		if err := s.readTables(ctx, tx); err != nil {
			return err
		}
		for _, sql := range []string{indexes, notNulls, others} {
			if err := s.readConstraints(ctx, tx, sql); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("reading the constraints of %s: %w", conn.Config().Database, err)
	}
	return s, nil
}

// own are the tables of the user's, as n and t.
const own = ` t.relkind in ('r', 'p') and t.relpersistence <> 't' and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'interlock_saved')
	and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = t.oid and e.deptype = 'e') `

func (s snapshot) readTables(ctx context.Context, tx pgx.Tx) error {
	var name string
	var id, columns, computed []string
	rows, err := tx.Query(ctx, `
		select format('%I.%I', n.nspname, t.relname),
			coalesce((select array_agg(quote_ident(a.attname) order by array_position(i.indkey::int2[], a.attnum))
				from pg_index i join pg_attribute a on a.attrelid = t.oid and a.attnum = any (i.indkey[0:i.indnkeyatts - 1])
				where i.indrelid = t.oid and i.indisprimary and i.indisvalid),
				case when t.relkind = 'p' or t.relhassubclass then array['tableoid::regclass', 'ctid'] else array['ctid'] end),
			array_agg(quote_ident(a.attname) order by a.attnum),
			array_agg(case when a.attgenerated <> '' then pg_get_expr(d.adbin, d.adrelid) else '' end order by a.attnum)
		from pg_class t join pg_namespace n on n.oid = t.relnamespace
		join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
		left join pg_attrdef d on d.adrelid = t.oid and d.adnum = a.attnum
		where `+own+` group by n.nspname, t.oid, t.relname, t.relkind, t.relhassubclass`)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, []any{&name, &id, &columns, &computed}, func() error {
		t := &table{id: slices.Clone(id), columns: map[string]string{}}
		for i, c := range columns {
			t.columns[c] = computed[i]
		}
		s.tables[name] = t
		return nil
	})
	return err
}

// The queries have the columns of readConstraints. What only newer servers have is read through to_jsonb.
const (
	// Equality is the same under all collations that are deterministic, so only the others are named.
	indexes = `
		select case when i.indisexclusion then 'exclusion' else 'unique' end, format('%I.%I', n.nspname, x.relname), format('%I.%I', n.nspname, t.relname),
			case when k.oid is null then pg_get_indexdef(x.oid) else pg_get_constraintdef(k.oid) end, true,
			array(select pg_get_indexdef(x.oid, nth, false) || coalesce((select ' COLLATE ' || l.oid::regcollation
				from pg_collation l left join pg_attribute a on a.attrelid = t.oid and a.attnum = i.indkey[nth - 1] and a.attnum > 0
				left join pg_collation m on m.oid = a.attcollation
				where l.oid = i.indcollation[nth - 1] and l.oid is distinct from m.oid and not (l.collisdeterministic and coalesce(m.collisdeterministic, true))), '')
				from generate_series(1, i.indnkeyatts) nth order by nth),
			array(select quote_ident(a.attname) from pg_attribute a where a.attrelid = x.oid and a.attnum <= i.indnkeyatts order by a.attnum),
			array(select case when o.oprnamespace = 'pg_catalog'::regnamespace then o.oprname else format('OPERATOR(%s.%s)', o.oprnamespace::regnamespace, o.oprname) end
				from unnest(k.conexclop) with ordinality u (op, nth) join pg_operator o on o.oid = u.op order by nth),
			coalesce(pg_get_expr(i.indpred, i.indrelid), ''), coalesce((to_jsonb(i)->>'indnullsnotdistinct')::bool, false),
			'', '{}'::text[], false,
			array(select quote_ident(a.attname) from pg_attribute a where a.attrelid = t.oid and a.attnum > 0 and (a.attnum = any (i.indkey[0:i.indnkeyatts - 1])
				or exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = x.oid and d.refclassid = 'pg_class'::regclass
					and d.refobjid = t.oid and d.refobjsubid = a.attnum
					and not a.attnum = any (i.indkey[i.indnkeyatts:i.indnatts]))) order by a.attnum),
			t.relkind = 'r' and t.relhassubclass, false, false
		from pg_index i join pg_class x on x.oid = i.indexrelid join pg_class t on t.oid = i.indrelid join pg_namespace n on n.oid = t.relnamespace
		left join pg_constraint k on k.conindid = x.oid and k.conrelid = t.oid and k.contype in ('p', 'u', 'x')
		where (i.indisunique or i.indisexclusion) and i.indisvalid and not x.relispartition and` + own + `order by 3, 2`

	notNulls = `
		select 'not null', quote_ident(a.attname), format('%I.%I', n.nspname, t.relname), format('ALTER COLUMN %I SET NOT NULL', a.attname),
			not exists (select from pg_constraint k where k.conrelid = t.oid and k.contype = 'n' and k.conkey = array[a.attnum] and not k.convalidated),
			array[quote_ident(a.attname)], array[quote_ident(a.attname)], '{}'::text[], '', false, '', '{}'::text[], false,
			array[quote_ident(a.attname)], false, false, false
		from pg_attribute a join pg_class t on t.oid = a.attrelid join pg_namespace n on n.oid = t.relnamespace
		where a.attnotnull and a.attnum > 0 and not a.attisdropped and not exists (select from pg_inherits h
			join pg_attribute p on p.attrelid = h.inhparent and p.attname = a.attname and p.attnotnull where h.inhrelid = t.oid) and` + own + `order by 3, a.attnum`

	others = `
		select case k.contype when 'c' then 'check' else 'foreign key' end, quote_ident(k.conname), format('%I.%I', n.nspname, t.relname),
			pg_get_constraintdef(k.oid), k.convalidated, c.names, c.names,
			array(select case when o.oprnamespace = 'pg_catalog'::regnamespace then o.oprname else format('OPERATOR(%s.%s)', o.oprnamespace::regnamespace, o.oprname) end
				from unnest(k.conpfeqop) with ordinality u (op, nth) join pg_operator o on o.oid = u.op order by nth),
			coalesce(pg_get_expr(k.conbin, k.conrelid), ''), false,
			coalesce((select format('%I.%I', m.nspname, p.relname) from pg_class p join pg_namespace m on m.oid = p.relnamespace where p.oid = k.confrelid), ''),
			array(select quote_ident(a.attname) from unnest(k.confkey) with ordinality u (num, nth)
				join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.num order by nth), k.confmatchtype = 'f', c.names,
			t.relkind = 'r' and t.relhassubclass and (k.contype = 'f' or k.connoinherit),
			exists (select from pg_class p where p.oid = k.confrelid and p.relkind = 'r' and p.relhassubclass),
			coalesce((to_jsonb(k)->>'conperiod')::bool, false)
		from pg_constraint k join pg_class t on t.oid = k.conrelid join pg_namespace n on n.oid = t.relnamespace,
		lateral (select array(select quote_ident(a.attname) from unnest(k.conkey) with ordinality u (num, nth)
			join pg_attribute a on a.attrelid = t.oid and a.attnum = u.num order by nth) as names) c
		where k.contype in ('c', 'f') and k.conparentid = 0 and k.coninhcount = 0 and` + own + `order by 3, 2`
)

func (s *snapshot) readConstraints(ctx context.Context, tx pgx.Tx, sql string) error {
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Constraint, error) {
		var c Constraint
		var keys, names, operators []string
		err := row.Scan(&c.Kind, &c.Name, &c.Table, &c.Definition, &c.Validated, &keys, &names, &operators, &c.Where, &c.NullsNotDistinct,
			&c.Parent, &c.ParentKey, &c.MatchFull, &c.Reads, &c.only, &c.parentOnly, &c.period)
		for i := range keys {
			k := Key{SQL: keys[i], Name: names[i]}
			if i < len(operators) {
				k.Operator = operators[i]
			}
			c.Keys = append(c.Keys, k)
		}
		return c, err
	})
	s.constraints = append(s.constraints, found...)
	return err
}

var literal = regexp.MustCompile(`'(?:[^']|'')*'`)

// mentions reports whether an expression uses a column. It may be wrong for a name that is something else too.
func mentions(expr, column string) bool {
	expr = literal.ReplaceAllString(expr, "''")
	if strings.HasPrefix(column, `"`) {
		return strings.Contains(expr, column)
	}
	return regexp.MustCompile(`(^|[^\w".])` + regexp.QuoteMeta(column) + `($|[^\w"(])`).MatchString(expr)
}
