package notify

import (
	"encoding/json"
	"fmt"
	"time"
)

// Format is the version of [Event]. Fields may be added to a version; none is removed or changes its meaning.
const Format = 1

// Type says what a message tells.
type Type string

// The types of message.
const (
	Broke          Type = "broke"            // an invariant does not hold any more
	Changed        Type = "changed"          // it still does not, and the groups are other ones
	Healed         Type = "healed"           // it holds again
	BrokeAndHealed Type = "broke-and-healed" // it holds again, and it could not be told before that it did not
)

// Event is what a message tells, and the JSON body of a webhook. Times are UTC.
type Event struct {
	Format    int        `json:"format"`
	ID        string     `json:"id"` // of the delivery: the same at each attempt, another one for each destination
	Type      Type       `json:"type"`
	Incident  string     `json:"incident"` // the same from Broke to Healed
	Source    string     `json:"source,omitempty"`
	Watch     string     `json:"watch"`     // as "duplicate-sessions"
	Invariant string     `json:"invariant"` // as "S1"
	Says      string     `json:"says"`      // what must hold
	Text      string     `json:"text"`      // all of it, for people
	Seen      time.Time  `json:"seen"`      // when the look began that this tells of
	Opened    time.Time  `json:"opened"`    // when the monitor first saw it broken
	Healed    *time.Time `json:"healed,omitempty"`
	Now       Tally      `json:"now"`
	Before    *Tally     `json:"before,omitempty"` // when it was last told; of Changed
	Most      Tally      `json:"most"`             // of what was told of this incident
	New       *int       `json:"new,omitempty"`    // groups, since Before; of Changed, where it is known
	Gone      *int       `json:"gone,omitempty"`   // groups, since Before; of Changed, where it is known
	Groups    []Group    `json:"groups,omitempty"` // the first ones by key; Now counts all
	Link      string     `json:"link,omitempty"`   // where to see more
}

// Tally counts what breaks an invariant.
type Tally struct {
	Groups  int `json:"groups"`
	Members int `json:"members"` // of all groups
}

func (t Tally) String() string { return count(t.Groups, "group") + ", " + count(t.Members, "member") }

// Group is what breaks an invariant together.
type Group struct {
	Key     string          `json:"key"`
	Members int             `json:"members"`
	First   *time.Time      `json:"first,omitempty"` // when the first and the last member began, where it is known
	Last    *time.Time      `json:"last,omitempty"`
	Since   time.Time       `json:"since"`           // when the monitor first saw it
	Facts   json.RawMessage `json:"facts,omitempty"` // an object
}

// title says in a few words what happened.
func (e Event) title() string {
	what := e.Invariant
	if e.Watch != e.Invariant {
		what += " " + e.Watch
	}
	switch e.Type {
	case Broke:
		return what + " is broken"
	case Changed:
		return what + " is still broken"
	case BrokeAndHealed:
		return what + " was broken, and holds again"
	default:
		return what + " holds again"
	}
}

// counts says how much there is of it.
func (e Event) counts() string {
	switch e.Type {
	case Broke:
		return e.Now.String()
	case Changed:
		text := e.Now.String()
		if e.Before != nil {
			text += "; it was " + e.Before.String() + " when last told"
		}
		if e.New != nil && e.Gone != nil {
			text += fmt.Sprintf(": %d new, %d gone", *e.New, *e.Gone)
		}
		return text
	default:
		return e.Most.String() + " at most; it was broken for " + e.lasted().String()
	}
}

func (e Event) lasted() time.Duration {
	if e.Healed == nil {
		return 0
	}
	return max(0, e.Healed.Sub(e.Opened)).Round(time.Second)
}

func (e Event) text() string {
	text := e.title() + ": " + e.counts() + "."
	if e.Source != "" {
		text = e.Source + ": " + text
	}
	return text
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// moment prints a time for people.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
