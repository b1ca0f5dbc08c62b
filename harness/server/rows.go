package server

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Rows returns the rows that the database has beside those of its template as statements that insert them, parents before children, and one that
// sets its sequences, if they are not where the template's are.
func (d *Database) Rows(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	tables, err := listTables(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("listing tables: %w", err)
	}
	saved := map[string]string{}
	for _, t := range d.reset.tables {
		saved[t.name] = t.saved
	}
	var statements []string
	for _, t := range parentsFirst(tables) {
		if strings.HasPrefix(t.name, savedSchema+".") || t.columns == "" {
			continue
		}
		literals := `select concat_ws(', ', ` + t.literals + `) from `
		query := literals + t.name
		if from := saved[t.name]; from != "" {
			query += ` except ` + literals + from
		}
		rows, err := conn.Query(ctx, query+` order by 1`)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", t.name, err)
		}
		values, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", t.name, err)
		}
		for _, v := range values {
			statements = append(statements, fmt.Sprintf("insert into %s (%s) overriding system value values (%s)", t.name, t.columns, v))
		}
	}
	sequences, err := restoreSequences(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("reading sequences: %w", err)
	}
	if slices.Equal(sequences, d.reset.sequences) {
		return statements, nil
	}
	return append(statements, sequences...), nil
}
