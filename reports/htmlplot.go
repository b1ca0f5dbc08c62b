package reports

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"golang.org/x/perf/benchmath"

	"github.com/interlock-pg/interlock/harness/history"
)

// plot is a chart of lines. The page draws it as a picture, and where scripts run, uPlot draws it instead from the same numbers.
type plot struct {
	ID     string     `json:"id"`
	Title  string     `json:"title"`
	X      string     `json:"x"` // the unit
	Y      string     `json:"y"`
	LogY   bool       `json:"log"`
	Ticks  []tick     `json:"ticks,omitempty"` // of x; none: numbers
	Series []plotLine `json:"series"`
	Bands  []band     `json:"bands,omitempty"`
	Note   string     `json:"-"`
}

type plotLine struct {
	Name   string  `json:"name"`
	Points []point `json:"points"`
	Knee   int     `json:"knee"` // the place of a point that is marked; -1: none
}

type (
	point [2]float64
	tick  struct {
		At    float64 `json:"at"`
		Words string  `json:"words"`
	}
	band struct {
		From  float64 `json:"from"`
		To    float64 `json:"to"`
		Words string  `json:"words"`
	}
)

func (p plot) any() bool {
	return slices.ContainsFunc(p.Series, func(l plotLine) bool { return len(l.Points) > 1 })
}

// limit keeps the lines and points that are shown, and says what is left out.
func (p plot) limit() plot {
	p.Series = slices.DeleteFunc(p.Series, func(l plotLine) bool { return len(l.Points) == 0 })
	if more := len(p.Series) - mostLines; more > 0 {
		p.Series = p.Series[:mostLines]
		p.Note = strings.TrimSpace(p.Note + fmt.Sprintf(" The first %d arms; %d more are in the table and the run file.", mostLines, more))
	}
	if more := len(p.Bands) - mostLines; more > 0 {
		p.Bands = p.Bands[:mostLines]
	}
	return p
}

// atKnee says which arms of a ramp are drawn.
const atKnee = " Of each ramp, the step at its knee, or else the last."

// percentilePlot shows how much of the operations of each arm took how long at the most.
func percentilePlot(arms []history.Arm, ramp bool) plot {
	p := plot{
		ID: "plot-latency", Title: "Latency by percentile", X: "of operations are done within", Y: "ms", LogY: true,
		Ticks: []tick{{0.3, "50 %"}, {1, "90 %"}, {2, "99 %"}, {3, "99.9 %"}, {4, "max"}},
		Note:  "The scale of latency is logarithmic.",
	}
	if ramp {
		p.Note += atKnee
	}
	for _, a := range arms {
		line := plotLine{Name: legendName(a, ramp), Knee: -1}
		for i, d := range []history.Duration{a.Latency.P50, a.Latency.P90, a.Latency.P99, a.Latency.P999, a.Latency.Max} {
			if d > 0 {
				line.Points = append(line.Points, point{p.Ticks[i].At, millis(d)})
			}
		}
		p.Series = append(p.Series, line)
	}
	return p.limit()
}

// seriesPlot shows the slices of each arm in the course of the run: their throughput, or their p99.
func seriesPlot(m history.Measurement, ramp, tail bool) plot {
	p := plot{ID: "plot-throughput", Title: "Throughput in the course of the run", X: "s", Y: "operations a second", Note: "A point a turn."}
	if tail {
		p = plot{ID: "plot-p99", Title: "p99 in the course of the run", X: "s", Y: "ms", LogY: true, Note: "A point a turn; the scale of latency is logarithmic."}
	}
	if ramp {
		p.Note += atKnee
	}
	for _, a := range m.Arms {
		line := plotLine{Name: legendName(a, ramp), Knee: -1}
		for _, s := range a.Slices {
			x, y := inSeconds(s.Began)+inSeconds(s.Took)/2, 0.0
			if !tail && s.Took > 0 {
				y = float64(s.Operations) / inSeconds(s.Took)
			}
			if tail {
				if y = millis(s.P99); y <= 0 {
					continue
				}
			}
			line.Points = append(line.Points, point{x, y})
		}
		slices.SortStableFunc(line.Points, func(a, b point) int { return int(math.Copysign(1, a[0]-b[0])) })
		line.Points = thinned(line.Points, tail)
		p.Series = append(p.Series, line)
	}
	for _, o := range m.Outages {
		p.Bands = append(p.Bands, band{inSeconds(o.Began), max(inSeconds(o.Ended), inSeconds(o.Began)), say("outage: %s", o.Why)})
	}
	if len(p.Bands) > 0 {
		p.Note += " Shaded: operations failed for want of a server."
	}
	return p.limit()
}

