package populate

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Config says what to generate.
type Config struct {
	Rows int      // a table; default 10,000
	Seed int64    // the same seed gives the same rows, in the same schema
	Main []string // the tables that get so many, named as in Table; the others get a hundredth, but 100 at least. Nil: all do
}

// rows is how many a table gets.
func (c Config) rows(table string) int {
	if c.Main == nil || slices.Contains(c.Main, table) {
		return c.Rows
	}
	return min(c.Rows, max(c.Rows/100, 100))
}

// Report says what there is now.
type Report struct {
	Tables []Table `json:"tables"` // in the order in which they were filled
}

// Table is one table. Partitions count as their parent.
type Table struct {
	Name   string `json:"name"` // quoted where it must be, with its schema
	Wanted int    `json:"wanted"`
	Rows   int    `json:"rows"`
	// Reason says why there are not as many rows as were wanted, or what else is not as it should be. Empty: all is well.
	Reason string `json:"reason,omitempty"`
}

// Fill fills all tables of the user's schemas, in one transaction of its own. Tables that have rows already are left as they are: migrations
// brought those, and would miss them in their ledgers. Triggers fire. A table that cannot be filled is no error; the report says why.
// The error says that nothing was done.
func Fill(ctx context.Context, conn *pgx.Conn, config Config) (Report, error) {
	if config.Rows <= 0 {
		config.Rows = 10_000
	}
	var report Report
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local timezone = 'UTC'; set local datestyle = 'ISO'; set local intervalstyle = 'postgres';
			set local extra_float_digits = 1; set local client_min_messages = warning; set local jit = off; set local work_mem = '64MB';
			set local standard_conforming_strings = on; set local max_parallel_workers_per_gather = 0`); err != nil {
			return err
		}
		f := &filler{config: config, db: session{tx}, keys: map[string]source{}}
		if err := f.read(ctx); err != nil {
			return fmt.Errorf("reading the catalog: %w", err)
		}
		for _, t := range f.order() {
			if err := f.fill(ctx, t); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
		for _, r := range f.postponed {
			if err := f.connect(ctx, r); err != nil {
				return fmt.Errorf("%s: %w", r.child.name, err)
			}
		}
		for _, t := range f.done {
			one := Table{Name: t.name, Wanted: config.rows(t.name)}
			if err := f.db.scan(ctx, `select count(*) from `+t.rows, &one.Rows); err != nil {
				return fmt.Errorf("counting %s: %w", t.name, err)
			}
			one.Reason = t.reason(one.Rows)
			report.Tables = append(report.Tables, one)
		}
		return nil
	})
	if err != nil {
		return Report{}, fmt.Errorf("filling %s: %w", conn.Config().Database, err)
	}
	return report, nil
}

// filler is the state of one Fill.
type filler struct {
	config    Config
	db        session
	types     map[uint32]*kind
	tables    []*table
	done      []*table
	keys      map[string]source // of what is referred to, by table and columns
	postponed []*reference
	temporary int // tables so far
}

// session is a transaction in which a statement may fail and be forgotten.
type session struct{ tx pgx.Tx }

// try runs a statement, and takes it back if it fails.
func (s session) try(ctx context.Context, sql string) (rows int, err error) {
	err = pgx.BeginFunc(ctx, s.tx, func(savepoint pgx.Tx) error {
		tag, err := savepoint.Exec(ctx, sql)
		rows = int(tag.RowsAffected())
		return err
	})
	return rows, err
}

// scan reads the first row of a query, which it takes back if it fails.
func (s session) scan(ctx context.Context, sql string, into ...any) error {
	return pgx.BeginFunc(ctx, s.tx, func(savepoint pgx.Tx) error {
		return savepoint.QueryRow(ctx, sql, pgx.QueryExecModeExec).Scan(into...)
	})
}
