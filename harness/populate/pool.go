package populate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// source is a temporary table of values, or of keys, to pick from: numbered by interlock_i, from 0.
type source struct {
	table string
	count int
}

var (
	number   = regexp.MustCompile(`(?:^|[^\w.])(\d+(?:\.\d+)?)`)
	hashed   = regexp.MustCompile(`satisfies_hash_partition\([^)]*\)`) // names OIDs, which are no hints
	patterns = regexp.MustCompile(`(~~?\*?) '((?:[^']|'')*)'`)
)

// tokens are the literals in the expressions.
func tokens(exprs []string) []string {
	var found []string
	for _, expr := range exprs {
		for _, q := range literal.FindAllString(expr, -1) {
			text := strings.ReplaceAll(q[1:len(q)-1], "''", "'")
			found = append(found, text)
			if strings.HasPrefix(text, "{") {
				for element := range strings.SplitSeq(strings.Trim(text, "{}"), ",") {
					found = append(found, strings.Trim(element, `"`))
				}
			}
		}
		for _, m := range number.FindAllStringSubmatch(literal.ReplaceAllString(expr, "''"), -1) {
			found = append(found, m[1], "-"+m[1])
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// pool makes a table of values for a column, which pass the checks that are about this column alone. Every family of candidates has as many rows
// as any other, so that the few that a check allows are not drowned. It has no rows if nothing passes.
func (f *filler) pool(ctx context.Context, t *table, c *column, distinct bool) (source, error) {
	var about []string // expressions to take hints from
	var alone []string // conditions
	for _, k := range c.checks {
		about = append(about, k.expr)
		alone = append(alone, ofDomain(k, c)+" is not false")
	}
	for _, k := range t.checks {
		if !t.uses(k.expr, c) {
			continue
		}
		about = append(about, hashed.ReplaceAllString(k.expr, ""))
		if !slices.ContainsFunc(t.columns, func(other *column) bool { return other != c && mentions(k.expr, other.name) }) {
			alone = append(alone, "("+k.expr+") is not false")
		}
	}
	size := 1000
	if distinct {
		size = max(size, 2*f.config.rows(t.name))
	}
	families := f.families(ctx, c, f.draws("pool", t.name, c.name), about, distinct, size)
	for i, expr := range families {
		families[i] = fmt.Sprintf("select n as interlock_n, %d as interlock_f, (%s)::%s as %s from generate_series(1::bigint, %d) n", i, expr, c.base, c.name, size)
	}
	from := "(" + strings.Join(families, " union all ") + ") candidates"
	const order = "interlock_n, interlock_f"
	if distinct {
		from = fmt.Sprintf("(select distinct on (%s) * from %s order by %s, interlock_n, interlock_f) different", c.name, from, c.name)
	}
	f.temporary++
	s := source{table: fmt.Sprintf("pg_temp.interlock_pool_%d", f.temporary)}
	create := func(conditions []string) error {
		_, err := f.db.try(ctx, fmt.Sprintf("create temp table %s on commit drop as select row_number() over (order by %s) - 1 as interlock_i, %s from %s where %s",
			strings.TrimPrefix(s.table, "pg_temp."), order, c.name, from, strings.Join(append(conditions, "true"), " and ")))
		return err
	}
	if err := create(alone); err != nil { // a condition that fails on some candidates decides nothing here
		if err := create(nil); err != nil {
			return s, err
		}
	}
	return s, f.db.scan(ctx, "select count(*) from "+s.table, &s.count)
}

// ofDomain is a domain's check, of a column.
func ofDomain(k check, c *column) string {
	return fmt.Sprintf("(select (%s) from (select %s as value) v)", k.expr, c.name)
}

// families are the expressions that make candidates: as usual, and by hints from the checks.
func (f *filler) families(ctx context.Context, c *column, r *random, about []string, distinct bool, size int) []string {
	families := []string{f.value(c.kind, c.base, r, distinct)}
	var literals, numbers []string
	for _, token := range tokens(about) {
		var ok bool
		if f.db.scan(ctx, "select ("+quote(token)+"::"+c.base+")::text is not null", &ok) == nil {
			literals = append(literals, quote(token)+"::"+c.base)
		}
		if _, err := strconv.ParseFloat(token, 64); err == nil {
			numbers = append(numbers, token)
		}
	}
	if len(literals) > 0 {
		families = append(families, fmt.Sprintf("(array[%s])[1 + n %% %d]", strings.Join(literals, ", "), len(literals)))
	}
	least, greatest := "least("+strings.Join(literals, ", ")+")", "greatest("+strings.Join(literals, ", ")+")"
	between := func(step string) {
		for _, at := range literals {
			families = append(families, at+" + "+step, at+" - "+step)
		}
	}
	fraction := r.below(1_000_001) + " / 1000000.0"
	switch c.kind.short {
	case "int2", "int4", "int8", "numeric", "float4", "float8":
		if len(literals) > 0 {
			families = append(families, fmt.Sprintf("%s + (%s - %s)::numeric * (%s)", least, greatest, least, fraction))
			between("1 + " + r.below(100))
		}
		families = append(families, r.below(100), "(1 + "+r.below(1000)+") / 1000.0", "-1 - "+r.below(100))
	case "date", "timestamp", "timestamptz":
		day := "interval '1 day'"
		if len(literals) > 0 {
			families = append(families, fmt.Sprintf("%s + (%s - %s) * (%s)::float8", least+"::timestamp", greatest+"::timestamp", least+"::timestamp", fraction))
			between("(1 + " + r.below(300) + ") * " + day)
		}
		families = append(families, "timestamp '1990-01-01' + "+r.below(10_000)+" * "+day, "timestamp '2090-01-01' + "+r.below(3000)+" * "+day)
	case "text", "varchar", "bpchar", "citext":
		hex := "md5((" + r.draw() + ")::text) || md5((" + r.draw() + ")::text)"
		families = append(families, "upper("+families[0]+")", r.draw()+"::text", "upper(left("+hex+", 12))")
		if len(numbers) > 0 {
			families = append(families, fmt.Sprintf("left(%s, least(greatest(0, (array[%s]::numeric[])[1 + n %% %d] + %s - 1), 1000)::int)",
				"repeat("+hex+", 16)", strings.Join(numbers, ", "), len(numbers), r.below(3)))
			families = append(families, fmt.Sprintf("left(lpad(%s::text, 1000, '0'), least(greatest(0, (array[%s]::numeric[])[1 + n %% %d]), 1000)::int)",
				r.draw(), strings.Join(numbers, ", "), len(numbers)))
		}
		for _, expr := range about {
			for _, m := range patterns.FindAllStringSubmatch(expr, -1) {
				if texts := matching(m[1], strings.ReplaceAll(m[2], "''", "'"), rand.New(rand.NewPCG(r.salt, 1)), size); len(texts) > 0 { //nolint:gosec // for test data
					families = append(families, "(array["+strings.Join(texts, ",")+"])[n]")
				}
			}
		}
	}
	if families[0] == "" {
		families = families[1:]
	}
	kept := families[:0]
	for _, expr := range families { // one that overflows spoils the others
		var n int
		if f.db.scan(ctx, fmt.Sprintf("select count((%s)::%s) from generate_series(1::bigint, %d) n", expr, c.base, size), &n) == nil {
			kept = append(kept, expr)
		}
	}
	if len(kept) == 0 {
		kept = append(kept, "null")
	}
	return kept
}
