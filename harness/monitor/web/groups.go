package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
)

// groupView is a group in an answer. What else the look found out of it is merged in, under names that are not among these.
type groupView struct {
	Key      string  `json:"key"`
	Count    int     `json:"count"`
	Since    string  `json:"since"`
	Earliest *string `json:"earliest_start"`
	Latest   *string `json:"latest_start"`
	Bare     bool    `json:"facts_left_out,omitempty"`
}

// groupsView is a page of what breaks an invariant.
type groupsView struct {
	Invariant string            `json:"invariant"`
	Name      string            `json:"name"`
	Says      string            `json:"says"`
	Verdict   history.Verdict   `json:"verdict"`
	Why       string            `json:"why,omitempty"`
	Summary   string            `json:"summary"`
	Total     int               `json:"total"`
	Members   int               `json:"members"`
	Kept      int               `json:"kept"` // of the groups
	Matching  int               `json:"matching"`
	Groups    []json.RawMessage `json:"groups"`
	Page      pageView          `json:"page"`
	Version   uint64            `json:"version"`
	Timestamp string            `json:"timestamp"`
}

type pageView struct {
	Limit  int     `json:"limit"`
	Offset int     `json:"offset"`
	Next   *string `json:"next"`
}

// moment returns a time as RFC 3339 has it, in UTC. Nil: it has no such form, as the infinity of Postgres has none.
func moment(t *time.Time) *string {
	if t == nil {
		return nil
	}
	in := t.UTC()
	if in.Year() < 0 || in.Year() > 9999 {
		return nil
	}
	text := in.Format(time.RFC3339Nano)
	return &text
}

func momentOf(t time.Time) string {
	if text := moment(&t); text != nil {
		return *text
	}
	return time.Time{}.Format(time.RFC3339)
}

// encodeGroup writes a group.
func encodeGroup(g monitor.Group) (json.RawMessage, error) {
	view := groupView{Key: g.Key, Count: g.Members, Since: momentOf(g.Since), Earliest: moment(g.First), Latest: moment(g.Last), Bare: g.Bare}
	own, err := json.Marshal(view)
	if err != nil {
		return nil, err
	}
	facts := factsOf(g)
	if len(facts) == 0 {
		return own, nil
	}
	more, err := json.Marshal(facts) // in the order of their names
	if err != nil {
		return nil, err
	}
	return append(append(own[:len(own)-1], ','), more[1:]...), nil
}

// factsOf returns what else the look found out of a group, by name, but what an answer has of its own.
func factsOf(g monitor.Group) map[string]json.RawMessage {
	var facts map[string]json.RawMessage
	if json.Unmarshal(g.Facts, &facts) != nil { // it is no object
		return nil
	}
	for _, name := range []string{"key", "count", "since", "earliest_start", "latest_start", "facts_left_out"} {
		delete(facts, name)
	}
	return facts
}

// encodeGroups writes a page of a result.
func encodeGroups(r monitor.Result, s slice, why string) ([]byte, error) {
	matching := r.Groups
	if s.any {
		matching = nil
		for _, g := range r.Groups {
			if g.Since.UnixNano() >= s.since {
				matching = append(matching, g)
			}
		}
	}
	v := groupsView{
		Invariant: r.Watch.Invariant, Name: r.Watch.Name, Says: r.Watch.Says, Verdict: r.Verdict, Why: why, Summary: summary(r, why),
		Total: r.Total, Members: r.Members, Kept: len(r.Groups), Matching: len(matching), Groups: []json.RawMessage{}, Version: r.Version,
		Timestamp: momentOf(r.Changed), Page: pageView{Limit: s.limit, Offset: s.offset},
	}
	from := min(s.offset, len(matching))
	to := min(from+s.limit, len(matching))
	for _, g := range matching[from:to] {
		encoded, err := encodeGroup(g)
		if err != nil {
			return nil, err
		}
		v.Groups = append(v.Groups, encoded)
	}
	if to < len(matching) {
		next := fmt.Sprintf("/api/monitoring/%s?limit=%d&offset=%d", url.PathEscape(r.Watch.Name), s.limit, to)
		if s.any {
			next += "&since=" + url.QueryEscape(time.Unix(0, s.since).UTC().Format(time.RFC3339Nano))
		}
		v.Page.Next = &next
	}
	return plain(v)
}

