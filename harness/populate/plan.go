package populate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// plan is how the rows of one table are made.
type plan struct {
	columns []string // that are inserted
	staging string   // a query for the candidates numbered from $FROM to $TO
	refusal []check  // what refuses candidates, each a condition that is true of those
}

// digit is a place in the numbering of the combinations that a unique index has room for.
type digit struct {
	source *source
	index  string // expression; empty: at random
}

// join picks columns from a source: the key of another table, or values from a pool.
type join struct {
	digit  *digit
	from   []string // the source's columns
	to     []*column
	shared [][2]string // a column that is made already, and the source's, which must be the same
	null   int         // so many in ten are NULL
}

// planning is the state of making a plan.
type planning struct {
	plan
	f                *filler
	t                *table
	random           *random
	distinct, spread map[*column]bool
	digits           map[*column]*digit

	direct []string // values
	joins  []join
	copies []string         // of other columns: rows that refer to themselves
	made   map[*column]bool // by any of these
	empty  map[*column]bool // NULL for now
}

// plan decides how the rows of a table are made.
func (f *filler) plan(ctx context.Context, t *table) (plan, error) {
	p := planning{
		f: f, t: t, random: f.draws("table", t.name), digits: map[*column]*digit{}, made: map[*column]bool{}, empty: map[*column]bool{},
	}
	p.distinct, p.spread = t.distinct()
	for _, ref := range t.references {
		if err := p.refer(ctx, ref); err != nil {
			return p.plan, err
		}
	}
	for _, c := range t.columns {
		if c.given || c.generated != "" || p.made[c] || p.empty[c] {
			continue
		}
		if err := p.value(ctx, c); err != nil {
			return p.plan, err
		}
	}
	p.random.number = "interlock_n"
	t.number(p.random, p.digits)
	p.staging = p.query()
	p.insert()
	return p.plan, nil
}

