package plant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
		if errors.As(err, &refused) && !environmental(refused.Code) {
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
	case errors.As(err, &refused) && !environmental(refused.Code) && refused.Code != "57014":
		p.refused = strings.TrimSpace(refused.Code + " " + refused.Message)
		return at, false, nil
	}
	return at, false, err
}

// collide makes rows the same as others, in all the columns that decide: those of the condition too, so that one row that is in a partial index
// is enough for another.
func (p *planter) collide(ctx context.Context, want int) error {
	alone, err := p.places(ctx, p.alone(2*want+100))
	if err != nil {
		return err
	}
	spare, err := p.places(ctx, fmt.Sprintf("select tableoid, ctid::text from %s%s order by 1, ctid limit %d",
		p.from("", ""), where("("+strings.Join(append(p.covered(), "true"), " AND ")+") is not true"), 2*want+100))
	if err != nil {
		return err
	}
	forms := p.forms()
	for made := 0; made < want && p.left > 0; {
		var model place
		if len(alone) > 0 {
			model, alone = alone[0], alone[1:]
		} else {
			var is bool
			if model, spare, is, err = p.promote(ctx, spare); err != nil || !is {
				return err
			}
		}
		done := false
		for try := 0; try < 3 && !done; try++ {
			var victim place
			switch {
			case len(alone) > 0 && (len(alone) >= want-made || len(spare) == 0):
				victim, alone = alone[len(alone)-1], alone[:len(alone)-1]
			case len(spare) > 0:
				victim, spare = spare[len(spare)-1], spare[:len(spare)-1]
			default:
				try = 3
				continue
			}
			if done, err = p.copyOnto(ctx, model, victim, forms); err != nil {
				return err
			}
		}
		if !done {
			if done, err = p.insertCopy(ctx, model); err != nil {
				return err
			}
		}
		if done {
			made++
		}
	}
	return nil
}

// alone finds rows that collide with no other, one for each key.
func (p *planter) alone(limit int) string {
	if p.Kind == Unique {
		var keys, numbers []string
		for i, k := range p.Keys {
			keys, numbers = append(keys, fmt.Sprintf("%s as k%d", k.SQL, i)), append(numbers, fmt.Sprint(i+1))
		}
		return fmt.Sprintf(`select t, c::text from (select %s, (array_agg(tableoid))[1] as t, (array_agg(ctid))[1] as c from %s%s
			group by %s having count(*) = 1) s order by t, c limit %d`,
			strings.Join(keys, ", "), p.from("", ""), where(p.covered()...), strings.Join(numbers, ", "), limit)
	}
	var named, on []string
	for i, k := range p.Keys {
		named = append(named, fmt.Sprintf("%s as k%d", k.SQL, i))
		on = append(on, fmt.Sprintf("a.k%d %s b.k%d", i, k.Operator, i))
	}
	return fmt.Sprintf(`with claim as (select tableoid as t, ctid as c, %s from %s%s)
		select t, c::text from claim a where not exists (select from claim b where (b.t, b.c) <> (a.t, a.c) and %s) order by t, c limit %d`,
		strings.Join(named, ", "), p.from("", ""), where(p.covered()...), strings.Join(on, " and "), limit)
}

// forms are the ways to make a row like another: expressions over that one as s, by column. The first makes it the same. The others differ in one
// column so little that an expression may not see it, where something else keeps the column unique; or leave alone what must differ.
func (p *planter) forms() [][]string {
	same := make([]string, len(p.columns))
	for i, c := range p.columns {
		same[i] = "s." + c.name
	}
	forms := [][]string{same}
	differ := slices.Clone(same)
	for _, k := range p.Keys {
		if i := slices.IndexFunc(p.columns, func(c column) bool { return c.name == k.SQL }); i >= 0 && k.Operator == "<>" {
			differ[i] = ""
		}
	}
	if !slices.Equal(same, differ) {
		forms = append(forms, differ)
	}
	for i, c := range p.columns {
		for _, nearly := range c.nearly("s." + c.name) {
			form := slices.Clone(same)
			form[i] = nearly
			forms = append(forms, form)
		}
	}
	return forms
}

// copyOnto makes victim collide with model.
func (p *planter) copyOnto(ctx context.Context, model, victim place, forms [][]string) (bool, error) {
	for i := range forms {
		nth := (p.best[0] + i) % len(forms)
		var to, values []string
		for j, value := range forms[nth] {
			if value != "" {
				to, values = append(to, p.columns[j].name), append(values, value)
			}
		}
		if len(to) == 0 || p.left <= 0 {
			continue
		}
		sql := fmt.Sprintf("update %s set (%s) = (select %s from %s where %s) where %s", p.from("t", "t"), strings.Join(to, ", "), strings.Join(values, ", "),
			p.from("s", "s"), model.is("s"), victim.is("t"))
		_, done, err := p.change(ctx, sql, p.collides(ctx, model))
		if err != nil {
			return false, err
		}
		if done {
			p.best[0] = nth
			return true, nil
		}
	}
	return false, nil
}

