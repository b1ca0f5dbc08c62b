package traffic

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// table is a table that clients use, as a statement of theirs needs to know it.
type table struct {
	oid     uint32
	name    string   // quoted where it must be, with its schema
	key     []string // the columns of its primary key, quoted; empty: it has none
	columns []string // quoted
	written string   // the column that is set to itself; empty: there is none that can be
	parent  uint32   // that it is a partition or a child of; zero: none
	keys    [][][]byte
}

// The query reads tables, with the columns of their keys. A column that is in no key and no index is the best to write: nothing else changes.
const tablesSQL = `
	select c.oid, format('%I.%I', n.nspname, c.relname),
		array(select quote_ident(a.attname) from pg_index i, unnest(i.indkey) with ordinality k(attnum, n), pg_attribute a
			where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid and a.attnum = k.attnum order by k.n),
		array(select quote_ident(a.attname) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum),
		coalesce((select quote_ident(a.attname) from pg_attribute a
			where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity <> 'a'
			order by (select count(*) from pg_index i where i.indrelid = c.oid and a.attnum = any(i.indkey)),
				exists (select from pg_constraint k where k.conrelid = c.oid and a.attnum = any(k.conkey)), a.attnum limit 1), ''),
		coalesce((select h.inhparent from pg_inherits h where h.inhrelid = c.oid order by h.inhseqno limit 1), 0::oid)
	from pg_class c join pg_namespace n on n.oid = c.relnamespace
	where c.relkind in ('r', 'p') and c.relpersistence <> 't' and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'interlock_saved')
		and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e')`

func readTables(ctx context.Context, conn *pgx.Conn, where string, args ...any) ([]table, error) {
	rows, err := conn.Query(ctx, tablesSQL+where+` order by 2`, args...)
	if err != nil {
		return nil, fmt.Errorf("reading the catalog: %w", err)
	}
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t table, err error) {
		return t, row.Scan(&t.oid, &t.name, &t.key, &t.columns, &t.written, &t.parent)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the catalog: %w", err)
	}
	return tables, nil
}

// namedTables returns the tables that are named, or all if none is.
func namedTables(ctx context.Context, conn *pgx.Conn, names []string) ([]table, error) {
	if len(names) == 0 {
		return readTables(ctx, conn, ``)
	}
	return readTables(ctx, conn, ` and format('%I.%I', n.nspname, c.relname) = any($1)`, names)
}

// driven returns those of the tables that clients use, each with keys of n rows at most. What a parent that is used covers is left out, and so is
// what has no columns. A table without a primary key is only read.
func driven(ctx context.Context, conn *pgx.Conn, tables []table, n int) (used []table, err error) {
	parents := map[uint32]bool{}
	for _, t := range tables {
		parents[t.oid] = true
	}
	for _, t := range tables {
		if parents[t.parent] || len(t.columns) == 0 {
			continue
		}
		if len(t.key) > 0 {
			text := make([]string, len(t.key))
			for i, column := range t.key {
				text[i] = column + "::text"
			}
			rows, err := conn.Query(ctx, fmt.Sprintf(`select array[%s] from %s order by %s limit %d`,
				strings.Join(text, ", "), t.name, strings.Join(t.key, ", "), n))
			if err != nil {
				return nil, fmt.Errorf("reading keys of %s: %w", t.name, err)
			}
			t.keys, err = pgx.CollectRows(rows, pgx.RowTo[[][]byte])
			if err != nil {
				return nil, fmt.Errorf("reading keys of %s: %w", t.name, err)
			}
		}
		used = append(used, t)
	}
	return used, nil
}

// keyed reports whether there are rows to read by key.
func (t table) keyed() bool { return len(t.keys) > 0 }

// read returns the statement that reads a row: the one with a key, or any.
func (t table) read() string {
	from := `select ` + strings.Join(t.columns, ", ") + ` from ` + t.name
	if !t.keyed() {
		return from + ` limit 1`
	}
	return from + t.byKey()
}

// write returns the statement that sets a column of the row with a key to what it is; empty if there is no such.
func (t table) write() string {
	if !t.keyed() || t.written == "" {
		return ""
	}
	return `update ` + t.name + ` set ` + t.written + ` = ` + t.written + t.byKey()
}

func (t table) byKey() string {
	terms := make([]string, len(t.key))
	for i, column := range t.key {
		terms[i] = fmt.Sprintf(`%s = $%d`, column, i+1)
	}
	return ` where ` + strings.Join(terms, " and ")
}

// again reads what has become of the table, whatever it is called now. False: there is nothing left to read.
func (t table) again(ctx context.Context, conn *pgx.Conn) (table, bool, error) {
	found, err := readTables(ctx, conn, ` and c.oid = $1`, t.oid)
	if err != nil || len(found) == 0 || len(found[0].columns) == 0 {
		return t, false, err
	}
	now := found[0]
	if len(now.key) == len(t.key) {
		now.keys = t.keys
	}
	return now, true, nil
}
