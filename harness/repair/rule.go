package repair

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/history"
)

// Rule says how what breaks one invariant is found and resolved. It changes rows of one table, whose primary key is id, a uuid.
//
// A row is read as four columns of text: the key of what it is about, such as a device; its id; all of it, as to_jsonb prints it; and, as JSON, what
// Resolve needs to know of it.
type Rule struct {
	Invariant string
	Table     string // as SQL names it, as "aedpics.inspection_sessions"

	Find string // one query: the rows that break the invariant, those of one key together
	Lock string // locks what the rows of the keys $1, a text[], have in common, in an order that is the same each time
	Read string // those rows of Find that belong to the keys $1, each locked FOR UPDATE, in an order that is the same each time

	// Set is the SET clause that cancels a row, t; change.note is the text that says why.
	Set string

	// Resolve puts the rows of one key into groups that break the invariant, and decides on each row. Rows that break nothing are in no group.
	// It is a function of the rows alone.
	Resolve func([]Row) ([]Group, error)
}

// Row is one row of a key.
type Row struct {
	ID    string
	Facts json.RawMessage
	Says  string // what it is, for people: for Resolve to fill in
	Note  string // why it is cancelled: for Resolve to fill in

	version string
}

// Group is rows that break the invariant together.
type Group struct {
	Keep, Cancel []Row
	Why          string // what keeps it from being resolved in full; empty: nothing
}

// found is a group with the key it belongs to.
type found struct {
	Group
	key string
}

// read runs Find or Read, and resolves what it returns. An error of taken, which is asked before each row is kept, ends it.
func (r Rule) read(ctx context.Context, tx pgx.Tx, taken func() error, sql string, args ...any) ([]found, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("looking for what breaks %s: %w", r.Invariant, err)
	}
	var keys []string
	of := map[string][]Row{}
	var key, id, whole, facts string
	_, err = pgx.ForEachRow(rows, []any{&key, &id, &whole, &facts}, func() error {
		if err := taken(); err != nil {
			return err
		}
		if _, seen := of[key]; !seen {
			keys = append(keys, key)
		}
		of[key] = append(of[key], Row{ID: id, Facts: json.RawMessage(facts), version: fingerprint(whole)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for what breaks %s: %w", r.Invariant, err)
	}
	var all []found
	for _, key := range keys {
		groups, err := r.Resolve(of[key])
		if err != nil {
			return nil, fmt.Errorf("resolving %s of %s: %w", r.Invariant, key, err)
		}
		for _, g := range groups {
			all = append(all, found{g, key})
		}
	}
	return all, nil
}

func fingerprint(row string) string {
	sum := sha256.Sum256([]byte(row))
	return hex.EncodeToString(sum[:8])
}

// recorded returns a group as it is written to a run file.
func (r Rule) recorded(g found, state history.RepairState) history.RepairGroup {
	return history.RepairGroup{Invariant: r.Invariant, Key: g.key, Keep: recordedRows(g.Keep), Cancel: recordedRows(g.Cancel), State: state, Why: g.Why}
}

func recordedRows(rows []Row) []history.RepairRow {
	out := []history.RepairRow{}
	for _, row := range rows {
		out = append(out, history.RepairRow{ID: row.ID, Says: row.Says, Version: row.version})
	}
	return out
}
