package plant

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// column is a column of the table.
type column struct {
	name      string
	kind      string // its type, without domain and modifiers, as in the catalog
	cast      string // its type, as SQL
	category  string // typcategory
	labels    []string
	generated bool
	unique    bool     // in a unique index
	defaults  bool     // has a default, or is an identity
	values    []string // that it may have; $N differs from row to row
}

// readColumns reads the columns of the table, and which of those that decide can be set. For one that the database computes it is what that is
// computed from.
func (p *planter) readColumns(ctx context.Context) error {
	rows, err := p.tx.Query(ctx, `
		with recursive base as (
			select a.attnum, a.atttypid as oid from pg_attribute a where a.attrelid = $1::text::regclass
			union all
			select b.attnum, t.typbasetype from base b join pg_type t on t.oid = b.oid and t.typtype = 'd')
		select quote_ident(a.attname), t.typname::text, format_type(a.atttypid, a.atttypmod), t.typcategory::text,
			array(select quote_literal(enumlabel) from pg_enum where enumtypid = t.oid order by enumsortorder),
			a.attgenerated <> '', exists (select from pg_index i where i.indrelid = a.attrelid and i.indisunique and a.attnum = any (i.indkey)),
			a.atthasdef or a.attidentity <> '', coalesce(case when a.attgenerated <> '' then pg_get_expr(d.adbin, d.adrelid) end, '')
		from pg_attribute a join base b on b.attnum = a.attnum join pg_type t on t.oid = b.oid and t.typtype <> 'd'
		left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
		where a.attrelid = $1::text::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum`, p.Table)
	if err != nil {
		return err
	}
	var one column
	var computed string
	decide := slices.Clone(p.Reads)
	var expressions []string
	_, err = pgx.ForEachRow(rows, []any{
		&one.name, &one.kind, &one.cast, &one.category, &one.labels, &one.generated, &one.unique, &one.defaults, &computed,
	}, func() error {
		c := one
		c.labels = slices.Clone(one.labels)
		p.all = append(p.all, c)
		if c.generated && slices.Contains(p.Reads, c.name) {
			expressions = append(expressions, computed)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range p.all {
		if slices.ContainsFunc(expressions, func(e string) bool { return mentions(e, c.name) }) {
			decide = append(decide, c.name)
		}
	}
	for _, c := range p.all {
		if !slices.Contains(decide, c.name) || c.generated {
			continue
		}
		if c.values, err = p.valuesOf(ctx, c); err != nil {
			return err
		}
		p.columns = append(p.columns, c)
	}
	return nil
}

var number = regexp.MustCompile(`\d+(?:\.\d+)?`)

// valuesOf are values to try: what the constraint itself names, what is in the table, and what is at the edges of the type.
func (p *planter) valuesOf(ctx context.Context, c column) ([]string, error) {
	candidates := []string{"null"}
	if p.Kind != NotNull {
		if p.Kind == ForeignKey {
			candidates = append(edges(c), candidates...)
		}
		candidates = append(candidates, literal.FindAllString(p.Where, -1)...)
		if c.category == "N" {
			for _, found := range number.FindAllString(literal.ReplaceAllString(p.Where, ""), 6) {
				candidates = append(candidates, found, found+" + 1", found+" - 1")
			}
		}
		candidates = append(candidates, c.labels...)
		rows, err := p.tx.Query(ctx, fmt.Sprintf("select distinct quote_literal(c::text) from (select %s as c from %s where %s is not null limit 1000) s order by 1 limit 6",
			c.name, p.from("", ""), c.name))
		if err != nil {
			return nil, err
		}
		there, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return nil, err
		}
		candidates = append(candidates, there...)
		candidates = append(candidates, edges(c)...)
	} else if !slices.ContainsFunc(p.Keys, func(k Key) bool { return k.SQL == c.name }) {
		candidates = append(candidates, edges(c)...) // what is computed from them must be NULL
	}
	var values []string
	for _, v := range candidates {
		v = fmt.Sprintf("(%s)::%s", v, c.cast)
		if slices.Contains(values, v) {
			continue
		}
		err := pgx.BeginFunc(ctx, p.tx, func(savepoint pgx.Tx) error {
			_, err := savepoint.Exec(ctx, "select "+strings.ReplaceAll(v, "$N", "9999"), pgx.QueryExecModeSimpleProtocol)
			return err
		})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil { // others are not of the type
			values = append(values, v)
		}
	}
	return values, nil
}

// edges are values that are seldom among good ones.
func edges(c column) []string {
	switch c.kind {
	case "uuid":
		return []string{"md5('interlock $N')::uuid", "'00000000-0000-0000-0000-000000000000'"}
	case "json", "jsonb":
		return []string{`'{"interlock": $N}'`, "'{}'", "'[]'", "'null'", `'""'`, "'-1'"}
	case "bytea":
		return []string{"convert_to('interlock $N', 'UTF8')", "''"}
	case "date", "timestamp", "timestamptz":
		return []string{"date '2999-01-01' + $N", "date '0101-01-01' + $N"}
	case "time", "timetz":
		return []string{"'00:00:00'", "'23:59:59.999999'"}
	}
	switch c.category {
	case "N":
		return []string{"-1 - $N", "0", "1000000000 + $N", "20000 + $N", "0.001 + $N", "'1e15'::numeric + $N", "99.99"}
	case "S":
		return []string{"'interlock $N'", "lpad('$N', 4, '~')", "''", "' '", "repeat('x', 300)", "'~'", "'ABC'", "'abc'"}
	case "B":
		return []string{"true", "false"}
	case "A":
		return []string{"'{}'", "'{null}'"}
	case "R":
		return []string{"'empty'", "'(,)'"}
	case "T":
		return []string{"'-1 day'", "'0'", "'1000 years'"}
	case "I":
		return []string{"inet '10.99.0.0' + $N", "'::'"}
	}
	return nil
}

// nearly are values that are not quite a value, but may be the same to an expression.
func (c column) nearly(value string) []string {
	switch c.kind {
	case "text", "varchar", "bpchar", "citext":
		return []string{
			"upper(" + value + ")", "lower(" + value + ")", "initcap(" + value + ")", value + " || ' '", "' ' || " + value,
			"overlay(" + value + " placing upper(substr(" + value + ", 1, 1)) from 1)",
		}
	case "timestamp", "timestamptz":
		return []string{value + " + interval '1 microsecond'", value + " + interval '1 second'", value + " - interval '1 second'", value + " + interval '1 minute'"}
	case "numeric", "float4", "float8":
		return []string{value + " + 0.01", value + " - 0.01"}
	case "int2", "int4", "int8":
		return []string{value + " + 1", value + " - 1", "-" + value}
	case "date":
		return []string{value + " + 1", value + " - 1"}
	}
	return nil
}
