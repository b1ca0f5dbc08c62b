package plant

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/server"
)

// most is how many changes are tried for each key that is wanted, before it is given up.
const most = 40

// Plant sees to it that so many keys break the constraint, in one transaction, on a connection to a populated database of our own in the state
// before the migration. What breaks it already counts. Rows are changed so that they collide with others or break the rule, and where that
// cannot be, copied; constraints that are there stay unbroken, and triggers fire. It returns how many lines [Constraint.Query] has then, and, where
// these are fewer than were wanted, why.
func (c Constraint) Plant(ctx context.Context, conn *pgx.Conn, keys int) (planted int, why string, err error) {
	_, planted, why, err = c.plant(ctx, conn, keys)
	return planted, why, err
}

// plant is Plant, and says how many lines there were before.
func (c Constraint) plant(ctx context.Context, conn *pgx.Conn, keys int) (there, planted int, why string, err error) {
	if c.period {
		return 0, 0, "could not be planted: foreign keys with PERIOD are not covered", nil
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local datestyle = 'ISO'; set local intervalstyle = 'postgres'; set local timezone = 'UTC'; set constraints all immediate`,
			pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		p := &planter{Constraint: c, tx: tx}
		var refused *pgconn.PgError
		there, err = p.count(ctx, "")
		planted = there
		if errors.As(err, &refused) && !server.IsTrouble(refused) {
			why = fmt.Sprintf("could not be planted: the query for it does not run in the state before: %s %s", refused.Code, refused.Message)
			return nil
		}
		if err != nil || planted >= keys {
			return err
		}
		if err := p.readColumns(ctx); err != nil {
			return err
		}
		if err := p.lift(ctx); err != nil {
			return err
		}
		p.left = most*keys + 400
		for before := -1; planted < keys && planted > before && p.left > 0; { // what is planted may undo what was
			before = planted
			if c.Kind == Unique || c.Kind == Exclusion {
				err = p.collide(ctx, keys-planted)
			} else {
				err = p.spoil(ctx, keys-planted)
			}
			if err != nil {
				return err
			}
			if planted, err = p.count(ctx, ""); err != nil {
				return err
			}
		}
		if err := p.restore(ctx); err != nil {
			return err
		}
		if planted == 0 {
			why = "could not be planted: " + p.reason()
		} else if planted < keys {
			why = fmt.Sprintf("only %d of %d could be planted: %s", planted, keys, p.reason())
		}
		return nil
	})
	if err != nil {
		return 0, 0, "", fmt.Errorf("planting rows that break %s: %w", c, err)
	}
	return there, planted, why, nil
}

// lift takes a constraint away that is there already and NOT VALID: what breaks it is older than it. restore puts it back.
func (p *planter) lift(ctx context.Context) error {
	if p.standing == nil {
		return nil
	}
	_, err := p.tx.Exec(ctx, fmt.Sprintf("alter table %s drop constraint %s", p.Table, p.standing.Name))
	return err
}

func (p *planter) restore(ctx context.Context) error {
	if p.standing == nil {
		return nil
	}
	_, err := p.tx.Exec(ctx, fmt.Sprintf("alter table %s add constraint %s %s", p.Table, p.standing.Name, p.standing.Definition))
	return err
}

// planter is the state of one Plant.
type planter struct {
	Constraint
	tx      pgx.Tx
	all     []column // of the table
	columns []column // that decide, and can be set
	left    int      // changes that may still be tried
	serial  int      // makes values differ from row to row
	refused string   // what the server said to the last one
	best    [2]int   // of the ways to collide, and of the ways to spoil, the one that worked last
}

// place is where a row is.
type place struct {
	table uint32
	row   string
}

func (at place) is(alias string) string {
	return fmt.Sprintf("%s.tableoid = %d and %s.ctid = '%s'", alias, at.table, alias, at.row)
}

func (p *planter) reason() string {
	switch {
	case p.refused != "":
		return p.refused
	case len(p.columns) == 0:
		return "it depends on no column that can be set"
	default:
		return "there are too few rows that could be changed, or no value is known that breaks it"
	}
}

// count counts what breaks the constraint, among some rows.
func (p *planter) count(ctx context.Context, among string) (n int, err error) {
	err = p.tx.QueryRow(ctx, "select count(*) from ("+p.find(among)+") q", pgx.QueryExecModeExec).Scan(&n)
	return n, err
}

func (p *planter) places(ctx context.Context, sql string) ([]place, error) {
	rows, err := p.tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (at place, err error) {
		return at, row.Scan(&at.table, &at.row)
	})
}

// change runs a statement that changes one row, and keeps that if good says so of where the row is then. What the server refuses is no error.
func (p *planter) change(ctx context.Context, sql string, good func(place) (bool, error)) (at place, kept bool, err error) {
	p.left--
	undo := errors.New("taken back")
	err = pgx.BeginFunc(ctx, p.tx, func(savepoint pgx.Tx) error {
		if err := savepoint.QueryRow(ctx, sql+" returning tableoid, ctid::text", pgx.QueryExecModeExec).Scan(&at.table, &at.row); err != nil {
			return err
		}
		kept, err = good(at)
		if err == nil && !kept {
			return undo
		}
		return err
	})
	var refused *pgconn.PgError
	switch {
	case err == nil:
		return at, true, nil
	case errors.Is(err, undo), errors.Is(err, pgx.ErrNoRows):
		return at, false, nil
	case errors.As(err, &refused) && !server.IsTrouble(refused) && refused.Code != "57014":
		p.refused = strings.TrimSpace(refused.Code + " " + refused.Message)
		return at, false, nil
	}
	return at, false, err
}
