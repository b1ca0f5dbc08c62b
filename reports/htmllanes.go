package reports

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/reproduce/literal"
)

// What a page shows of one interleaving; the run file has all of it.
const (
	mostSteps   = 240 // half of them from its beginning, half from its end
	mostDrawn   = 24  // clients
	longestCode = 4000
)

// lanesView is a picture of what clients did, from top to bottom, a lane for each, and the same as a list.
type lanesView struct {
	ID, Label     string
	Width, Height int
	Top           int // where the lanes begin
	Lanes         []laneView
	Numbers       []wordView
	Spans         []barView // transactions
	Boxes         []boxView
	Waits         []barView
	Arrows        []arrowView
	Breaks        []lineView
	Gaps          []lineView
	Legend        []string
	Steps         []stepView
	Drawn         bool
}

type laneView struct {
	X, Wide, Middle int
	Name            string
	Asks            []wordView
}

type wordView struct {
	X, Y  int
	Words string
	Class string
}

type boxView struct {
	X, Y, Wide, High int
	Class, Ref       string
	Title            string
	Lines            []wordView
}

type barView struct {
	X, Y, Wide, High int
	Title            string
}

type arrowView struct {
	From, To, Y int
	Title       string
}

type lineView struct {
	Y     int
	Words string
}

// stepView is one step in words.
type stepView struct {
	ID, Number, Client, Tone string
	Code                     string // as it was sent
	Parameters               []string
	Facts                    []string
	Came                     []cellView
	Returned                 *gridView
}

const (
	gutter   = 38
	boxInset = 10
	lineHigh = 17
	rowGap   = 9
)

// laneWidth returns how wide a lane is, and how many columns of code and of words fit into a box of it.
func laneWidth(clients int) (wide, code, words int) {
	switch {
	case clients <= 1:
		wide = 320
	case clients == 2:
		wide = 232
	case clients == 3:
		wide = 230
	default:
		wide = 206
	}
	room := wide - 2*boxInset - 24
	return wide, room * 10 / 75, room * 10 / 72
}

// shownSteps returns the steps that are shown, and how many are left out between the first half of them and the second.
func shownSteps(all []history.Step) (steps []history.Step, head, left int) {
	if len(all) <= mostSteps {
		return all, len(all), 0
	}
	half := mostSteps / 2
	return slices.Concat(all[:half], all[len(all)-half:]), half, len(all) - mostSteps
}

// lanesOf draws an interleaving. Parts is the release at which it parts from another; 0: from none.
func lanesOf(in history.Interleaving, round history.Round, id, label string, parts int) lanesView {
	names := slices.Clone(in.Clients)
	operations := map[string]int{}
	for _, s := range in.Steps {
		if !slices.Contains(names, s.Client) && len(names) <= mostDrawn {
			names = append(names, s.Client)
		}
		operations[s.Client] += len(s.Told)
	}
	d := drawing{lanesView: lanesView{ID: id, Label: label}, names: names, begun: map[int]int{}, waiting: map[int]int{}, blockers: map[int][]string{}}
	d.lanes(names, round)
	if levels := levelsOf(in); slices.Contains(levels, "") || slices.Contains(levels, "read committed") {
		d.Legend = append(d.Legend, "At READ COMMITTED each statement has a snapshot of its own.")
	}
	d.wide, d.codeRoom, d.wordRoom = laneWidth(len(names))
	d.y = d.Top + rowGap
	steps, head, left := shownSteps(in.Steps)
	last := 0
	for i, s := range steps {
		if i == head && left > 0 {
			words := fmt.Sprintf("… %s steps more, in the run file", thousands(left))
			d.Gaps = append(d.Gaps, lineView{d.y + 12, words})
			d.Steps = append(d.Steps, stepView{Tone: "plain", Came: []cellView{{Words: words, Tone: "plain"}}})
			d.y += 30
		}
		if parts > 0 && s.Number >= parts && last < parts {
			d.Gaps = append(d.Gaps, lineView{d.y + 10, "the orders part here"})
			d.y += 26
		}
		ref := fmt.Sprintf("%s-%d", id, i+1)
		several := operations[s.Client] > 1
		d.Steps = append(d.Steps, describeStep(s, ref, several))
		if at := slices.Index(names, s.Client); d.Drawn && at >= 0 {
			d.step(s, at, ref, several, s.Number != last)
			last = s.Number
		}
	}
	for client := range d.Lanes {
		d.rest(client, d.y-rowGap)
		d.end(client, d.y-rowGap)
	}
	slices.SortFunc(d.Spans, func(a, b barView) int { return cmp.Or(cmp.Compare(a.Y, b.Y), cmp.Compare(a.X, b.X)) })
	d.Height = d.y + 2
	return d.lanesView
}

