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

// plan is how the rows of one table are made.
type plan struct {
	columns []string // that are inserted
	staging string   // a query for the candidates numbered from $FROM to $TO
	refusal []check  // what refuses candidates, each a condition that is true of those
}

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

// digit is a place in the numbering of the combinations that a unique index has room for.
type digit struct {
	source *source
	index  string // expression; empty: at random
}

// plan decides how the rows of a table are made.
func (f *filler) plan(ctx context.Context, t *table) (plan, error) {
	var p plan
	r := f.draws("table", t.name)
	distinct, spread := t.distinct()
	digits := map[*column]*digit{}

	// What is picked: keys of other tables, and values from pools.
	type join struct {
		digit  *digit
		table  string
		from   []string // its columns
		to     []*column
		shared []string
		null   int // of ten are NULL
	}
	var joins []join
	var same []string           // columns that copy others: rows that refer to themselves
	taken := map[*column]bool{} // made by a source, or by a copy
	made := map[*column]bool{}
	skip := map[*column]bool{} // NULL for now
	for _, ref := range t.references {
		if ref.later {
			for _, c := range ref.columns {
				skip[c] = skip[c] || !c.notNull
			}
			continue
		}
		if ref.parent == t.oid {
			for i, c := range ref.columns {
				key := t.columns[slices.IndexFunc(t.columns, func(k *column) bool { return k.name == ref.parentKey[i] })]
				if key == c {
					continue
				}
				taken[c] = true
				if key.given && key.sequence != "" {
					key.given, key.base = false, key.kind.name
					same = append(same, fmt.Sprintf("nextval(%s) as %s", quote(key.sequence), key.name))
					taken[key] = true
				}
				same = append(same, fmt.Sprintf("%s as %s", key.name, c.name))
			}
			continue
		}
		j := join{}
		nullable := true
		var sharedKeys []string
		for i, c := range ref.columns {
			if taken[c] {
				j.shared = append(j.shared, c.name)
				sharedKeys = append(sharedKeys, ref.parentKey[i])
				continue
			}
			nullable = nullable && !c.notNull
			j.from, j.to = append(j.from, ref.parentKey[i]), append(j.to, c)
		}
		if len(j.to) == 0 {
			names := make([]string, len(ref.columns))
			for i, c := range ref.columns {
				names[i] = c.name
			}
			p.refusal = append(p.refusal, check{"the reference to " + ref.parentName, fmt.Sprintf("(%s) not in (select %s from %s)",
				strings.Join(names, ", "), strings.Join(ref.parentKey, ", "), ref.parentName)})
			continue
		}
		s, err := f.keysOf(ctx, ref, sharedKeys)
		if err != nil {
			return p, err
		}
		if s.count == 0 && !nullable {
			return p, fmt.Errorf("refers to %s, which has no rows", ref.parentName)
		}
		j.digit, j.table = &digit{source: &s}, s.table
		for i, name := range j.shared {
			j.shared[i] = name + " = " + sharedKeys[i]
		}
		if nullable {
			j.null = t.nulls(j.to[0])
		}
		for _, c := range j.to {
			taken[c] = true
			if len(j.shared) == 0 {
				digits[c] = j.digit
			}
		}
		joins = append(joins, j)
	}
	var direct []string
	for _, c := range t.columns {
		if c.given || c.generated != "" || taken[c] || skip[c] {
			continue
		}
		null := 0
		if !c.notNull {
			null = t.nulls(c)
		}
		value := f.value(c.kind, c.base, r, distinct[c] || spread[c])
		checked := len(c.checks) > 0 || slices.ContainsFunc(t.checks, func(k check) bool { return t.uses(k.expr, c) })
		finite := t.inUnique(c) && (c.kind.class == "e" || c.kind.short == "bool")
		if checked && !spread[c] || finite || value == "" {
			s, err := f.pool(ctx, t, c, distinct[c] || finite)
			if err != nil {
				return p, fmt.Errorf("no values for %s: %w", c.name, err)
			}
			if s.count == 0 && value != "" {
				t.notes = append(t.notes, fmt.Sprintf("no generated value of %s passes its checks", c.name))
			}
			if s.count > 0 {
				d := &digit{source: &s}
				digits[c] = d
				joins = append(joins, join{digit: d, table: s.table, from: []string{c.name}, to: []*column{c}, null: null})
				taken[c] = true
				continue
			}
			if value == "" {
				if c.notNull {
					t.notes = append(t.notes, fmt.Sprintf("no values are known for %s of type %s", c.name, c.base))
				}
				continue
			}
		}
		if null > 0 {
			value = fmt.Sprintf("case when %s >= %d then %s end", r.below(10), null, value)
		}
		direct = append(direct, fmt.Sprintf("(%s)::%s as %s", value, c.base, c.name))
		made[c] = true
	}
	r.number = "interlock_n"
	t.number(r, digits)

	// The query: the direct values, then a join for each source.
	query := "select " + strings.Join(append([]string{"n as interlock_n"}, direct...), ", ") + " from generate_series($FROM::bigint, $TO) n"
	for _, j := range joins {
		var picked []string
		for i, c := range j.to {
			picked = append(picked, fmt.Sprintf("k.%s as %s", j.from[i], c.name))
		}
		index := cmp.Or(j.digit.index, r.below(int64(max(j.digit.source.count, 1))))
		count := ""
		var on []string
		if len(j.shared) > 0 {
			index = r.draw() + " % g.interlock_count"
			var keys []string
			for _, pair := range j.shared {
				name, key, _ := strings.Cut(pair, " = ")
				keys = append(keys, key)
				on = append(on, fmt.Sprintf("s.%s = g.%s", name, key))
			}
			count = fmt.Sprintf(" left join (select %s, count(*) as interlock_count from %s group by %s) g on %s", strings.Join(keys, ", "), j.table, strings.Join(keys, ", "),
				strings.Join(on, " and "))
			for i, key := range keys {
				on[i] = fmt.Sprintf("k.%s = g.%s", key, key)
			}
		}
		if j.null > 0 {
			index = fmt.Sprintf("case when %s >= %d then %s end", r.below(10), j.null, index)
		}
		on = append(on, "k.interlock_i = "+index)
		query = fmt.Sprintf("select s.*, %s from (%s) s%s left join %s k on %s", strings.Join(picked, ", "), query, count, j.table, strings.Join(on, " and "))
	}
	for _, expr := range same {
		query = fmt.Sprintf("select s.*, %s from (%s) s", expr, query)
	}
	missing := func(expr string) bool {
		return slices.ContainsFunc(t.columns, func(c *column) bool { return c.given && mentions(expr, c.name) })
	}
	var empty, computed []string
	for _, c := range t.columns {
		switch {
		case skip[c]:
			empty = append(empty, fmt.Sprintf("null::%s as %s", c.base, c.name))
		case c.generated != "" && !missing(c.generated):
			computed = append(computed, fmt.Sprintf("(%s)::%s as %s", c.generated, c.base, c.name))
		}
	}
	for _, more := range [][]string{empty, computed} {
		if len(more) > 0 {
			query = fmt.Sprintf("select s.*, %s from (%s) s", strings.Join(more, ", "), query)
		}
	}
	p.staging = query

	for _, c := range t.columns {
		if !made[c] && !taken[c] && !skip[c] {
			continue
		}
		p.columns = append(p.columns, c.name)
		if c.notNull {
			p.refusal = append(p.refusal, check{"NOT NULL of " + c.name, c.name + " is null"})
		}
		for _, k := range c.checks {
			p.refusal = append(p.refusal, check{k.name, ofDomain(k, c) + " is false"})
		}
	}
	for _, k := range t.checks {
		if !missing(k.expr) {
			p.refusal = append(p.refusal, check{k.name, "(" + k.expr + ") is false"})
		}
	}
	return p, nil
}

