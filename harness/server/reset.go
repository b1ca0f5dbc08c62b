package server

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// truncateEvery is how often a reset truncates where it could delete, so that dead rows do not pile up: autovacuum is off.
const truncateEvery = 100

// resetPlan holds the statements that put a database back to the state of its template, each one message.
type resetPlan struct {
	byDelete, byTruncate string
	tables               []table
	sequences            []string
}

func (p resetPlan) sql(nth int) string {
	if p.byDelete == "" || nth%truncateEvery == 0 {
		return p.byTruncate
	}
	return p.byDelete
}

// savedSchema holds copies of the rows that the migrations themselves brought, as the ledger of the migrations, for resets to restore.
const savedSchema = "interlock_saved"

type table struct {
	name     string   // quoted, with its schema
	columns  string   // quoted and joined, those that can be written
	literals string   // expressions that make literals of the columns, joined
	parents  []string // names of the tables that its foreign keys refer to
	saved    string   // where its rows are kept; empty: it had none
}

// planReset reads the catalog of the template. A superuser deletes without firing triggers, which is fastest; anybody else truncates.
func planReset(ctx context.Context, conn *pgx.Conn, superuser bool) (resetPlan, error) {
	if _, err := conn.Exec(ctx, `drop schema if exists `+savedSchema+` cascade`); err != nil { // which a copy of a database of ours has
		return resetPlan{}, fmt.Errorf("dropping the rows that were saved before: %w", err)
	}
	tables, err := listTables(ctx, conn)
	if err != nil {
		return resetPlan{}, fmt.Errorf("listing tables: %w", err)
	}
	for i := range tables {
		t := &tables[i]
		var some bool
		if err := conn.QueryRow(ctx, `select exists (select from only `+t.name+`)`).Scan(&some); err != nil {
			return resetPlan{}, fmt.Errorf("looking into %s: %w", t.name, err)
		}
		if !some {
			continue
		}
		t.saved = fmt.Sprintf("%s.t%d", savedSchema, i)
		if _, err := conn.Exec(ctx, `create schema if not exists `+savedSchema+`; create table `+t.saved+` as select `+t.columns+` from only `+t.name,
			pgx.QueryExecModeSimpleProtocol); err != nil {
			return resetPlan{}, fmt.Errorf("saving the rows of %s: %w", t.name, err)
		}
	}
	sequences, err := restoreSequences(ctx, conn)
	if err != nil {
		return resetPlan{}, fmt.Errorf("listing sequences: %w", err)
	}

	off, on, err := listTriggers(ctx, conn, superuser)
	if err != nil {
		return resetPlan{}, fmt.Errorf("listing triggers: %w", err)
	}

	var names, deletes, refills []string
	for _, t := range parentsFirst(tables) {
		names = append(names, t.name)
		deletes = append([]string{`delete from only ` + t.name}, deletes...)
		if t.saved != "" {
			refills = append(refills, fmt.Sprintf(`insert into %s (%s) overriding system value select %s from %s`, t.name, t.columns, t.columns, t.saved))
		}
	}
	var truncate []string
	if len(names) > 0 {
		truncate = []string{`truncate ` + strings.Join(names, ", ")}
	}
	plan := resetPlan{tables: tables, sequences: sequences}
	if superuser {
		off, on = append(off, "set session_replication_role = replica"), append(on, "set session_replication_role = origin")
		plan.byDelete = strings.Join(slices.Concat(off, deletes, refills, sequences, on), ";\n")
	}
	plan.byTruncate = strings.Join(slices.Concat(off, truncate, refills, sequences, on), ";\n")
	return plan, nil
}

// listTriggers returns statements that turn off those triggers which a reset would fire otherwise, and statements that turn them on again as they were: a
// superuser's fires none but those that fire in a replica, and anybody else's all others, of which only those on the role's own tables can be turned off.
func listTriggers(ctx context.Context, conn *pgx.Conn, superuser bool) (off, on []string, err error) {
	fires := []string{"O", "A"}
	if superuser {
		fires = []string{"R", "A"}
	}
	rows, err := conn.Query(ctx, `
		select format('alter table only %I.%I ', n.nspname, c.relname) as alter,
			case t.tgenabled when 'A' then 'enable always' when 'R' then 'enable replica' else 'enable' end as enable, quote_ident(t.tgname)
		from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
		where not t.tgisinternal and t.tgenabled::text = any ($1) and c.relkind = 'r' and pg_has_role(c.relowner, 'usage')
		order by n.nspname, c.relname, t.tgname`, fires)
	if err != nil {
		return nil, nil, err
	}
	var alter, enable, name string
	_, err = pgx.ForEachRow(rows, []any{&alter, &enable, &name}, func() error {
		off, on = append(off, alter+"disable trigger "+name), append(on, alter+enable+" trigger "+name)
		return nil
	})
	return off, on, err
}

// listTables returns the tables that hold rows of their own, in a fixed order.
func listTables(ctx context.Context, conn *pgx.Conn) ([]table, error) {
	rows, err := conn.Query(ctx, `
		select format('%I.%I', n.nspname, c.relname),
			coalesce((select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a
				where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''), ''),
			coalesce((select string_agg(format('quote_nullable(%I)', a.attname), ', ' order by a.attnum) from pg_attribute a
				where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''), ''),
			array(select distinct format('%I.%I', pn.nspname, p.relname) from pg_constraint k
				join pg_class p on p.oid = k.confrelid join pg_namespace pn on pn.oid = p.relnamespace
				where k.conrelid = c.oid and k.contype = 'f' and k.confrelid <> c.oid order by 1)
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind = 'r' and c.relpersistence <> 't' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
			and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
		order by 1`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (t table, err error) {
		return t, row.Scan(&t.name, &t.columns, &t.literals, &t.parents)
	})
}

// restoreSequences returns a statement that sets every sequence to where it is now; none when there are no sequences.
func restoreSequences(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	rows, err := conn.Query(ctx, `select format('%I.%I', schemaname, sequencename) from pg_sequences order by 1`)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	var calls []string
	for _, name := range names {
		var call string
		err := conn.QueryRow(ctx, `select format('setval(%L, %s, %L)', $1::text, last_value, is_called) from `+name, name).Scan(&call)
		if err != nil {
			return nil, err
		}
		calls = append(calls, call)
	}
	if len(calls) == 0 {
		return nil, nil
	}
	return []string{`select ` + strings.Join(calls, ", ")}, nil
}

// parentsFirst orders tables so that each comes after those it refers to; a circle of references is cut where it is met.
func parentsFirst(tables []table) []table {
	byName := map[string]table{}
	for _, t := range tables {
		byName[t.name] = t
	}
	var ordered []table
	seen := map[string]bool{}
	var visit func(t table)
	visit = func(t table) {
		if seen[t.name] {
			return
		}
		seen[t.name] = true
		for _, parent := range t.parents {
			if p, ok := byName[parent]; ok {
				visit(p)
			}
		}
		ordered = append(ordered, t)
	}
	for _, t := range tables {
		visit(t)
	}
	return ordered
}