// clipped returns s as at most so many lines.
func clipped(s string, room, most int) []string {
	if s == "" {
		return nil
	}
	all := wrap(s, room)
	if len(all) > most {
		all = all[:most]
		all[most-1] = clip(all[most-1]+" …", room)
		if !strings.HasSuffix(all[most-1], "…") {
			all[most-1] += "…"
		}
	}
	return all
}

func waitsFor(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " for " + list(names)
}

func levelsOf(in history.Interleaving) (all []string) {
	for _, s := range in.Steps {
		if !slices.Contains(all, s.Isolation) {
			all = append(all, s.Isolation)
		}
	}
	return all
}

func boxClass(s history.Step) string {
	switch {
	case s.Outcome == history.Waiting:
		return "waits"
	case s.Outcome == history.Refused, s.Fault != "":
		return "failed"
	case s.Kind == "commit" && s.Tag != "ROLLBACK":
		return "commit"
	case s.Kind == "commit", s.Kind == "rollback":
		return "rollback"
	}
	return "statement"
}

// boxLines returns what stands in the box of a step.
func boxLines(s history.Step, several bool, codeRoom, wordRoom int) (all []wordView) {
	if s.Begins && !s.Autocommit {
		words := begin("")
		if s.Isolation != "" {
			words += " · " + strings.ToUpper(say("%s", s.Isolation))
		}
		marks := clipped(words, wordRoom*9/10, 2)
		if s.Isolation == "repeatable read" || s.Isolation == "serializable" {
			marks = append(marks, "◉ snapshot taken here")
		}
		for _, mark := range marks {
			all = append(all, wordView{Words: mark, Class: "mark"})
		}
	}
	for _, passed := range s.Passed {
		if !begins.MatchString(passed) {
			all = append(all, wordView{Words: clip(brief(passed), codeRoom), Class: "code"})
		}
	}
	if words := briefStep(s); words != "" {
		for _, line := range clipped(words, codeRoom, 2) {
			all = append(all, wordView{Words: line, Class: "code"})
		}
	}
	for _, c := range came(s, several) {
		if c.tone == bad {
			continue // a line across all lanes says it
		}
		class := "came"
		if s.Outcome != history.Answered {
			class = "came strong"
		}
		for _, line := range clipped(c.words, wordRoom, 3) {
			all = append(all, wordView{Words: line, Class: class})
		}
	}
	if all == nil {
		all = []wordView{{Words: "–", Class: "came"}}
	}
	return all
}

// briefStep returns the step in a few words.
func briefStep(s history.Step) string {
	switch {
	case s.Resumed, s.Kind == "commit" && s.Autocommit:
		return ""
	case s.Kind != "statement":
		return strings.ToUpper(say("%s", s.Kind))
	}
	return brief(s.SQL)
}

var verbs = regexp.MustCompile(`(?is)^(select|insert into|update|delete from|merge into)\b(?:.*?\bfrom\b)?\s*(?:only\s+)?("?[\w."]+"?)?`)