// refer decides what the columns of a reference have.
func (p *planning) refer(ctx context.Context, ref *reference) error {
	switch {
	case ref.later:
		for _, c := range ref.columns {
			p.empty[c] = p.empty[c] || !c.notNull
		}
		return nil
	case ref.parent == p.t.oid:
		p.referToItself(ref)
		return nil
	}
	var j join
	var keys []string // of those shared
	nullable := true
	for i, c := range ref.columns {
		if p.made[c] {
			j.shared = append(j.shared, [2]string{c.name, ref.parentKey[i]})
			keys = append(keys, ref.parentKey[i])
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
		return nil
	}
	s, err := p.f.keysOf(ctx, ref, keys)
	if err != nil {
		return err
	}
	if s.count == 0 && !nullable {
		return fmt.Errorf("refers to %s, which has no rows", ref.parentName)
	}
	j.digit = &digit{source: &s}
	if nullable {
		j.null = p.t.nulls(j.to[0])
	}
	for _, c := range j.to {
		p.made[c] = true
		if len(j.shared) == 0 {
			p.digits[c] = j.digit
		}
	}
	p.joins = append(p.joins, j)
	return nil
}

// referToItself has each row refer to itself. A key from a sequence is drawn beforehand for that.
func (p *planning) referToItself(ref *reference) {
	for i, c := range ref.columns {
		key := p.t.columns[slices.IndexFunc(p.t.columns, func(k *column) bool { return k.name == ref.parentKey[i] })]
		if key == c {
			continue
		}
		p.made[c] = true
		if key.given && key.sequence != "" {
			key.given, key.base = false, key.kind.name
			p.copies = append(p.copies, fmt.Sprintf("nextval(%s) as %s", quote(key.sequence), key.name))
			p.made[key] = true
		}
		p.copies = append(p.copies, fmt.Sprintf("%s as %s", key.name, c.name))
	}
}

// value decides what a column has that refers to nothing: values of its type, or those of a pool where few will do.
func (p *planning) value(ctx context.Context, c *column) error {
	null := 0
	if !c.notNull {
		null = p.t.nulls(c)
	}
	value := p.f.value(c.kind, c.base, p.random, p.distinct[c] || p.spread[c])
	checked := len(c.checks) > 0 || slices.ContainsFunc(p.t.checks, func(k check) bool { return p.t.uses(k.expr, c) })
	finite := p.t.inUnique(c) && (c.kind.class == "e" || c.kind.short == "bool")
	if checked && !p.spread[c] || finite || value == "" {
		s, err := p.f.pool(ctx, p.t, c, p.distinct[c] || finite)
		if err != nil {
			return fmt.Errorf("no values for %s: %w", c.name, err)
		}
		if s.count > 0 {
			p.digits[c] = &digit{source: &s}
			p.joins = append(p.joins, join{digit: p.digits[c], from: []string{c.name}, to: []*column{c}, null: null})
			p.made[c] = true
			return nil
		}
		if value != "" {
			p.t.notes = append(p.t.notes, fmt.Sprintf("no generated value of %s passes its checks", c.name))
		} else if c.notNull {
			p.t.notes = append(p.t.notes, fmt.Sprintf("no values are known for %s of type %s", c.name, c.base))
		}
		if value == "" {
			return nil
		}
	}
	if null > 0 {
		value = fmt.Sprintf("case when %s >= %d then %s end", p.random.below(10), null, value)
	}
	p.direct = append(p.direct, fmt.Sprintf("(%s)::%s as %s", value, c.base, c.name))
	p.made[c] = true
	return nil
}

// query makes the candidates: the direct values, then a join for each source, and what follows from other columns.
func (p *planning) query() string {
	query := "select " + strings.Join(append([]string{"n as interlock_n"}, p.direct...), ", ") + " from generate_series($FROM::bigint, $TO) n"
	for _, j := range p.joins {
		query = j.onto(query, p.random)
	}
	for _, expr := range p.copies {
		query = fmt.Sprintf("select s.*, %s from (%s) s", expr, query)
	}
	var empty, computed []string
	for _, c := range p.t.columns {
		switch {
		case p.empty[c]:
			empty = append(empty, fmt.Sprintf("null::%s as %s", c.base, c.name))
		case c.generated != "" && !p.t.awaits(c.generated):
			computed = append(computed, fmt.Sprintf("(%s)::%s as %s", c.generated, c.base, c.name))
		}
	}
	for _, more := range [][]string{empty, computed} {
		if len(more) > 0 {
			query = fmt.Sprintf("select s.*, %s from (%s) s", strings.Join(more, ", "), query)
		}
	}
	return query
}

// onto adds the columns of a join to a query.
func (j join) onto(query string, r *random) string {
	var picked []string
	for i, c := range j.to {
		picked = append(picked, fmt.Sprintf("k.%s as %s", j.from[i], c.name))
	}
	source := j.digit.source
	index := cmp.Or(j.digit.index, r.below(int64(max(source.count, 1))))
	count := ""
	var on []string
	if len(j.shared) > 0 { // one of those that agree
		index = r.draw() + " % g.interlock_count"
		var keys, same []string
		for _, pair := range j.shared {
			keys = append(keys, pair[1])
			same = append(same, fmt.Sprintf("s.%s = g.%s", pair[0], pair[1]))
			on = append(on, fmt.Sprintf("k.%[1]s = g.%[1]s", pair[1]))
		}
		count = fmt.Sprintf(" left join (select %[1]s, count(*) as interlock_count from %[2]s group by %[1]s) g on %[3]s", strings.Join(keys, ", "), source.table,
			strings.Join(same, " and "))
	}
	if j.null > 0 {
		index = fmt.Sprintf("case when %s >= %d then %s end", r.below(10), j.null, index)
	}
	on = append(on, "k.interlock_i = "+index)
	return fmt.Sprintf("select s.*, %s from (%s) s%s left join %s k on %s", strings.Join(picked, ", "), query, count, source.table, strings.Join(on, " and "))
}

// insert lists the columns that are inserted, and what refuses candidates.
func (p *planning) insert() {
	for _, c := range p.t.columns {
		if !p.made[c] && !p.empty[c] {
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
	for _, k := range p.t.checks {
		if !p.t.awaits(k.expr) {
			p.refusal = append(p.refusal, check{k.name, "(" + k.expr + ") is false"})
		}
	}
}

// awaits reports whether an expression is about a column that only the insertion gives its value.
func (t *table) awaits(expr string) bool {
	return slices.ContainsFunc(t.columns, func(c *column) bool { return c.given && mentions(expr, c.name) })
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
