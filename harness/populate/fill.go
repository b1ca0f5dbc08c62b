package populate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// most is how many candidates a table gets for each row that is wanted, before it is given up.
const most = 60

// fill inserts rows into a table, in rounds: how many candidates a round has is told by how many passed so far.
func (f *filler) fill(ctx context.Context, t *table) error {
	f.done = append(f.done, t)
	var some bool
	if err := f.db.scan(ctx, "select exists (select from "+t.rows+")", &some); err != nil {
		t.notes = append(t.notes, err.Error())
		return ctx.Err()
	}
	if some {
		t.notes = append(t.notes, "left as it is: it had rows already")
		return nil
	}
	t.wanted = f.config.rows(t.name)
	for _, r := range t.references {
		if r.later && !r.nullable() {
			if _, err := f.db.try(ctx, "set constraints "+r.name+" deferred"); err != nil {
				t.notes = append(t.notes, fmt.Sprintf("%s and %s refer to each other, and neither can be first", t.name, r.parentName))
				t.wanted = 0
				return ctx.Err()
			}
		}
	}
	p, err := f.plan(ctx, t)
	if err != nil {
		t.notes = append(t.notes, err.Error())
		return ctx.Err()
	}
	if len(p.columns) == 0 {
		_, _, refusal, err := f.oneByOne(ctx, fmt.Sprintf("select generate_series(1, %d)", t.wanted), "insert into "+t.name+" default values", t.wanted)
		if refusal != "" {
			t.notes = append(t.notes, refusal)
		}
		return err
	}
	there, next, futile := 0, 1, 0
	for size := t.wanted; there < t.wanted && futile < 2 && next <= most*t.wanted; {
		inserted, err := f.round(ctx, t, p, next, next+size-1, t.wanted-there)
		if err != nil {
			return err
		}
		next += size
		there += inserted
		futile++
		if inserted > 0 {
			futile = 0
		}
		missing := t.wanted - there
		size = min(missing*next/max(there, 1)+missing/5+100, 20*t.wanted+1000)
	}
	t.tried = next - 1
	return nil
}

// round makes candidates, and inserts up to limit of those that pass.
func (f *filler) round(ctx context.Context, t *table, p plan, from, to, limit int) (int, error) {
	staging := strings.NewReplacer("$FROM", fmt.Sprint(from), "$TO", fmt.Sprint(to)).Replace(p.staging)
	if _, err := f.db.try(ctx, "drop table if exists pg_temp.interlock_stage; create temp table interlock_stage on commit drop as "+staging); err != nil {
		t.refused[err.Error()] += to - from + 1
		return 0, ctx.Err()
	}
	for _, k := range p.refusal { // one that fails is left to the insertion
		refused, err := f.db.try(ctx, "delete from pg_temp.interlock_stage where "+k.expr)
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err == nil && refused > 0 {
			t.refused[k.name] += refused
		}
	}
	columns := strings.Join(p.columns, ", ")
	into := fmt.Sprintf("insert into %s (%s) overriding system value ", t.name, columns)
	inserted, err := f.db.try(ctx, fmt.Sprintf("%s select %s from pg_temp.interlock_stage order by interlock_n limit %d on conflict do nothing", into, columns, limit))
	if err == nil {
		return inserted, nil
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	inserted, failed, refusal, err := f.oneByOne(ctx, "select * from pg_temp.interlock_stage order by interlock_n", into+"select r."+strings.Join(p.columns, ", r."), limit)
	if refusal != "" {
		t.refused[refusal] += max(failed, 1)
	}
	return inserted, err
}

// reason says why there are only so many rows, or what else is to be told.
func (t *table) reason(rows int) string {
	said := slices.Clone(t.notes)
	if rows >= t.wanted || t.tried == 0 {
		return strings.Join(said, "; ")
	}
	names := slices.SortedFunc(maps.Keys(t.refused), func(a, b string) int {
		return cmp.Or(cmp.Compare(t.refused[b], t.refused[a]), cmp.Compare(a, b))
	})
	for _, name := range names[:min(len(names), 3)] {
		said = append(said, fmt.Sprintf("%d of %d generated rows were refused: %s", t.refused[name], t.tried, name))
	}
	if len(said) == 0 {
		said = append(said, fmt.Sprintf("of %d generated rows, the others ran into each other at a unique index or an exclusion constraint", t.tried))
	}
	return strings.Join(said, "; ")
}
