package arena

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
)

// Judge looks at all invariants once nobody runs any more.
func (a *Arena) Judge(ctx context.Context, invariants []race.Invariant, operations []history.Operation) ([]history.Violation, error) {
	if slices.ContainsFunc(invariants, func(inv race.Invariant) bool { return inv.Outcomes }) {
		if err := a.fillOutcomes(ctx, operations); err != nil {
			return nil, err
		}
	}
	var broken []history.Violation
	for _, inv := range invariants {
		rows, err := inv.Offending(ctx, a.Control)
		if err != nil {
			return nil, err
		}
		if len(rows.Rows) > 0 {
			broken = append(broken, history.Violation{Invariant: inv.Name, Moment: history.AtRest, Rows: rows})
		}
	}
	return broken, nil
}

// fillOutcomes puts what the clients were told where invariants read it.
func (a *Arena) fillOutcomes(ctx context.Context, operations []history.Operation) error {
	type row struct {
		Client   string          `json:"client"`
		Number   int             `json:"number"`
		Kind     string          `json:"kind"`
		Slot     *string         `json:"slot"`
		Subject  *string         `json:"subject"`
		Input    json.RawMessage `json:"input,omitempty"`
		Outcome  string          `json:"outcome"`
		RowID    *string         `json:"row_id"`
		SQLState *string         `json:"sqlstate"`
		Message  *string         `json:"message"`
		Attempts int             `json:"attempts"`
		Invoked  int64           `json:"invoked"`
		Returned int64           `json:"returned"`
	}
	rows := make([]row, len(operations))
	for i, op := range operations {
		rows[i] = row{
			op.Client, op.Number, op.Kind, optional(op.Slot), optional(op.Subject), op.Input, op.Outcome, optional(op.Row), optional(op.SQLState),
			optional(op.Message), op.Attempts, time.Duration(op.Invoked).Microseconds(), time.Duration(op.Returned).Microseconds(),
		}
	}
	raw, err := json.Marshal(rows)
	if err != nil {
		return fmt.Errorf("recording outcomes: %w", err)
	}
	batch := &pgx.Batch{}
	batch.Queue(`delete from interlock_outcomes`)
	batch.Queue(`insert into interlock_outcomes select * from json_populate_recordset(null::interlock_outcomes, $1)`, raw)
	if err := a.Control.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("recording outcomes: %w", err)
	}
	return nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
