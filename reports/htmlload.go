package reports

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
)

// What a page shows of a measurement; the run file has all of it.
const (
	mostArms   = 200 // in tables
	mostLines  = 12  // in a chart
	mostPoints = 300 // of one line
)

// percent returns by how much a ratio is more or less than one, with its interval.
func percent(r history.Ratio) string {
	one := func(v float64) string {
		switch p := (v - 1) * 100; {
		case math.IsNaN(p) || math.IsInf(p, 0) || math.Abs(p) >= 1e6:
			return "?"
		case math.Round(p) < 0:
			return fmt.Sprintf("−%.0f", -p)
		default:
			return fmt.Sprintf("+%.0f", math.Abs(p))
		}
	}
	return one(r.Value) + nbsp + "% (" + one(r.Low) + nbsp + "to" + nbsp + one(r.High) + nbsp + "%)"
}

// load returns the section on what was measured.
func (p *pageMaker) load() (section, error) {
	s := section{ID: "load", Title: "Load"}
	m := p.run.Load
	if m == nil {
		return s, nil
	}
	ramp := slices.ContainsFunc(m.Arms, func(a history.Arm) bool { return a.Clients != m.Arms[0].Clients })
	if _, err := p.add(&s, "grid", armTable(*m, ramp)); err != nil {
		return s, err
	}
	shown := *m
	plots := []plot{}
	if ramp {
		plots = append(plots, rampPlot(m.Arms, false), rampPlot(m.Arms, true))
		shown.Arms = kneesOf(m.Arms)
	} else if len(m.Arms) > 0 {
		var bars []plotBar
		for _, a := range m.Arms[:min(len(m.Arms), 40)] {
			bars = append(bars, throughputBar(a))
		}
		if _, err := p.add(&s, "bars", barsOf(bars)); err != nil {
			return s, err
		}
	}
	plots = append(plots, percentilePlot(shown.Arms, ramp), seriesPlot(shown, ramp, false), seriesPlot(shown, ramp, true))
	for _, one := range plots {
		if !one.any() {
			continue
		}
		if _, err := p.add(&s, "plot", one.view()); err != nil {
			return s, err
		}
		p.plots = append(p.plots, one)
	}
	for _, t := range besides(*m) {
		if _, err := p.add(&s, "grid", gridOf(t)); err != nil {
			return s, err
		}
	}
	for _, f := range loadFolds(*m, ramp) {
		if len(f.rows) == 0 {
			continue
		}
		title := f.caption
		f.caption = ""
		if err := p.fold(&s, title, "grid", gridOf(f)); err != nil {
			return s, err
		}
	}
	s.After = p.story.legend
	return s, nil
}

func armTable(m history.Measurement, ramp bool) gridView {
	g := gridView{Caption: "What each costs", Head: []string{
		"arm", "invariants", "latency, against the base", "throughput a second, against the base", "mean", "p50", "p90", "p99", "p99.9", "max",
	}}
	if ramp {
		g.Head[0] = "clients"
	}
	notes := []string{"In brackets: the interval in which the difference lies with 95 % confidence, from the turns that the arms took one after another."}
	ratio := func(a history.Arm, r *history.Ratio) cellView {
		switch {
		case a.Base:
			return cellView{Words: "the base"}
		case r == nil:
			return cellView{Words: "too few turns to say"}
		}
		return cellView{Words: percent(*r)}
	}
	for i, a := range m.Arms[:min(len(m.Arms), mostArms)] {
		name := armName(a) + says(a.Says)
		if i == 0 || ramp && name != g.Groups[len(g.Groups)-1].Title {
			g.Groups = append(g.Groups, groupView{Title: map[bool]string{true: name}[ramp]})
		}
		if ramp {
			name = fmt.Sprint(a.Clients)
			if a.Knee {
				name += " – the knee"
			}
		}
		l, it := a.Latency, measured(a, m)
		row := []cellView{{Words: name}, {Words: it.brief, Tone: it.tone.class()}, ratio(a, a.Cost), {Words: rate(a.Throughput)}}
		if !a.Base && a.Speed != nil {
			row[3].Words += "\n" + percent(*a.Speed)
		}
		for _, d := range []history.Duration{l.Mean, l.P50, l.P90, l.P99, l.P999, l.Max} {
			row = append(row, cellView{Words: precise(d)})
		}
		group := &g.Groups[len(g.Groups)-1]
		group.Rows = append(group.Rows, row)
	}
	if more := len(m.Arms) - mostArms; more > 0 {
		notes = append(notes, fmt.Sprintf("%d arms more are in the run file.", more))
	}
	g.Groups = append(g.Groups, groupView{Notes: notes})
	return g
}

