package notify

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
)

// State is what was told of a watch. The zero value: nothing.
type State struct {
	Incident  string         `json:"incident,omitempty"` // empty: none is open
	Opened    time.Time      `json:"opened,omitzero"`
	Told      Tally          `json:"told,omitzero"`
	ToldAt    time.Time      `json:"told_at,omitzero"`
	Groups    map[string]int `json:"groups,omitempty"` // that were told, with their members; nil where there are more than are kept
	Digest    string         `json:"digest,omitempty"` // of what was told; see digestOf
	Most      Tally          `json:"most,omitzero"`
	GoodSince time.Time      `json:"good_since,omitzero"` // the first good look in a row; zero: the latest was none
	Seen      time.Time      `json:"seen,omitzero"`       // when the latest look began that changed this
}

// kept is how many groups a state names.
const kept = 10_000

// ahead is how far a clock may be ahead and still be believed.
const ahead = time.Minute

// last names what was told last; empty: no incident is open.
func (s State) last() string {
	if s.Incident == "" {
		return ""
	}
	return fmt.Sprint(s.Incident, " ", s.Digest, " ", s.ToldAt.UnixNano())
}

// observe brings a book up to date with a result, and reports whether that changed it. If something is to be told later, again is when. Saw is the latest
// of what was told, as [State.last] names it, of which this instance has seen all groups; it is returned as it is now.
func (c *Config) observe(b *Book, r monitor.Result, saw string, now time.Time) (changed bool, again time.Time, sees string) {
	s := &b.State
	if r.Checked.IsZero() || r.Checked.Before(s.Seen) && !s.Seen.After(now.Add(ahead)) {
		return false, time.Time{}, saw
	}
	// A look at a part is at what its own instance knows to be broken. It says nothing of groups that only another one has seen.
	all := !r.Partial || saw == s.last() || !r.Whole.IsZero() && !r.Whole.Before(s.Seen)
	switch r.Verdict {
	case history.Violated:
		groups := groupsOf(r)
		digest := digestOf(r, groups)
		changed, again = c.violated(b, r, groups, digest, all, now)
		if s.Digest == digest {
			return changed, again, s.last()
		}
	case history.Held:
		if s.Incident != "" && all {
			changed = c.held(b, r, now)
		}
	}
	if saw != s.last() {
		saw = ""
	}
	return changed, again, saw
}

func (c *Config) violated(b *Book, r monitor.Result, groups map[string]int, digest string, all bool, now time.Time) (changed bool, again time.Time) {
	s := &b.State
	if s.Incident == "" {
		*s = State{Incident: newID(), Opened: r.Checked}
		for _, g := range r.Groups {
			if !g.Since.IsZero() && g.Since.Before(s.Opened) {
				s.Opened = g.Since
			}
		}
		c.tell(b, Broke, r, now)
		s.keep(r.Total, groups, digest)
		return true, time.Time{}
	}
	if !s.GoodSince.IsZero() {
		s.GoodSince, s.Seen, changed = time.Time{}, r.Checked, true
	}
	if s.Digest == digest || !all {
		return changed, time.Time{}
	}
	if due := s.ToldAt.Add(c.Update); now.Before(due) && !s.ToldAt.After(now.Add(ahead)) {
		return changed, due
	}
	c.tell(b, Changed, r, now)
	s.keep(r.Total, groups, digest)
	return true, time.Time{}
}

func (c *Config) held(b *Book, r monitor.Result, now time.Time) (changed bool) {
	s := &b.State
	if s.GoodSince.IsZero() {
		s.GoodSince, s.Seen, changed = r.Checked, r.Checked, true
	}
	if r.Checked.Sub(s.GoodSince) < c.HealFor {
		return changed
	}
	c.tell(b, Healed, r, now)
	*s = State{Seen: r.Checked}
	return true
}

// tell writes a message for each destination.
func (c *Config) tell(b *Book, what Type, r monitor.Result, now time.Time) {
	s := &b.State
	tally := Tally{r.Total, r.Members}
	e := Event{
		Format: Format, Type: what, Incident: s.Incident, Source: c.Source, Watch: r.Watch.Name, Invariant: r.Watch.Invariant, Says: r.Watch.Says,
		Seen: r.Checked.UTC(), Opened: s.Opened.UTC(), Now: tally, Link: c.Link,
	}
	if what == Healed {
		healed := s.GoodSince.UTC()
		e.Healed = &healed
	}
	if what == Changed {
		before := s.Told
		e.Before = &before
		if r.Total == len(r.Groups) {
			e.New, e.Gone = difference(s.Groups, groupsOf(r))
		}
	}
	s.Most = Tally{max(s.Most.Groups, tally.Groups), max(s.Most.Members, tally.Members)}
	e.Most = s.Most
	for _, g := range r.Groups[:min(len(r.Groups), c.Groups)] {
		e.Groups = append(e.Groups, shown(g))
	}
	s.Told, s.ToldAt, s.Seen = tally, now, r.Checked
	b.bury(now)
	for _, d := range c.Destinations {
		e.ID = newID()
		e.Text = e.text()
		b.Queue = append(b.Queue, Message{Destination: d.Name, Watch: watchName(r.Watch), Event: e, Due: now})
	}
	b.Queue = upToDate(b.Queue)
}

// shown is what a message says of a group.
func shown(g monitor.Group) Group {
	out := Group{Key: g.Key, Members: g.Members, First: year(g.First), Last: year(g.Last), Since: g.Since.UTC()}
	if json.Valid(g.Facts) {
		out.Facts = g.Facts
	}
	return out
}

// year returns a time that JSON can have; nil is any other.
func year(t *time.Time) *time.Time {
	if t == nil || t.UTC().Year() < 1 || t.UTC().Year() > 9998 {
		return nil
	}
	utc := t.UTC()
	return &utc
}

// keep remembers the groups that were told.
func (s *State) keep(total int, groups map[string]int, digest string) {
	s.Groups, s.Digest = groups, digest
	if total > min(kept, len(groups)) {
		s.Groups = nil
	}
}

func groupsOf(r monitor.Result) map[string]int {
	groups := map[string]int{}
	for _, g := range r.Groups {
		groups[g.Key] = g.Members
	}
	return groups
}

// digestOf returns what differs where other groups are to be told. Of more than are kept, which are is chance, and another one for each instance: only
// how many there are tells something.
func digestOf(r monitor.Result, groups map[string]int) string {
	what := []any{r.Total, groups}
	if r.Total > len(r.Groups) {
		what[1] = r.Members
	}
	text, _ := json.Marshal(what) // sorted by key; never fails
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// difference counts the groups that came and went. Nil: it is not known.
func difference(before, now map[string]int) (came, went *int) {
	if before == nil {
		return nil, nil
	}
	a, b := 0, 0
	for key := range maps.Keys(now) {
		if _, there := before[key]; !there {
			a++
		}
	}
	for key := range maps.Keys(before) {
		if _, there := now[key]; !there {
			b++
		}
	}
	return &a, &b
}

// watchName is what a watch is kept under.
func watchName(w monitor.Watch) string {
	if w.Name != "" {
		return w.Name
	}
	return w.Invariant
}

// newID returns a name that nobody else has.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x", b[:4], b[4:8], b[8:])
}
