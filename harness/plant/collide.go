package plant

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

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
