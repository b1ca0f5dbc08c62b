package gate

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/sqltext"
)

// load executes a file of SQL as psql would, with the rows of COPY … FROM STDIN in it, in one transaction. Commands of psql that only guard a dump
// are passed over.
func load(ctx context.Context, conn *pgx.Conn, sql string) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		pieces := sqltext.Split(sql)
		for i, s := range pieces {
			var err error
			switch {
			case s.Kind == sqltext.CopyData:
			case s.Kind == sqltext.Command && (strings.HasPrefix(s.Text, `\restrict`) || strings.HasPrefix(s.Text, `\unrestrict`)):
			case s.Kind == sqltext.Command:
				err = fmt.Errorf("%s is a command of psql, not SQL", strings.TrimSpace(s.Text))
			case s.ReadsInput() && i+1 < len(pieces) && pieces[i+1].Kind == sqltext.CopyData:
				rows := strings.TrimSuffix(strings.TrimRight(pieces[i+1].Text, "\r\n"), `\.`)
				_, err = conn.PgConn().CopyFrom(ctx, strings.NewReader(rows), s.Text)
			default:
				_, err = tx.Exec(ctx, s.Text, pgx.QueryExecModeSimpleProtocol)
			}
			if err != nil {
				return fmt.Errorf("line %d: %w", s.Line, err)
			}
		}
		_, err := tx.Exec(ctx, `reset all`) // a dump empties search_path
		return err
	})
}

// mostKeys is how many of the keys that stand in the way are kept.
const mostKeys = 1000

// offenders runs a query that finds rows, and returns them as text.
func offenders(ctx context.Context, conn *pgx.Conn, query string) (history.Table, error) {
	result := conn.PgConn().ExecParams(ctx, query, nil, nil, nil, nil).Read()
	if result.Err != nil {
		return history.Table{}, fmt.Errorf("finding the rows that stand in the way: %w", result.Err)
	}
	found := history.Table{}
	for _, f := range result.FieldDescriptions {
		found.Columns = append(found.Columns, f.Name)
	}
	for _, row := range result.Rows {
		values := make([]*string, len(row))
		for i, v := range row {
			if v != nil {
				text := string(v)
				values[i] = &text
			}
		}
		if len(found.Rows) < mostKeys {
			found.Rows = append(found.Rows, values)
		}
	}
	if len(result.Rows) > mostKeys {
		found.Total = len(result.Rows)
	}
	return found, nil
}