// thinned returns at most mostPoints points in place of more: of neighbours, the highest or else their mean.
func thinned(all []point, highest bool) []point {
	if len(all) <= mostPoints {
		return all
	}
	var few []point
	for i := range mostPoints {
		some := all[i*len(all)/mostPoints : (i+1)*len(all)/mostPoints]
		one := point{some[len(some)/2][0], 0}
		for _, p := range some {
			if highest {
				one[1] = max(one[1], p[1])
			} else {
				one[1] += p[1] / float64(len(some))
			}
		}
		few = append(few, one)
	}
	return few
}

// rampPlot shows what more clients bring, or how long the slowest wait for it.
func rampPlot(arms []history.Arm, tail bool) plot {
	p := plot{ID: "plot-ramp", Title: "Throughput by clients", X: "clients", Y: "operations a second"}
	if tail {
		p = plot{ID: "plot-ramp-p99", Title: "p99 by clients", X: "clients", Y: "ms", LogY: true}
	}
	for _, a := range arms {
		i := slices.IndexFunc(p.Series, func(l plotLine) bool { return l.Name == armName(a) })
		if i < 0 {
			i = len(p.Series)
			p.Series = append(p.Series, plotLine{Name: armName(a), Knee: -1})
		}
		if a.Knee {
			p.Series[i].Knee = len(p.Series[i].Points)
			p.Note = "Circled: the knee, from which on more clients bring no more."
		}
		y := a.Throughput
		if tail {
			y = max(millis(a.Latency.P99), 1e-3)
		}
		p.Series[i].Points = append(p.Series[i].Points, point{float64(a.Clients), y})
	}
	return p.limit()
}

// plotView is a plot as a picture.
type plotView struct {
	ID, Title, Note, X, Y string
	Width, Height         int
	Lines                 []plotPath
	Bands                 []barView
	XTicks, YTicks        []wordView
	Grid                  []int
	Left, Right, Base     int
	Knees                 bool // in words
}

type plotPath struct {
	N            int // of its colour
	Name, Points string
	Dots         []wordView
	KneeX, KneeY int
	Knee, Dashed bool
}

const (
	plotWide, plotHigh        = 920, 300
	plotLeft, plotTop         = 66, 16
	plotRight, plotBottomRoom = 16, 44
)

// view lays a plot out as a picture.
func (p plot) view() plotView {
	v := plotView{ID: p.ID, Title: p.Title, Note: p.Note, X: p.X, Y: p.Y, Width: plotWide, Height: plotHigh, Left: plotLeft, Right: plotWide - plotRight, Base: plotHigh - plotBottomRoom, Knees: !p.LogY}
	xs, ys := bounds{}, bounds{}
	for _, l := range p.Series {
		for _, at := range l.Points {
			xs.add(at[0])
			ys.add(at[1])
		}
	}
	for _, b := range p.Bands {
		xs.add(b.From)
		xs.add(b.To)
	}
	if !p.LogY {
		ys.add(0)
	}
	scaleY := func(y float64) float64 { return y }
	if p.LogY {
		scaleY = func(y float64) float64 { return math.Log10(max(y, 1e-6)) }
	}
	yTicks := round(ys.low, ys.high)
	if p.LogY {
		yTicks = decades(ys.low, ys.high)
	}
	low, high := scaleY(yTicks[0]), scaleY(yTicks[len(yTicks)-1])
	x := func(at float64) int {
		return plotLeft + int(share(at, xs.low, xs.high)*float64(plotWide-plotLeft-plotRight)+0.5)
	}
	y := func(at float64) int { return v.Base - int(share(scaleY(at), low, high)*float64(v.Base-plotTop)+0.5) }
	for _, at := range yTicks {
		v.YTicks = append(v.YTicks, wordView{X: plotLeft - 8, Y: y(at) + 4, Words: figure(at)})
		v.Grid = append(v.Grid, y(at))
	}
	if p.Ticks != nil {
		for _, t := range p.Ticks {
			v.XTicks = append(v.XTicks, wordView{X: x(t.At), Y: v.Base + 18, Words: t.Words})
		}
	} else {
		for _, at := range round(xs.low, xs.high) {
			if at >= xs.low && at <= xs.high {
				v.XTicks = append(v.XTicks, wordView{X: x(at), Y: v.Base + 18, Words: figure(at)})
			}
		}
	}
	for _, b := range p.Bands {
		v.Bands = append(v.Bands, barView{x(b.From), plotTop, max(2, x(b.To)-x(b.From)), v.Base - plotTop, b.Words})
	}
	for i, l := range p.Series {
		path := plotPath{N: i % 6, Name: l.Name, Dashed: i >= 6}
		var points []string
		for j, at := range l.Points {
			points = append(points, fmt.Sprintf("%d,%d", x(at[0]), y(at[1])))
			if len(l.Points) <= 60 {
				path.Dots = append(path.Dots, wordView{X: x(at[0]), Y: y(at[1]), Words: fmt.Sprintf("%s: %s %s", l.Name, figure(at[1]), p.Y)})
			}
			if j == l.Knee {
				path.Knee, path.KneeX, path.KneeY = true, x(at[0]), y(at[1])
			}
		}
		path.Points = strings.Join(points, " ")
		v.Lines = append(v.Lines, path)
	}
	return v
}