func (p *planter) collides(ctx context.Context, model place) func(place) (bool, error) {
	return func(at place) (bool, error) {
		n, err := p.count(ctx, fmt.Sprintf("(%s or %s)", at.is("t"), model.is("t")))
		return n > 0, err
	}
}

// insertCopy inserts a copy of a row. What else is unique is left to its default.
func (p *planter) insertCopy(ctx context.Context, model place) (bool, error) {
	var names []string
	for _, c := range p.all {
		if !c.generated && (slices.Contains(p.Reads, c.name) || !c.unique || !c.defaults) {
			names = append(names, c.name)
		}
	}
	list := strings.Join(names, ", ")
	sql := fmt.Sprintf("insert into %s as t (%s) overriding system value select %s from %s where %s", p.Table, list, list, p.from("s", "s"), model.is("s"))
	_, done, err := p.change(ctx, sql, p.collides(ctx, model))
	return done, err
}

// promote has one of the rows that are not in the index get into it.
func (p *planter) promote(ctx context.Context, spare []place) (place, []place, bool, error) {
	var settable []column
	for _, c := range p.columns {
		if mentions(p.Where, c.name) || slices.ContainsFunc(p.Keys, func(k Key) bool { return mentions(k.SQL, c.name) }) {
			settable = append(settable, c)
		}
	}
	for try := 0; try < 3 && len(spare) > 0 && p.left > 0; try++ {
		row := spare[0]
		spare = spare[1:]
		at, done, err := p.set(ctx, row, settable, func(at place) (is bool, err error) {
			err = p.tx.QueryRow(ctx, "select exists (select from "+p.from("t", "t")+where(append(p.covered(), at.is("t"))...)+")", pgx.QueryExecModeExec).Scan(&is)
			if err != nil || !is {
				return false, err
			}
			return true, nil
		})
		if err != nil || done {
			return at, spare, done, err
		}
	}
	return place{}, spare, false, nil
}

// spoil sets columns of rows to values that break the constraint.
func (p *planter) spoil(ctx context.Context, want int) error {
	rows, err := p.places(ctx, fmt.Sprintf("select tableoid, ctid::text from %s order by 1, ctid limit %d", p.from("", ""), 4*want+100))
	if err != nil {
		return err
	}
	futile := 0
	for made := 0; made < want && len(rows) > 0 && p.left > 0 && futile < 3; rows = rows[1:] {
		if n, err := p.count(ctx, rows[0].is("t")); err != nil || n > 0 {
			if err != nil {
				return err
			}
			continue
		}
		_, done, err := p.set(ctx, rows[0], p.columns, func(at place) (bool, error) {
			n, err := p.count(ctx, at.is("t"))
			return n > 0, err
		})
		if err != nil {
			return err
		}
		futile++
		if done {
			made++
			futile = 0
		}
	}
	return nil
}

// set tries values for one column of a row after the other, then for two at once, until good is content.
func (p *planter) set(ctx context.Context, row place, columns []column, good func(place) (bool, error)) (place, bool, error) {
	ways := ways(columns)
	p.serial++
	for i := range ways {
		if p.left <= 0 {
			break
		}
		nth := (p.best[1] + i) % len(ways)
		at, done, err := p.change(ctx, fmt.Sprintf("update %s set %s where %s", p.from("t", "t"), strings.ReplaceAll(ways[nth], "$N", fmt.Sprint(p.serial%10_000)), row.is("t")), good)
		if err != nil {
			return at, false, err
		}
		if done {
			p.best[1] = nth
			return at, true, nil
		}
	}
	return row, false, nil
}

// ways are the assignments to try.
func ways(columns []column) []string {
	var one, two []string
	for i, a := range columns {
		for _, v := range a.values {
			one = append(one, a.name+" = "+v)
			for _, b := range columns[i+1:] {
				for _, w := range b.values {
					two = append(two, a.name+" = "+v+", "+b.name+" = "+w)
				}
			}
		}
	}
	all := append(one, two...)
	return all[:min(len(all), 400)]
}

// environmental: the SQLSTATE is of the server or the machine, and says nothing about the migration.
func environmental(code string) bool {
	return slices.ContainsFunc([]string{"08", "53", "57P", "58", "XX"}, func(class string) bool { return strings.HasPrefix(code, class) })
}
