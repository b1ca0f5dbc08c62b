package plant

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/history"
)

// Query returns SQL that finds everything that breaks the constraint, in the state before the migration: of what collides or refers to nothing, a
// line for each key, with the number of its rows and their ids; a line for each pair that excludes each other; a line for each row with NULL, or
// that breaks a CHECK. It only reads, and reads the table once, but for exclusions: those without an = compare every row with every other.
func (c Constraint) Query() string { return c.find("") }

// mostRows is how many of the rows in the way are kept with a finding; all are counted.
const mostRows = 1000

// Offenders returns what Query finds: the first thousand, and in Total how many there are. Long values are cut off.
func (c Constraint) Offenders(ctx context.Context, conn *pgx.Conn) (history.Table, error) {
	var found history.Table
	rows, err := conn.Query(ctx, c.Query(), pgx.QueryResultFormats{pgx.TextFormatCode})
	if err != nil {
		return found, err
	}
	defer rows.Close()
	for _, f := range rows.FieldDescriptions() {
		found.Columns = append(found.Columns, f.Name)
	}
	for rows.Next() {
		if found.Total++; found.Total > mostRows {
			continue
		}
		row := make([]*string, len(found.Columns))
		for i, value := range rows.RawValues() {
			if value != nil {
				text := crop(string(value))
				row[i] = &text
			}
		}
		found.Rows = append(found.Rows, row)
	}
	return found, rows.Err()
}

// crop keeps a cell from filling pages.
func crop(text string) string {
	if all := []rune(text); len(all) > 400 {
		return string(all[:399]) + "…"
	}
	return text
}

// find is Query, for the rows alone of which a condition on t holds; empty: all.
func (c Constraint) find(among string) string {
	switch c.Kind {
	case Unique:
		return c.findEqual(among)
	case Exclusion:
		return c.findExcluding(among)
	case ForeignKey:
		return c.findOrphans(among)
	case NotNull:
		return c.findRows(c.Keys[0].SQL+" IS NULL", among)
	default:
		return c.findRows("NOT "+bracketed(c.Where), among)
	}
}

// findEqual groups by the keys.
func (c Constraint) findEqual(among string) string {
	var keys, numbers []string
	for i, k := range c.Keys {
		keys, numbers = append(keys, k.named()), append(numbers, fmt.Sprint(i+1))
	}
	by := strings.Join(numbers, ", ")
	return fmt.Sprintf("SELECT %s, count(*) AS rows, array_agg(%s ORDER BY %s) AS ids\nFROM %s%s\nGROUP BY %s\nHAVING count(*) > 1\nORDER BY %s",
		strings.Join(keys, ", "), tuple(c.ID), strings.Join(c.ID, ", "), c.from("t", among), where(append(c.covered(), among)...), by, by)
}

// findExcluding joins the rows with themselves by the operators. A pair is found once, because the operators are the same both ways.
func (c Constraint) findExcluding(among string) string {
	id := "row_id"
	for slices.ContainsFunc(c.Keys, func(k Key) bool { return k.Name == id }) {
		id += "_"
	}
	claim, show := []string{tuple(c.ID) + " AS " + id}, []string{}
	on := []string{fmt.Sprintf("a.%s < b.%s", id, id)}
	for _, k := range c.Keys {
		claim = append(claim, k.named())
		show = append(show, "a."+k.Name)
		if k.Operator != "=" {
			show = append(show, "b."+k.Name)
		}
		on = append(on, fmt.Sprintf("a.%s %s b.%s", k.Name, k.Operator, k.Name))
	}
	return fmt.Sprintf("WITH claim AS (\n  SELECT %s\n  FROM %s%s\n)\nSELECT %s, 2 AS rows, ARRAY[a.%s, b.%s] AS ids\nFROM claim AS a JOIN claim AS b ON %s\nORDER BY a.%s, b.%s",
		strings.Join(claim, ", "), c.from("t", among), strings.ReplaceAll(where(append(c.covered(), among)...), "\n", "\n  "),
		strings.Join(show, ", "), id, id, strings.Join(on, " AND "), id, id)
}

