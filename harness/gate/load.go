package gate

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

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
