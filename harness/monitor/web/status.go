package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
)

// statusView is the status page.
type statusView struct {
	frame
	Headline string
	Notes    []noteView
	Facts    [][2]string
	Watches  []watchView
	Indexes  tableView
	NoIndex  string // why there are none
	Health   [][2]string
	Who      string // the name of the session's token; empty: there is no session
	State    string // the versions of what is shown, for the script
}

type noteView struct{ Tone, Mark, Name, Says string }

// watchView is the section of one watch.
type watchView struct {
	ID, Title, Tone, Mark, Word string
	Says                        string
	Table                       *tableView // nil: no group breaks it
	Address                     string
	Rest                        string // the groups that are not shown; empty: all are
	All                         string // which of them are at the address
}

type tableView struct {
	Caption string
	Head    []string
	Rows    [][]cellView
}

type cellView struct {
	Words, Tone string
	Small       string // below the words
	Code        bool
	Class       string // whole: it is not broken into lines; wide: it is long
}

// Of the groups of a watch on the page.
const (
	mostShown   = 100
	mostColumns = 6 // of what else the look found out
	mostWords   = 400
)

func (s *Site) status(q *request) statusView {
	var results []monitor.Result
	for _, w := range s.watches {
		results = append(results, s.result(q.Context(), w, latest, 2*time.Second))
	}
	h := s.config.Source.Health()
	verdict := history.Held
	for _, r := range results {
		verdict = history.Worst(verdict, r.Verdict)
	}
	if len(results) == 0 {
		verdict = history.Unknown
	}
	headline := s.headline(results, verdict)
	if verdict == history.Held && !h.Ready { // that was then
		verdict, headline = history.Unknown, s.stale(results, headline)
	}
	v := statusView{frame: s.frame("Interlock: "+headline, toneOf(verdict)), Headline: headline, Facts: s.facts(results, h), Health: s.health(h)}
	v.Script = s.page.script
	if q.who.session {
		v.Who = q.who.name
	}
	var versions []string
	for _, r := range results {
		mark, word := stamp(toneOf(r.Verdict))
		versions = append(versions, fmt.Sprintf("%s:%d", r.Watch.Name, r.Version))
		v.Notes = append(v.Notes, noteView{toneOf(r.Verdict), mark, r.Watch.Invariant, s.note(r)})
		v.Watches = append(v.Watches, watchView{
			ID: r.Watch.Name, Title: r.Watch.Invariant + ": " + r.Watch.Says, Tone: toneOf(r.Verdict), Mark: mark, Word: word,
			Says: s.found(r), Table: groupsTable(r), Address: "api/monitoring/" + r.Watch.Name, Rest: rest(r),
			All: yes(r.Total > len(r.Groups), "all that are kept", "all of them"),
		})
	}
	v.State = strings.Join(versions, " ")
	ctx, cancel := context.WithTimeout(q.Context(), 2*time.Second)
	defer cancel()
	indexes, _, err := s.config.Source.Indexes(ctx, indexesFresh)
	if err != nil {
		v.NoIndex = "The indexes could not be looked at: " + s.why(err.Error(), "") + "."
	}
	v.Indexes = indexTable(indexes)
	return v
}

