package race

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/history"
)

// Invariant is a named SQL query that returns the rows which break it; when it returns none, it holds.
type Invariant struct {
	Name string // short and stable, as "S1"
	Says string // one sentence, as "at most one open session per device"

	// SQL is one query without parameters, safe to run at any moment. Its columns are shown with the offending rows.
	SQL string

	// Outcomes: the query also reads the temporary table interlock_outcomes (see [OutcomesTable]), which is filled when the race is over, so
	// the invariant can be judged at rest only.
	Outcomes bool
}

// OutcomesTable is the temporary table that an invariant with Outcomes set reads: one row an operation, in the order in which they were
// invoked. Times are microseconds since the race began; a client's operations are numbered from 0.
const OutcomesTable = `create temporary table interlock_outcomes (
	client   text not null,
	number   int not null,
	kind     text not null,
	slot     text,
	subject  text,
	input    jsonb,
	outcome  text not null,
	row_id   text,
	sqlstate text,
	message  text,
	attempts int not null,
	invoked  bigint not null,
	returned bigint not null,
	primary key (client, number)
)`

// keptRows is how many offending rows are returned; the rest are counted.
const keptRows = 20

// Offending returns the rows that break the invariant now, as text: the first 20, and their total.
func (inv Invariant) Offending(ctx context.Context, conn *pgx.Conn) (history.Table, error) {
	table, err := inv.offending(ctx, conn)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "0A000" { // feature_not_supported: a plan from before the schema was changed, which is forgotten now
		return inv.offending(ctx, conn)
	}
	return table, err
}

func (inv Invariant) offending(ctx context.Context, conn *pgx.Conn) (history.Table, error) {
	rows, err := conn.Query(ctx, inv.SQL, pgx.QueryResultFormats{pgx.TextFormatCode})
	if err != nil {
		return history.Table{}, fmt.Errorf("invariant %s: %w", inv.Name, err)
	}
	defer rows.Close()
	var table history.Table
	for rows.Next() {
		table.Total++
		if table.Total > keptRows {
			continue
		}
		if table.Columns == nil {
			for _, f := range rows.FieldDescriptions() {
				table.Columns = append(table.Columns, f.Name)
			}
		}
		var row []*string
		for _, value := range rows.RawValues() {
			var cell *string
			if value != nil {
				text := string(value)
				cell = &text
			}
			row = append(row, cell)
		}
		table.Rows = append(table.Rows, row)
	}
	if err := rows.Err(); err != nil {
		return history.Table{}, fmt.Errorf("invariant %s: %w; its SQL must be one query that can run at any moment", inv.Name, err)
	}
	return table, nil
}