// bounds are the least and the most of some numbers.
type bounds struct {
	low, high float64
	some      bool
}

func (b *bounds) add(v float64) {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
	case !b.some:
		*b = bounds{v, v, true}
	default:
		b.low, b.high = min(b.low, v), max(b.high, v)
	}
}

// share returns where a number is between two others, from 0 to 1.
func share(v, low, high float64) float64 {
	s := (v - low) / (high - low)
	if math.IsNaN(s) {
		return 0.5
	}
	return min(max(s, 0), 1)
}

// round returns about five round numbers that span two others.
func round(low, high float64) []float64 {
	if high <= low || math.IsInf(high-low, 0) {
		return []float64{low, low + 1}
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/4)))
	for _, by := range []float64{2, 2.5, 2} { // 2, 5, 10 times
		if (high-low)/step > 6 {
			step *= by
		}
	}
	var all []float64
	for n := math.Floor(low/step + 1e-9); len(all) < 20; n++ {
		if all = append(all, n*step); n*step >= high-step*1e-9 {
			break
		}
	}
	return all
}

// decades returns 1, 2 and 5 times the powers of ten that span two numbers, or the powers alone where they are many.
func decades(low, high float64) []float64 {
	low, high = max(low, 1e-6), min(max(high, low*1.01, 1e-6), 1e12)
	factors := []float64{1, 2, 5}
	if high/low > 200 {
		factors = []float64{1}
	}
	var all []float64
	for e := math.Floor(math.Log10(low)); len(all) < 60; e++ {
		for _, f := range factors {
			at := f * math.Pow(10, e)
			if all = append(all, at); at >= high {
				for len(all) > 2 && all[1] <= low {
					all = all[1:]
				}
				return all
			}
		}
	}
	return all
}

// figure returns a number in few characters.
func figure(v float64) string {
	if a := math.Abs(v); a >= 1000 && a < 1e12 {
		return thousands(int(math.Round(v)))
	}
	return fmt.Sprintf("%.3g", v)
}

// plotBar is a bar with a whisker.
type plotBar struct {
	Name, Words          string
	Value, Low, High     float64
	Y, Wide, From, Reach int
}

type barsView struct {
	Width, Height, Left, Right int
	Bars                       []plotBar
}

// throughputBar returns the throughput of an arm, with the interval in which the median of its turns lies with 95 % confidence, if they are enough.
func throughputBar(a history.Arm) plotBar {
	b := plotBar{Name: armName(a), Value: a.Throughput, Words: rate(a.Throughput) + " a second"}
	var each []float64
	for _, s := range a.Slices {
		if s.Took > 0 {
			each = append(each, float64(s.Operations)/inSeconds(s.Took))
		}
	}
	sum := benchmath.AssumeNothing.Summary(benchmath.NewSample(each, &benchmath.DefaultThresholds), 0.95)
	if !math.IsInf(sum.Lo, 0) && !math.IsInf(sum.Hi, 0) && len(each) > 1 {
		b.Low, b.High = sum.Lo, sum.Hi
		b.Words += fmt.Sprintf(" (%s to %s)", rate(b.Low), rate(b.High))
	}
	return b
}

func barsOf(all []plotBar) barsView {
	const left, room, high = 270, 400, 30
	v := barsView{Width: left + room + 260, Left: left, Right: left + room + 16, Height: len(all)*high + 8}
	most := 0.0
	for _, b := range all {
		if !math.IsNaN(b.Value) && !math.IsInf(b.Value, 0) {
			most = max(most, b.Value, b.High)
		}
	}
	to := func(x float64) int { return int(share(x, 0, most) * room) }
	for i, b := range all {
		b.Name, b.Y = clip(b.Name, 38), i*high+4
		b.Wide, b.From, b.Reach = max(1, to(b.Value)), left+to(b.Low), left+to(b.High)
		v.Bars = append(v.Bars, b)
	}
	return v
}