// rate returns so many a second.
func rate(perSecond float64) string {
	if perSecond >= 100 && perSecond < 1e12 {
		return thousands(int(perSecond + 0.5))
	}
	return fmt.Sprintf("%.3g", perSecond)
}

// kneesOf returns one arm of each ramp: its knee, or else its last.
func kneesOf(arms []history.Arm) (few []history.Arm) {
	for _, a := range arms {
		i := slices.IndexFunc(few, func(b history.Arm) bool { return armName(a) == armName(b) })
		switch {
		case i < 0:
			few = append(few, a)
		case !few[i].Knee:
			few[i] = a
		}
	}
	return few
}

// loadFolds returns the long tables.
func loadFolds(m history.Measurement, ramp bool) []table {
	kinds := table{caption: "Operations by kind and outcome", head: []string{"arm", "operation", "told", "count", "mean", "p50", "p99", "max"}}
	errors := table{caption: "Errors and retries", head: []string{"arm", "retries", "errors by SQLSTATE or kind"}}
	server := table{caption: "What the server says", head: []string{"arm", "commits", "rollbacks", "deadlocks", "WAL an operation", "temporary files", "found in buffers", "sessions were seen at"}}
	grown := table{caption: "Tables and indexes that grew", head: []string{"arm", "relation", "before", "after", "dead rows"}}
	for i, a := range m.Arms {
		if i == mostArms {
			for _, t := range []*table{&kinds, &errors, &server} {
				t.notes = []string{fmt.Sprintf("and of %d arms more, in the run file", len(m.Arms)-i)}
			}
			break
		}
		name := legendName(a, ramp)
		for _, k := range a.Kinds {
			kinds.rows = append(kinds.rows, []text{
				{words: name},
				{words: say("%s", k.Kind)},
				{words: say("%s", k.Outcome)},
				{words: thousands(k.Count)},
				{words: precise(k.Latency.Mean)},
				{words: precise(k.Latency.P50)},
				{words: precise(k.Latency.P99)},
				{words: precise(k.Latency.Max)},
			})
		}
		var kindsOf []string
		for kind, n := range a.Errors {
			kindsOf = append(kindsOf, thousands(n)+say(" × %s", kind))
		}
		slices.Sort(kindsOf)
		if a.Retries > 0 || kindsOf != nil {
			errors.rows = append(errors.rows, []text{{words: name}, {words: thousands(a.Retries)}, {words: cmp.Or(strings.Join(kindsOf, ", "), "none")}})
		}
		db := a.Database
		var waits []string
		for _, w := range db.Waits[:min(len(db.Waits), 4)] {
			what := say("%s", cmp.Or(w.Type, "on the processor"))
			if w.Event != "" {
				what += say(" %s", w.Event)
			}
			waits = append(waits, fmt.Sprintf("%s %.0f%s%%", what, w.Share*100, nbsp))
		}
		wal, hit := "–", "–"
		if a.Operations > 0 {
			wal = size(db.WALBytes / int64(a.Operations))
		}
		if all := db.BlocksHit + db.BlocksRead; all > 0 {
			hit = fmt.Sprintf("%.1f%s%%", float64(db.BlocksHit)/float64(all)*100, nbsp)
		}
		server.rows = append(server.rows, []text{
			{words: name},
			{words: thousands(int(db.Commits))},
			{words: thousands(int(db.Rollbacks))},
			{words: thousands(int(db.Deadlocks))},
			{words: wal},
			{words: thousands(int(db.TempFiles))},
			{words: hit},
			{words: cmp.Or(strings.Join(waits, ", "), "–")},
		})
		for _, r := range db.Relations[:min(len(db.Relations), mostRows)] {
			dead := "–"
			if !r.Index {
				dead = thousands(int(r.Dead))
			}
			grown.rows = append(grown.rows, []text{{words: name}, {words: say("%s", r.Name)}, {words: size(r.Before)}, {words: size(r.After)}, {words: dead}})
		}
	}
	return []table{kinds, errors, server, grown}
}

// inSeconds returns a time as a number for a chart.
func inSeconds(d history.Duration) float64 { return time.Duration(d).Seconds() }

// millis is the same in milliseconds.
func millis(d history.Duration) float64 { return float64(d) / 1e6 }

// precise returns a latency to three figures.
func precise(d history.Duration) string {
	if v := millis(d); v < 1000 {
		return fmt.Sprintf("%.3g", v) + nbsp + "ms"
	}
	return strings.ReplaceAll(d.Short(), " ", nbsp)
}
