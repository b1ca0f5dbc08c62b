package plant

import (
	"context"
	"fmt"
	"strings"
)

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