var locking = regexp.MustCompile(`(?i)\bfor (no key update|update|key share|share)\b`)

// brief returns a statement as its verb and its table; what is none of the usual ones is returned as it is.
func brief(sql string) string {
	one := strings.Join(strings.Fields(clean(clip(literal.Squeeze(sql), longestCode))), " ")
	found := verbs.FindStringSubmatch(one)
	if found == nil || found[2] == "" || strings.EqualFold(found[1], "select") && !strings.Contains(strings.ToLower(found[0]), "from") {
		return one
	}
	table := found[2]
	if i := strings.LastIndexByte(table, '.'); i >= 0 {
		table = table[i+1:]
	}
	verb := strings.ToUpper(found[1])
	if verb == "SELECT" {
		verb = "SELECT … FROM"
	}
	if lock := locking.FindString(one); lock != "" && verb == "SELECT … FROM" {
		return verb + " " + table + " " + strings.ToUpper(lock)
	}
	return verb + " " + table
}

// describeStep returns a step in words, with all of its SQL.
func describeStep(s history.Step, ref string, several bool) stepView {
	v := stepView{ID: ref, Number: fmt.Sprint(s.Number), Client: say("%s", s.Client), Tone: "plain"}
	v.Code = clip(strings.Join(script(outdented(s.SQL)), "\n"), longestCode)
	if s.Resumed {
		v.Code = ""
	}
	if v.Code == "" && !s.Resumed && s.Kind != "statement" {
		v.Code = strings.ToUpper(say("%s", s.Kind))
	}
	for i := range s.Parameters {
		line := fmt.Sprintf("$%d = %s", i+1, parameter(s, i))
		if i < len(s.Types) && s.Types[i] != "" {
			line += say(" (%s)", s.Types[i])
		}
		if v.Parameters = append(v.Parameters, line); len(v.Parameters) == 100 && len(s.Parameters) > 100 {
			v.Parameters = append(v.Parameters, fmt.Sprintf("… and %d more, in the run file", len(s.Parameters)-100))
			break
		}
	}
	if s.Begins && !s.Autocommit {
		v.Facts = append(v.Facts, begin(s.Isolation)+" before it")
	}
	if s.Autocommit {
		v.Facts = append(v.Facts, "outside a transaction: it commits by itself")
	}
	for _, passed := range s.Passed {
		if !begins.MatchString(passed) {
			v.Facts = append(v.Facts, say("%s before it", literal.Squeeze(passed)))
		}
	}
	for _, c := range came(s, several) {
		v.Came = append(v.Came, cellView{c.words, c.tone.class()})
		if c.tone == bad {
			v.Tone = "bad"
		}
	}
	if s.Tag != "" {
		v.Facts = append(v.Facts, say("tag %s", s.Tag))
	}
	if s.Returned != nil && len(s.Returned.Rows) > 0 && len(s.Returned.Columns) > 0 && !strings.Contains(returned(s), ": ") { // else it is said already
		t := rows("", *s.Returned)
		t.caption = "returned"
		if more := s.Rows - int64(len(t.rows)); more > 0 {
			t.caption += fmt.Sprintf(", the first %d of %d rows", len(t.rows), s.Rows)
		}
		g := gridOf(t)
		v.Returned = &g
	}
	return v
}

// outdented returns code without the indent that all its further lines have.
func outdented(sql string) string {
	lines := strings.Split(strings.ReplaceAll(strings.Trim(sql, "\n"), "\t", "  "), "\n")
	least := -1
	for i, line := range lines {
		if bare := strings.TrimLeft(line, " "); bare != "" && (i > 0 || len(line) > len(bare)) && (least < 0 || len(line)-len(bare) < least) {
			least = len(line) - len(bare)
		}
	}
	for i, line := range lines {
		n := min(max(least, 0), len(line)-len(strings.TrimLeft(line, " ")))
		lines[i] = line[n:]
	}
	return strings.Join(lines, "\n")
}
