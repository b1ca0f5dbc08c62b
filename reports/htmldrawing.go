package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// drawing is a picture on which steps are put one below another.
type drawing struct {
	lanesView
	names                    []string
	wide, codeRoom, wordRoom int
	y                        int
	begun, waiting           map[int]int // by client: where its transaction began, where it began to wait
	blockers                 map[int][]string
}

// step draws a step of a client; its number, if it is the first of that number.
func (d *drawing) step(s history.Step, at int, ref string, several, first bool) {
	d.rest(at, d.y)
	if s.Begins && !s.Autocommit {
		d.begun[at] = d.y
	}
	box := boxView{
		X: d.Lanes[at].X + boxInset + 2, Y: d.y, Wide: d.wide - 2*boxInset - 2, Class: boxClass(s), Ref: ref,
		Title: fmt.Sprintf("step %d, %s: %s", s.Number, say("%s", s.Client), cmp.Or(clip(code(s), longest), "goes on")),
	}
	for _, line := range boxLines(s, several, d.codeRoom, d.wordRoom) {
		line.X, line.Y = box.X+12, d.y+lineHigh*(len(box.Lines)+1)+2
		box.Lines = append(box.Lines, line)
	}
	box.High = lineHigh*len(box.Lines) + 13
	if first {
		d.Numbers = append(d.Numbers, wordView{X: gutter - 10, Y: d.y + lineHigh + 2, Words: fmt.Sprint(s.Number)})
	}
	d.Boxes = append(d.Boxes, box)
	if s.Outcome == history.Waiting {
		d.wait(s, at, box)
	}
	d.y += box.High + rowGap
	if ends := s.Kind == "commit" || s.Kind == "rollback"; ends && s.Outcome != history.Waiting && !s.Later() {
		d.end(at, d.y-rowGap)
	}
	if len(s.Broken) > 0 {
		d.Breaks = append(d.Breaks, lineView{d.y + 4, "✗ " + list(s.Broken) + " broken here"})
		d.y += 32
	}
}

// wait begins a wait below the box of the step, with an arrow to each client that it waits for.
func (d *drawing) wait(s history.Step, at int, box boxView) {
	d.waiting[at], d.blockers[at] = d.y+box.High, s.WaitsFor
	for _, name := range s.WaitsFor {
		to := slices.Index(d.names, name)
		if to < 0 || to == at {
			continue
		}
		a := arrowView{From: box.X, To: d.Lanes[to].X + d.wide - boxInset + 2, Y: d.y + box.High - 12, Title: say("%s waits for %s", s.Client, name)}
		if to > at {
			a.From, a.To = box.X+box.Wide, d.Lanes[to].X+boxInset-4
		}
		if s.Lock != "" {
			a.Title += say(": %s", s.Lock)
		}
		d.Arrows = append(d.Arrows, a)
	}
}

// rest ends the client's wait, if it waits.
func (d *drawing) rest(client, to int) {
	from, ok := d.waiting[client]
	if !ok {
		return
	}
	delete(d.waiting, client)
	if to-from > 4 {
		d.Waits = append(d.Waits, barView{
			d.Lanes[client].X + boxInset + 6, from, d.wide - 2*boxInset - 6, to - from, d.Lanes[client].Name + " waits" + waitsFor(d.blockers[client]),
		})
	}
}

// end ends the client's transaction, if it is in one.
func (d *drawing) end(client, to int) {
	if from, ok := d.begun[client]; ok {
		d.Spans = append(d.Spans, barView{d.Lanes[client].X + 3, from, 4, to - from, "a transaction of " + d.Lanes[client].Name})
		delete(d.begun, client)
	}
}

// lanes lays out a lane for each client; where they are too many nothing is drawn.
func (v *lanesView) lanes(names []string, round history.Round) {
	if v.Drawn = len(names) <= mostDrawn && len(names) > 0; !v.Drawn {
		return
	}
	wide, _, words := laneWidth(len(names))
	most := 0
	for i, name := range names {
		lane := laneView{X: gutter + i*wide, Wide: wide, Middle: gutter + i*wide + wide/2, Name: clip(say("%s", name), 24)}
		var asks []string
		for _, op := range round.Operations {
			if op.Client == name {
				asks = append(asks, say("%s", op.Kind)+map[bool]string{true: say(" %s", op.Subject)}[op.Subject != ""])
			}
		}
		for n, line := range clipped(cmp.Or(strings.Join(asks, ", then "), strand(name, names)), words, 2) {
			lane.Asks = append(lane.Asks, wordView{X: lane.X + boxInset + 2, Y: 42 + n*16, Words: line})
		}
		most = max(most, len(lane.Asks))
		v.Lanes = append(v.Lanes, lane)
	}
	v.Width, v.Top = gutter+len(names)*wide+6, 34+most*16
}