// headline is the answer in one sentence.
func (s *Site) headline(results []monitor.Result, verdict history.Verdict) string {
	var parts []string
	switch verdict {
	case history.Violated:
		for _, r := range results {
			if r.Verdict != history.Violated {
				continue
			}
			breaks := " groups break "
			if r.Total == 1 {
				breaks = " group breaks "
			}
			part := figures(int64(r.Total)) + breaks + r.Watch.Invariant
			if first := firstSeen(r.Groups); !first.IsZero() {
				part += " since " + first.UTC().Format("2006-01-02 15:04") + " UTC"
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, "; ") + "."
	case history.Unknown:
		if len(results) == 0 {
			return "Nothing is watched."
		}
		for _, r := range results {
			if r.Verdict == history.Unknown {
				parts = append(parts, r.Watch.Invariant)
			}
		}
		hold := " holds"
		if len(parts) > 1 {
			hold = " hold"
		}
		return "It is not known whether " + list(parts) + hold + "."
	}
	for _, r := range results {
		parts = append(parts, r.Watch.Invariant)
	}
	if len(parts) == 1 {
		return parts[0] + " holds: no group breaks it."
	}
	return list(parts) + " hold: no group breaks them."
}

// stale is the answer where all held when it was looked at, but that is too long ago.
func (s *Site) stale(results []monitor.Result, headline string) string {
	return "It is not known how it is now. At " + spoken(oldest(results)) + ": " + headline
}

// oldest is when the look began that is the longest ago. Zero: one has not succeeded yet.
func oldest(results []monitor.Result) (checked time.Time) {
	for i, r := range results {
		if i == 0 || r.Checked.Before(checked) {
			checked = r.Checked
		}
	}
	return checked
}

// list joins words as a sentence does.
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// found says of one watch what was found, where it says already what it watches.
func (s *Site) found(r monitor.Result) string {
	switch {
	case r.Verdict == history.Held:
		return "No group breaks it." + whole(r)
	case r.Verdict == history.Violated:
		return broken(r) + " it" + since(r) + "." + left(r) + whole(r)
	case r.Total > 0:
		return "It is not known: " + s.why(r.Why, "") + ". When it last was, " + broken(r) + " it" + since(r) + "." + left(r)
	}
	return "It is not known: " + s.why(r.Why, "") + "."
}

// whole says how old that is what the latest look was not at. Empty: it was at everything.
func whole(r monitor.Result) string {
	switch {
	case !r.Partial:
		return ""
	case r.Whole.IsZero():
		return " Not everything was looked at yet."
	}
	return " The latest look was at a part; everything was looked at since " + spoken(r.Whole) + "."
}

// note says of one watch what it watches and how it is.
func (s *Site) note(r monitor.Result) string {
	says := r.Watch.Says
	switch r.Verdict {
	case history.Held:
		return says + ", and that is so"
	case history.Violated:
		return says + ", but " + broken(r) + " it"
	}
	return says + ": not known, " + s.why(r.Why, "")
}

// facts are the few things to know beside the answer.
func (s *Site) facts(results []monitor.Result, h monitor.Health) [][2]string {
	checked, took := oldest(results), time.Duration(0)
	for _, r := range results {
		took += r.Took
	}
	look := "none has succeeded yet"
	if !checked.IsZero() {
		look = spoken(checked) + ", took " + history.Duration(took).Short()
	}
	database := "connected"
	switch {
	case !h.Connected:
		database = "not reached"
	case h.Replica:
		database = "connected, a replica"
	case h.ReadOnly:
		database = "connected, read only"
	}
	return [][2]string{{"Looked at", look}, {"Database", database}, {"Interlock", yes(h.Ready, "ready", "not ready: "+s.why(h.Why, ""))}}
}

func (s *Site) health(h monitor.Health) [][2]string {
	facts := [][2]string{
		{"Ready", yes(h.Ready, "yes: every watch was looked at, not long ago", "no: "+s.why(h.Why, ""))},
		{"Database", yes(h.Connected, "reached at the latest attempt", "not reached at the latest attempt")},
	}
	switch {
	case !h.Connected: // what it was, it may not be any more
	case h.Replica:
		facts = append(facts, [2]string{"Server", "a replica, " + yes(h.Lag == 0, "level with its primary", history.Duration(h.Lag).Short()+" behind its primary")})
	case h.ReadOnly:
		facts = append(facts, [2]string{"Server", "its transactions are read only: nothing can be repaired there"})
	default:
		facts = append(facts, [2]string{"Server", "a primary"})
	}
	success := "none yet"
	if !h.Success.IsZero() {
		success = spoken(h.Success)
	}
	facts = append(facts, [2]string{"Latest look that succeeded", success})
	if h.BackingOff > 0 {
		why := yes(h.Connected, "a look failed, or they take more than their share of the time", "the database could not be reached")
		facts = append(facts, [2]string{"Next look", "in " + history.Duration(h.BackingOff).Short() + ": " + why})
	}
	return facts
}

func yes(is bool, then, otherwise string) string {
	if is {
		return then
	}
	return otherwise
}

func rest(r monitor.Result) string {
	if r.Total <= mostShown {
		return ""
	}
	return fmt.Sprintf("These are the first %d of %s groups.", mostShown, figures(int64(r.Total)))
}

// groupsTable shows groups, with what else the look found out of them in columns of their own.
func groupsTable(r monitor.Result) *tableView {
	if len(r.Groups) == 0 {
		return nil
	}
	shown := r.Groups[:min(mostShown, len(r.Groups))]
	facts := make([]map[string]json.RawMessage, len(shown))
	names := map[string]bool{}
	for i, g := range shown {
		facts[i] = factsOf(g)
		for name := range facts[i] {
			names[name] = true
		}
	}
	delete(names, "device") // which comes first
	columns := slices.Sorted(maps.Keys(names))
	columns = columns[:min(mostColumns, len(columns))]
	t := &tableView{Caption: "What breaks " + r.Watch.Invariant, Head: []string{"Device", "Rows", "First and last began", "Seen since"}}
	for _, c := range columns {
		t.Head = append(t.Head, title(c))
	}
	for i, g := range shown {
		about := g.Key
		if device, ok := facts[i]["device"]; ok {
			about, _ = factWords(device, true)
		}
		row := []cellView{cell(about), cell(figures(int64(g.Members))), cell(began(g.First) + "\n" + began(g.Last)), cell(began(&g.Since))}
		for _, c := range columns {
			words, code := factWords(facts[i][c], true)
			row = append(row, cell(words))
			row[len(row)-1].Code = code
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// cell is a value in a table. Short lines stay whole: there the table is rather scrolled than read syllable by syllable.
func cell(words string) cellView {
	c := cellView{Words: shortened(words), Class: "whole"}
	for line := range strings.SplitSeq(c.Words, "\n") {
		if utf8.RuneCountInString(line) > 44 {
			c.Class = "wide"
		}
	}
	return c
}

// title writes the name of a fact as a heading.
func title(name string) string {
	words := strings.ReplaceAll(name, "_", " ")
	if words == "ids" {
		return "IDs"
	}
	if first, size := utf8.DecodeRuneInString(words); size > 0 {
		return strings.ToUpper(string(first)) + words[size:]
	}
	return words
}

func began(t *time.Time) string {
	if t == nil || t.IsZero() || moment(t) == nil {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// factWords writes a value for people: a list as a line for each, and an object of plain values in one line. What goes deeper stays JSON.
func factWords(raw json.RawMessage, top bool) (words string, code bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return "–", false
	}
	var text string
	var parts []json.RawMessage
	var object map[string]json.RawMessage
	switch {
	case raw[0] == '"' && json.Unmarshal(raw, &text) == nil:
		return text, false
	case raw[0] == '[' && top && json.Unmarshal(raw, &parts) == nil:
		var lines []string
		for _, part := range parts {
			line, isCode := factWords(part, false)
			lines, code = append(lines, line), code || isCode
		}
		return strings.Join(lines, "\n"), code
	case raw[0] == '{' && json.Unmarshal(raw, &object) == nil:
		var fields []string
		for _, name := range slices.Sorted(maps.Keys(object)) {
			value := bytes.TrimSpace(object[name])
			if value[0] == '{' || value[0] == '[' {
				return string(raw), true
			}
			words, _ := factWords(value, false)
			fields = append(fields, name+" "+words)
		}
		return strings.Join(fields, ", "), false
	}
	return string(raw), raw[0] == '[' || raw[0] == '{'
}

// shortened keeps one value from taking the page.
func shortened(words string) string {
	if len(words) <= mostWords {
		return strings.ToValidUTF8(words, "\ufffd")
	}
	return strings.ToValidUTF8(words[:mostWords], "\ufffd") + "…"
}

func indexTable(indexes []history.Index) tableView {
	t := tableView{Caption: "Indexes and constraints that ought to be there", Head: []string{"Name", "Protects", "Present", "Valid", "Enforces", "Scans", "Size", "What is wrong"}}
	mark := func(is bool) cellView {
		if is {
			return cellView{Words: "✓ yes", Tone: "held", Class: "whole"}
		}
		return cellView{Words: "✗ no", Tone: "bad", Class: "whole"}
	}
	none := cellView{Words: "–"}
	for _, i := range indexes {
		name := cell(i.Name)
		name.Class, name.Small = "wide", shortened(i.Table)
		row := []cellView{name, cell(i.Protects), mark(i.Present), none, none, none, none, {Words: shortened(i.Why), Class: "wide"}}
		if i.Protects == "" {
			row[1] = cellView{Words: "nothing", Small: "it speeds up"}
		}
		if i.Present {
			row[3], row[5], row[6] = mark(i.Valid), cell(figures(i.Scans)), cell(size(i.Bytes))
			if i.Protects != "" {
				row[4] = mark(i.Enforcing)
			}
		}
		if i.Why == "" {
			row[7] = cellView{Words: "nothing"}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
