package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// roundOf draws a round whose order of steps is not known: a box for each request, as long as its client waited for the answer. A line stands for
// each request and each answer, in the order of time.
func roundOf(r history.Round, id, label string) lanesView {
	v := lanesView{ID: id, Label: label}
	ops := slices.SortedStableFunc(slices.Values(r.Operations), func(a, b history.Operation) int { return cmp.Compare(a.Invoked, b.Invoked) })
	left := len(ops) - min(len(ops), mostSteps/2)
	ops = ops[:len(ops)-left]
	names := clients(history.Round{Operations: ops})
	v.lanes(names, history.Round{})
	v.Legend = []string{"Times are milliseconds since the clients were released. A box is as long as its client waited for the answer, in events; what stands " +
		"beside each other overlapped."}
	wide, _, room := laneWidth(len(names))

	type event struct {
		at    history.Duration
		op    int
		asked bool
	}
	var events []event
	last := history.Duration(0)
	for _, op := range ops {
		last = max(last, op.Invoked, op.Returned)
	}
	for i, op := range ops {
		returned := op.Returned
		if unanswered(op) {
			returned = last
		}
		events = append(events, event{op.Invoked, i, true}, event{returned, i, false})
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	y := v.Top + rowGap
	began := map[int]int{}
	for _, e := range events {
		op := ops[e.op]
		if !v.Drawn {
			break
		}
		at := slices.Index(names, op.Client)
		x := v.Lanes[at].X + boxInset + 2
		ref := fmt.Sprintf("%s-%d", id, e.op+1)
		v.Numbers = append(v.Numbers, wordView{X: gutter - 4, Y: y + lineHigh, Words: fmt.Sprintf("%.1f", float64(e.at)/1e6)})
		if e.asked {
			b := boxView{X: x, Y: y, Wide: wide - 2*boxInset - 2, Class: "statement", Ref: ref, Title: clip(Describe(op), longest)}
			for _, line := range clipped(asked(op), room, 3) {
				b.Lines = append(b.Lines, wordView{X: x + 12, Y: y + lineHigh*(len(b.Lines)+1) + 2, Words: line, Class: "mark"})
			}
			began[e.op] = len(v.Boxes)
			v.Boxes = append(v.Boxes, b)
			y += lineHigh*len(b.Lines) + 8
			continue
		}
		b := &v.Boxes[began[e.op]]
		lines := clipped(told(op), room, 3)
		for n, line := range lines {
			b.Lines = append(b.Lines, wordView{X: x + 12, Y: y + lineHigh*(n+1), Words: line, Class: "came"})
		}
		if op.SQLState != "" && op.Outcome != "conflict" {
			b.Class = "failed"
		}
		y += lineHigh*len(lines) + 8
		b.High = y - b.Y
		y += rowGap
	}
	for i, op := range ops {
		v.Steps = append(v.Steps, stepView{
			ID: fmt.Sprintf("%s-%d", id, i+1), Number: fmt.Sprint(i + 1), Client: say("%s", op.Client), Tone: "plain", Facts: []string{asked(op)},
			Came: []cellView{{told(op), "plain"}, {strings.TrimPrefix(Describe(op)[strings.LastIndex(Describe(op), ", ")+1:], " "), "plain"}},
		})
	}
	if left > 0 {
		v.Legend = append(v.Legend, fmt.Sprintf("%s operations more are in the run file.", thousands(left)))
	}
	v.Height = y + 2
	return v
}