// findOrphans looks for what is referred to. With MATCH SIMPLE, a NULL refers to nothing and is well; with MATCH FULL, all must be.
func (c Constraint) findOrphans(among string) string {
	var keys, given, equal, numbers []string
	for i, k := range c.Keys {
		keys, numbers = append(keys, "t."+k.SQL), append(numbers, fmt.Sprint(i+1))
		given = append(given, "t."+k.SQL+" IS NOT NULL")
		equal = append(equal, fmt.Sprintf("parent.%s %s t.%s", c.ParentKey[i], k.Operator, k.SQL))
	}
	var ids []string
	for _, id := range c.ID {
		ids = append(ids, "t."+id)
	}
	parent := c.Parent
	if c.parentOnly {
		parent = "ONLY " + parent
	}
	orphan := append(given, fmt.Sprintf("NOT EXISTS (SELECT 1 FROM %s AS parent WHERE %s)", parent, strings.Join(equal, " AND ")))
	if c.MatchFull && len(keys) > 1 {
		orphan = []string{fmt.Sprintf("(%s OR num_nulls(%s) BETWEEN 1 AND %d)", strings.Join(orphan, " AND "), strings.Join(keys, ", "), len(keys)-1)}
	}
	by := strings.Join(numbers, ", ")
	return fmt.Sprintf("SELECT %s, count(*) AS rows, array_agg(%s ORDER BY %s) AS ids\nFROM %s%s\nGROUP BY %s\nORDER BY %s",
		strings.Join(keys, ", "), tuple(ids), strings.Join(ids, ", "), c.from("t", "t"), where(append(orphan, among)...), by, by)
}

// findRows finds rows one by one.
func (c Constraint) findRows(condition, among string) string {
	show := slices.Clone(c.ID)
	for _, name := range c.Reads {
		if !slices.Contains(show, name) {
			show = append(show, name)
		}
	}
	return fmt.Sprintf("SELECT %s\nFROM %s%s\nORDER BY %s", strings.Join(show, ", "), c.from("t", among), where(condition, among), strings.Join(c.ID, ", "))
}

// covered is the condition for being in the index, and for being in the way of anything there.
func (c Constraint) covered() []string {
	var all []string
	if c.Where != "" {
		all = append(all, bracketed(c.Where))
	}
	for _, k := range c.Keys {
		if !c.NullsNotDistinct && (c.Kind == Unique || k.Operator == "=") {
			all = append(all, k.SQL+" IS NOT NULL")
		}
	}
	return all
}

// bracketed is an expression in brackets; PostgreSQL says most with them already.
func bracketed(expr string) string {
	if strings.HasPrefix(expr, "(") && strings.HasSuffix(expr, ")") && balanced(expr[1:len(expr)-1]) {
		return expr
	}
	return "(" + expr + ")"
}

// balanced: no bracket closes before it opens.
func balanced(expr string) bool {
	depth := 0
	for _, r := range literal.ReplaceAllString(expr, "''") {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth < 0 {
			return false
		}
	}
	return depth == 0
}

// from is the table, under another name where somebody refers to that.
func (c Constraint) from(alias, used string) string {
	from := c.Table
	if c.only {
		from = "ONLY " + from
	}
	if used != "" {
		from += " AS " + alias
	}
	return from
}

// named is a key as an output column.
func (k Key) named() string {
	if k.SQL == k.Name {
		return k.SQL
	}
	return k.SQL + " AS " + k.Name
}

func where(conditions ...string) string {
	conditions = slices.DeleteFunc(conditions, func(c string) bool { return c == "" })
	if len(conditions) == 0 {
		return ""
	}
	return "\nWHERE " + strings.Join(conditions, " AND ")
}

// tuple is one value of several columns.
func tuple(columns []string) string {
	if len(columns) == 1 {
		return columns[0]
	}
	return "(" + strings.Join(columns, ", ") + ")"
}
