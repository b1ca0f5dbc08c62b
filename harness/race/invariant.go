package race

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/interlock-pg/interlock/harness/history"
)

// Invariant is a named SQL query that returns the rows which break it; when it returns none, it holds.
type Invariant struct {
	Name string // short and stable, as "S1"
	Says string // one sentence, as "at most one open session per device"

	// SQL is one query without parameters, safe to run at any moment. Its columns are shown with the offending rows.
	SQL string

	// Size, First and Last name columns of SQL where each of its rows is a group of rows that break the invariant together: how many they are, and
	// the times of the first and the last of them. Empty: a row is not a group.
	Size, First, Last string

	// Outcomes: the query also reads the temporary table interlock_outcomes (see [OutcomesTable]), which is filled when the race is over, so
	// the invariant can be judged at rest only.
	Outcomes bool

	// Undisturbed: one with Outcomes is not judged where a fault has happened, which breaks it by itself: who loses a connection may be told failed.
	Undisturbed bool
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
	table, _, err := inv.Look(ctx, conn, keptRows)
	return table, err
}

// Look is Offending with so many rows, and with what their groups sum up to; nil, where they are no groups, or nothing breaks the invariant.
func (inv Invariant) Look(ctx context.Context, conn *pgx.Conn, keep int) (history.Table, *history.Groups, error) {
	table, groups, err := inv.look(ctx, conn, keep)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "0A000" { // feature_not_supported: a plan from before the schema was changed, which is forgotten now
		table, groups, err = inv.look(ctx, conn, keep)
	}
	if table.Total == 0 {
		groups = nil
	}
	return table, groups, err
}

func (inv Invariant) look(ctx context.Context, conn *pgx.Conn, keep int) (history.Table, *history.Groups, error) {
	rows, err := conn.Query(ctx, inv.SQL, pgx.QueryResultFormats{pgx.TextFormatCode})
	if err != nil {
		return history.Table{}, nil, fmt.Errorf("invariant %s: %w", inv.Name, err)
	}
	defer rows.Close()
	var table history.Table
	var groups *history.Groups
	if inv.Size != "" {
		groups = &history.Groups{}
	}
	for rows.Next() {
		table.Total++
		if groups != nil {
			if err := inv.sumUp(groups, rows); err != nil {
				return history.Table{}, nil, fmt.Errorf("invariant %s: %w", inv.Name, err)
			}
		}
		if table.Total > keep {
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
		return history.Table{}, nil, fmt.Errorf("invariant %s: %w; its SQL must be one query that can run at any moment", inv.Name, err)
	}
	return table, groups, nil
}

// sumUp adds a group. Times that are infinite or NULL are passed over.
func (inv Invariant) sumUp(groups *history.Groups, rows pgx.Rows) error {
	groups.Total++
	types, values := rows.Conn().TypeMap(), rows.RawValues()
	for i, f := range rows.FieldDescriptions() {
		var size int
		var at pgtype.Timestamptz
		var err error
		switch f.Name {
		case inv.Size:
			err = types.Scan(f.DataTypeOID, f.Format, values[i], &size)
		case inv.First, inv.Last:
			err = types.Scan(f.DataTypeOID, f.Format, values[i], &at)
		}
		if err != nil {
			return fmt.Errorf("column %s: %w", f.Name, err)
		}
		groups.Members += size
		if !at.Valid || at.InfinityModifier != pgtype.Finite {
			continue
		}
		at.Time = at.Time.UTC()
		if f.Name == inv.First && (groups.Oldest == nil || at.Time.Before(*groups.Oldest)) {
			groups.Oldest = &at.Time
		}
		if f.Name == inv.Last && (groups.Newest == nil || at.Time.After(*groups.Newest)) {
			groups.Newest = &at.Time
		}
	}
	return nil
}
