package populate

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// order returns the tables so that each comes after those it refers to. Where they refer to each other in a circle, references that may be NULL, or
// else those that may be checked later, are postponed: they are filled when all tables are.
func (f *filler) order() []*table {
	var ordered []*table
	pending := slices.Clone(f.tables)
	missing := func(t *table) (refs []*reference) {
		for _, r := range t.references {
			if parent := f.table(r.parent); parent != t && slices.Contains(pending, parent) {
				refs = append(refs, r)
			}
		}
		return refs
	}
	for len(pending) > 0 {
		next, ease := 0, 4
		for i, t := range pending {
			hard := 0
			for _, r := range missing(t) {
				switch {
				case r.nullable():
					hard = max(hard, 1)
				case r.deferrable:
					hard = max(hard, 2)
				default:
					hard = 3
				}
			}
			if hard < ease {
				next, ease = i, hard
			}
		}
		t := pending[next]
		for _, r := range missing(t) {
			r.later = true
		}
		for _, r := range t.references {
			if r.parent == t.oid && r.nullable() {
				r.later = true
			}
			if r.later {
				f.postponed = append(f.postponed, r)
			}
		}
		ordered = append(ordered, t)
		pending = slices.Delete(pending, next, next+1)
	}
	return ordered
}

// nullable reports whether a row may refer to nothing.
func (r *reference) nullable() bool {
	return slices.ContainsFunc(r.columns, func(c *column) bool { return !c.notNull })
}

// keysOf makes a table of what a reference can refer to. Within rows that agree in the shared columns of the key, interlock_i counts from 0.
func (f *filler) keysOf(ctx context.Context, r *reference, shared []string) (source, error) {
	id := fmt.Sprint(r.parent, r.parentKey, shared)
	if s, known := f.keys[id]; known {
		return s, nil
	}
	f.temporary++
	s := source{table: fmt.Sprintf("pg_temp.interlock_keys_%d", f.temporary)}
	key := strings.Join(r.parentKey, ", ")
	part := ""
	if len(shared) > 0 {
		part = "partition by " + strings.Join(shared, ", ") + " "
	}
	count, err := f.db.try(ctx, fmt.Sprintf("create temp table %s on commit drop as select row_number() over (%sorder by %s) - 1 as interlock_i, %s from %s where (%s) is not null",
		strings.TrimPrefix(s.table, "pg_temp."), part, key, key, r.parentName, key))
	if err != nil {
		return s, err
	}
	s.count = count
	if r.later {
		return s, nil // the parent may still get rows
	}
	f.keys[id] = s
	return s, nil
}

// connect fills a postponed reference: nine rows in ten where it may be NULL.
func (f *filler) connect(ctx context.Context, r *reference) error {
	t := r.child
	if t.wanted == 0 {
		return nil
	}
	s, err := f.keysOf(ctx, r, nil)
	if err != nil {
		return err
	}
	if s.count == 0 {
		t.notes = append(t.notes, fmt.Sprintf("%s refers to %s, which has no rows", r.name, r.parentName))
		return f.settle(ctx, r)
	}
	random := f.draws("reference", r.name)
	index, where := random.below(int64(s.count)), "true"
	names := make([]string, len(r.columns))
	for i, c := range r.columns {
		names[i] = c.name
		if t.alone(c) {
			index = fmt.Sprintf("(n - 1) %% %d", s.count)
			where = fmt.Sprintf("c.n <= %d", s.count)
		}
		if i := slices.IndexFunc(t.references, func(o *reference) bool { return o != r && !o.later && slices.Contains(o.columns, c) }); i >= 0 {
			where += fmt.Sprintf(" and x.%s = k.%s", c.name, r.parentKey[slices.Index(r.columns, c)])
		}
	}
	if r.nullable() {
		random.number = "c.n"
		where += " and " + random.below(10) + " > 0"
	}
	from := fmt.Sprintf(`(select n, part, place, %s as pick from (select row_number() over (order by tableoid, ctid) as n, tableoid as part, ctid as place from %s) x) c
		join %s k on k.interlock_i = c.pick join %s x on x.tableoid = c.part and x.ctid = c.place where %s`, index, t.rows, s.table, t.rows, where)
	var keys, values []string
	for i, name := range r.parentKey {
		keys = append(keys, fmt.Sprintf("k.%s as key_%d", name, i))
		values = append(values, fmt.Sprintf("key_%d", i))
	}
	update := func(values []string, rest string) string {
		return fmt.Sprintf("update %s t set (%s) = row(%s) %s", t.name, strings.Join(names, ", "), strings.Join(values, ", "), rest)
	}
	picked := fmt.Sprintf("select c.part, c.place, %s from %s order by c.n", strings.Join(keys, ", "), from)
	now := "select 1"
	if r.deferrable {
		now = "set constraints " + r.name + " immediate"
	}
	if _, err := f.db.try(ctx, update(values, "from ("+picked+") v where t.tableoid = v.part and t.ctid = v.place")+"; "+now); err == nil {
		return nil
	}
	for i := range values {
		values[i] = "r." + values[i]
	}
	_, _, refusal, err := f.oneByOne(ctx, picked, update(values, "where t.tableoid = r.part and t.ctid = r.place"), 0)
	if err != nil {
		return err
	}
	if refusal != "" {
		t.notes = append(t.notes, fmt.Sprintf("%s is not filled everywhere: %s", r.name, refusal))
	}
	return f.settle(ctx, r)
}

// settle removes the rows of a table if some of them still refer to nowhere.
func (f *filler) settle(ctx context.Context, r *reference) error {
	if r.nullable() {
		return nil
	}
	if _, broken := f.db.try(ctx, "set constraints "+r.name+" immediate"); broken != nil {
		if _, err := f.db.try(ctx, "delete from "+r.child.name); err != nil {
			return err
		}
		r.child.notes = append(r.child.notes, "emptied again: "+broken.Error())
	}
	return nil
}

// oneByOne runs a statement for each row r of a query, in a subtransaction each, until limit have done something; 0 is no limit. The refusal is
// the last one of those that failed.
func (f *filler) oneByOne(ctx context.Context, query, statement string, limit int) (done, failed int, refusal string, err error) {
	until := ""
	if limit > 0 {
		until = fmt.Sprintf("exit when done >= %d;", limit)
	}
	body := fmt.Sprintf(`
		declare r record; done int := 0; failed int := 0; affected int; refusal text := '';
		begin
			for r in %s loop
				begin
					%s;
					get diagnostics affected = row_count;
					done := done + affected;
				exception when others then
					failed := failed + 1;
					refusal := sqlerrm;
				end;
				%s
			end loop;
			perform set_config('interlock.done', done::text, true), set_config('interlock.failed', failed::text, true), set_config('interlock.refusal', refusal, true);
		end`, query, statement, until)
	if _, err := f.db.try(ctx, "do "+quote(body)); err != nil {
		return 0, 0, err.Error(), ctx.Err()
	}
	err = f.db.scan(ctx, "select current_setting('interlock.done')::int, current_setting('interlock.failed')::int, current_setting('interlock.refusal')",
		&done, &failed, &refusal)
	return done, failed, refusal, err
}

// alone reports whether a column is all of a unique index.
func (t *table) alone(c *column) bool {
	return slices.ContainsFunc(t.uniques, func(u unique) bool {
		return !u.partial && !u.exclusion && len(u.columns) == 1 && u.columns[0] == c.num
	})
}