// plain writes a value as JSON that people can read too: < and > stay what they are, which is safe in JSON that no browser takes for a page.
func plain(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// summary says what a look came to.
func summary(r monitor.Result, why string) string {
	about := r.Watch.Invariant + " (" + r.Watch.Says + ")"
	switch {
	case r.Verdict == history.Held:
		return "No group breaks " + about + "."
	case r.Verdict == history.Violated:
		return broken(r) + " " + about + since(r) + "." + left(r)
	case r.Total > 0:
		return "It is not known whether " + about + " holds: " + why + ". When it last was, " + broken(r) + " it" + since(r) + "." + left(r)
	}
	return "It is not known whether " + about + " holds: " + why + "."
}

// broken says how many groups break it.
func broken(r monitor.Result) string {
	if r.Total == 1 {
		return "1 group of " + count(r.Members, "row") + " breaks"
	}
	return count(r.Total, "group") + " of " + count(r.Members, "row") + " break"
}

// left says what of the groups is not kept, so that nobody can have it here. Empty: all is.
func left(r monitor.Result) string {
	says, bare := "", 0
	for _, g := range r.Groups {
		if g.Bare {
			bare++
		}
	}
	if r.Total > len(r.Groups) {
		says = " Only " + figures(int64(len(r.Groups))) + " of the groups are kept; the others are counted."
	}
	if bare > 0 {
		says += " Of " + count(bare, "group") + " only key, count and times are kept: there is too much to say of all."
	}
	return says
}

// since says since when; of several groups, since the first of them was seen.
func since(r monitor.Result) string {
	first := firstSeen(r.Groups)
	if first.IsZero() {
		return ""
	}
	return ", since " + spoken(first)
}

func firstSeen(groups []monitor.Group) (first time.Time) {
	for _, g := range groups {
		if first.IsZero() || g.Since.Before(first) {
			first = g.Since
		}
	}
	return first
}

// spoken is a time as people say it.
func spoken(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" }

// count is a number of things: "1 row", "50,000 rows".
func count(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return figures(int64(n)) + " " + of + "s"
}

// figures writes a number with its thousands apart.
func figures(n int64) string {
	text := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, text = "-", text[1:]
	}
	var parts []string
	for len(text) > 3 {
		parts = append([]string{text[len(text)-3:]}, parts...)
		text = text[:len(text)-3]
	}
	return sign + strings.Join(append([]string{text}, parts...), ",")
}

// monitoring answers with a page of what breaks the invariant of a watch.
func (s *Site) monitoring(w http.ResponseWriter, q *request) error {
	watch := s.watch(q.name)
	if watch == nil || watch.Name != q.name {
		return s.noWatch(q.name, func(w monitor.Watch) string { return "/api/monitoring/" + w.Name })
	}
	ctx, cancel := context.WithTimeout(q.Context(), patience)
	defer cancel()
	result, err := s.config.Source.Result(ctx, q.name, s.fresh(q, latest))
	if err != nil {
		return noAnswer("there is no result of " + q.name + " yet: " + s.why(err.Error(), "again, or /readyz for what is in the way"))
	}
	if result.Checked.IsZero() {
		return noAnswer("no look of " + q.name + " has succeeded yet: " + s.why(result.Why, "again, or /readyz for what is in the way"))
	}
	page, err := s.answers.page(result, q.slice, func(why string) string { return s.why(why, "") })
	if err != nil {
		return err
	}
	header := w.Header()
	header["Content-Type"] = jsonType
	header["Cache-Control"] = revalidate
	header["Vary"] = varies
	header["Etag"] = page.etag
	header.Set("Interlock-Checked", momentOf(result.Checked))
	if unchanged(q.Header.Values("If-None-Match"), page.etag[0]) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	header["Content-Length"] = page.length
	_, _ = w.Write(page.body) // who asked is gone if it fails
	return nil
}

// Headers that are the same for all; they are not changed.
var (
	jsonType   = []string{"application/json"}
	revalidate = []string{"private, no-cache"}
	varies     = []string{"Authorization, Cookie"}
)

// unchanged reports whether one of the tags is that of the answer.
func unchanged(headers []string, tag string) bool {
	for _, header := range headers {
		for part := range strings.SplitSeq(header, ",") {
			part = strings.TrimSpace(part)
			if part == "*" || strings.TrimPrefix(part, "W/") == tag {
				return true
			}
		}
	}
	return false
}
