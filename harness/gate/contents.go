package gate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/schema"
)

// contents is what the tables hold, by table.
type contents map[string]table

// table is what one table holds: how many rows, and a fingerprint of each column's values that does not depend on the order of the rows.
type table struct {
	rows    int
	columns map[string]string
}

// take looks at all tables of a database, whose schema is s. Values are read in the type that their column had before, where they can be: then they
// differ only if something is lost.
func take(ctx context.Context, conn *pgx.Conn, s, before schema.Schema) (contents, error) {
	columns := map[string][]schema.Object{}
	for _, o := range s.Objects {
		if o.Kind == schema.Column {
			columns[o.Table] = append(columns[o.Table], o)
		}
	}
	all := contents{}
	for _, o := range s.Objects {
		if o.Kind != schema.Table {
			continue
		}
		t, err := read(ctx, conn, o.Name, columns[o.Name], before)
		if err != nil && !environmental(err) { // there is no cast back
			t, err = read(ctx, conn, o.Name, columns[o.Name], schema.Schema{})
		}
		if err != nil {
			return nil, fmt.Errorf("looking into %s: %w", o.Name, err)
		}
		all[o.Name] = t
	}
	return all, nil
}

func read(ctx context.Context, conn *pgx.Conn, name string, columns []schema.Object, before schema.Schema) (table, error) {
	parts := []string{`count(*)::text`}
	for _, c := range columns {
		value := strings.TrimPrefix(c.Name, name+".")
		if was, known := before.Find(schema.Column, c.Name); known && was.Get("type") != c.Get("type") {
			value += "::" + was.Get("type")
		}
		parts = append(parts, fmt.Sprintf(`coalesce(sum(hashtextextended(%s::text, 0)::numeric), 0)::text || '/' || count(%[1]s)`, value))
	}
	var values []string
	if err := conn.QueryRow(ctx, `select array[`+strings.Join(parts, ", ")+`] from `+name, pgx.QueryExecModeExec).Scan(&values); err != nil {
		return table{}, err
	}
	t := table{columns: map[string]string{}}
	for i, c := range columns {
		t.columns[strings.TrimPrefix(c.Name, name+".")] = values[i+1]
	}
	_, err := fmt.Sscan(values[0], &t.rows)
	return t, err
}

// lost compares the tables and columns that both have: rows that are gone or came, and columns in which values have changed although the rows are
// as many.
func (c contents) lost(after contents) (fewer, more, changed []string) {
	for _, name := range slices.Sorted(maps.Keys(c)) {
		was, is := c[name], after[name]
		_, still := after[name]
		switch {
		case !still:
		case is.rows < was.rows:
			fewer = append(fewer, fmt.Sprintf("%s: %d rows of %d are gone", name, was.rows-is.rows, was.rows))
		case is.rows > was.rows:
			more = append(more, fmt.Sprintf("%s: %d rows more than %d", name, is.rows-was.rows, was.rows))
		default:
			for _, column := range slices.Sorted(maps.Keys(was.columns)) {
				if now, still := is.columns[column]; still && now != was.columns[column] {
					changed = append(changed, name+"."+column)
				}
			}
		}
	}
	return fewer, more, changed
}
