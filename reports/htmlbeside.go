package reports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// besideView is what clients felt while a migration was applied, over the locks that it had meanwhile, on one axis of time.
type besideView struct {
	Title         string
	Width, Height int
	Area          string // of the slowest requests
	Base, Top     int
	Foot          int    // the end of the last row
	Most          string // what Top stands for
	LimitY        int    // of the longest stall that is allowed; 0: above the picture
	Limit         string
	Rows          []besideRow
	Ticks         []wordView
	Left, Right   int
	Note          string
}

// besideRow is one lock; it may have been held several times.
type besideRow struct {
	Y           int
	Name        string
	Held, Waits []barView
}

// mostLocks is how many locks are drawn.
const mostLocks = 12

// besideOf draws one application of a migration.
func besideOf(b history.Beside, limit history.Duration) besideView {
	const left, room, top, tall, high = 60, 830, 20, 110, 40
	v := besideView{Title: "Beside clients at work", Width: left + room + 20, Base: top + tall, Top: top, Left: left, Right: left + room}
	if b.Long {
		v.Title = "The same, with a long transaction open"
	}
	x := func(at float64) int { return left + int(share(at, 0, float64(b.Took))*room+0.5) }
	most := max(slices.Max(b.Slowest), 1)
	v.Most = precise(most)
	y := func(d history.Duration) int { return v.Base - int(float64(d)/float64(most)*tall+0.5) }
	if limit > 0 && limit <= most {
		v.LimitY, v.Limit = y(limit), precise(limit)
	}
	var area strings.Builder
	fmt.Fprintf(&area, "M%d %d", left, v.Base)
	for i, d := range b.Slowest {
		fmt.Fprintf(&area, "V%dH%d", y(max(d, 0)), x(float64(b.Took)/float64(len(b.Slowest))*float64(i+1)))
	}
	fmt.Fprintf(&area, "V%dZ", v.Base)
	v.Area = area.String()
	names := map[string]int{}
	for _, l := range b.Locks {
		name := say("%s on %s", l.Mode, l.Table)
		i, met := names[name]
		if !met {
			if len(v.Rows) == mostLocks {
				v.Note = " Other locks are in the run file."
				continue
			}
			i = len(v.Rows)
			names[name] = i
			v.Rows = append(v.Rows, besideRow{Y: v.Base + 12 + i*high, Name: clip(name, 120)})
		}
		row := &v.Rows[i]
		asked, granted, ended := x(float64(l.Asked)), x(float64(l.Granted)), x(float64(l.Ended))
		if l.Granted > l.Asked {
			row.Waits = append(row.Waits, barView{asked, row.Y + 19, max(2, granted-asked), 11, "waited for " + (l.Granted - l.Asked).Short()})
		}
		if l.Ended > l.Granted {
			row.Held = append(row.Held, barView{granted, row.Y + 19, max(2, ended-granted), 11, "held for " + (l.Ended - l.Granted).Short()})
		}
	}
	v.Foot = v.Base + 12 + len(v.Rows)*high
	v.Height = v.Foot + 24
	for i := range 5 {
		v.Ticks = append(v.Ticks, wordView{X: left + i*room/4, Y: v.Height - 6, Words: precise(b.Took / 4 * history.Duration(i))})
	}
	if b.Usual > 0 {
		v.Note = "Without the migration, the slowest took " + precise(b.Usual) + "." + v.Note
	}
	return v
}