// nulls is how many in ten rows have NULL in a column: more where a condition looks at that.
func (t *table) nulls(c *column) int {
	for _, u := range t.uniques {
		if !u.partial && slices.Contains(u.columns, c.num) {
			return 0
		}
	}
	for _, k := range t.checks {
		if mentions(k.expr, c.name) && (strings.Contains(k.expr, c.name+" IS N") || strings.Contains(k.expr, "num_n")) {
			return 5
		}
	}
	return 1
}

// distinct chooses the columns that differ from row to row, so that unique indexes are kept: one of each index is enough. Times and ranges that
// exclude each other are spread out too.
func (t *table) distinct() (distinct, spread map[*column]bool) {
	distinct, spread = map[*column]bool{}, map[*column]bool{}
	for _, u := range t.uniques {
		for _, c := range t.columns {
			if c.given || c.generated != "" || !mentions(u.text, c.name) || c.kind.class == "e" || c.kind.short == "bool" {
				continue
			}
			distinct[c] = true
			timed := slices.Contains([]string{"date", "timestamp", "timestamptz"}, c.kind.short) || c.kind.class == "r"
			spread[c] = spread[c] || u.exclusion && timed
		}
	}
	return distinct, spread
}

// inUnique reports whether a column is in a unique index.
func (t *table) inUnique(c *column) bool {
	return slices.ContainsFunc(t.uniques, func(u unique) bool { return !u.partial && !u.exclusion && slices.Contains(u.columns, c.num) })
}

// number has the rows count through the combinations of a unique index, where all of its columns are picked from finite sources.
func (t *table) number(r *random, digits map[*column]*digit) {
	for _, u := range t.uniques {
		if u.partial || u.exclusion {
			continue
		}
		var places []*digit
		free := false
		for _, num := range u.columns {
			c := t.column(num)
			if c == nil || digits[c] == nil {
				free = true // an expression, or a column that differs by itself
				break
			}
			if !slices.Contains(places, digits[c]) {
				places = append(places, digits[c])
			}
		}
		if free || slices.ContainsFunc(places, func(d *digit) bool { return d.index != "" }) {
			continue
		}
		room := 1
		for _, d := range places {
			count := max(d.source.count, 1)
			if room > 1e15/count {
				break
			}
			d.index = fmt.Sprintf("(interlock_n - 1) / %d %% %d", room, count)
			if room > 1 {
				d.index = fmt.Sprintf("((interlock_n - 1) / %d + %s %% %d) %% %d", room, r.of(fmt.Sprintf("(interlock_n - 1) %% %d", room)), count, count)
			}
			room *= count
		}
		if room < t.wanted {
			t.notes = append(t.notes, fmt.Sprintf("the unique index %s has room for %d rows", u.name, room))
		}
	}
}
