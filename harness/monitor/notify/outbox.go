package notify

import (
	"context"
	"slices"
	"time"
)

// Outbox keeps what was told and what is still to be sent. [Table] and [File] are the two there are. It is safe for concurrent use.
type Outbox interface {
	// Read returns what was told of a watch.
	Read(ctx context.Context, watch string) (State, error)

	// Update changes the book of a watch, as one: all of it or nothing is kept. Nobody else changes the book meanwhile. It may call change more than once.
	Update(ctx context.Context, watch string, change func(*Book)) error

	// Claim gives the next message of a destination to the caller alone, for the time of the lease.
	Claim(ctx context.Context, destination string, now time.Time, lease time.Duration) (Claim, error)

	// Finish says what became of a message that was claimed. It is known by its delivery id.
	Finish(ctx context.Context, m Message, o Outcome) error

	// Watches returns the watches that have a book.
	Watches(ctx context.Context) ([]string, error)

	// String says where it is, for people.
	String() string

	Close() error
}

// Book is what is kept of one watch.
type Book struct {
	State State     `json:"state"`
	Queue []Message `json:"queue,omitempty"` // in the order in which they are sent

	Taken []string `json:"taken,omitempty"` // messages that are in tables too, which could not be written when a file took them over; of a file
}

// Message is an event on its way to a destination.
type Message struct {
	Seq         int64     `json:"seq,omitempty"` // in the order of all messages; 0: the outbox has yet to number it
	Destination string    `json:"destination"`
	Watch       string    `json:"watch"`
	Event       Event     `json:"event"`
	Due         time.Time `json:"due"` // not to be sent before
	Attempts    int       `json:"attempts,omitempty"`
	Why         string    `json:"why,omitempty"`   // the latest attempt was no success
	Claim       string    `json:"claim,omitempty"` // names the attempt that has begun and that nobody knows the end of; empty: there is none
	Doubt       bool      `json:"doubt,omitempty"` // an attempt may have arrived
	Dead        bool      `json:"dead,omitempty"`
}

// due reports whether the message is to be sent now. A time that nobody can have meant was written by a clock that was wrong.
func (m Message) due(now time.Time) bool { return !m.Due.After(now) || m.Due.After(now.Add(2*longest)) }

// fresh reports whether the message cannot have arrived, and nobody is sending it.
func (m Message) fresh() bool { return m.Claim == "" && !m.Doubt }

// Claim is what is to be done for a destination.
type Claim struct {
	Message *Message  // nil: nothing now
	Due     time.Time // when there will be something, where that is known
	Taken   bool      // another instance sends to this destination
	Queued  int       // messages for the destination, dead ones left aside
	Dead    int
}

// Outcome is what became of an attempt.
type Outcome struct {
	Delivered bool
	Doubt     bool      // it may have arrived
	Dead      bool      // it is not to be tried again, before the next start
	Why       string    // it was not delivered
	Due       time.Time // when to try again
	Aborted   bool      // we gave up ourselves: it does not count as an attempt
}

// begin marks a message as being sent.
func (m *Message) begin() {
	m.Doubt = m.Doubt || m.Claim != ""
	m.Claim = newID()
}

// finish returns what is left of a message after an attempt; keep is false if nothing is.
func (m Message) finish(claim string, o Outcome) (_ Message, keep bool) {
	switch {
	case o.Delivered:
		return m, false
	case m.Claim != claim: // the lease ran out, and somebody else has it now
		return m, true
	}
	m.Claim, m.Why, m.Doubt = "", o.Why, m.Doubt || o.Doubt
	if !o.Aborted {
		m.Attempts++
	}
	if !o.Due.IsZero() {
		m.Due = o.Due
	}
	m.Dead = o.Dead
	return m, true
}

// bury drops dead messages: those that are too old, and the oldest where one destination has too many.
func (b *Book) bury(now time.Time) {
	dead := map[string]int{}
	for _, m := range b.Queue {
		if m.Dead {
			dead[m.Destination]++
		}
	}
	b.Queue = slices.DeleteFunc(b.Queue, func(m Message) bool {
		over := m.Dead && (dead[m.Destination] > graves || m.old(now))
		if over {
			dead[m.Destination]--
		}
		return over
	})
}

// graves is how many dead messages are kept, of one watch for one destination.
const graves = 100

// old reports whether a message that cannot be delivered has been kept for long enough.
func (m Message) old(now time.Time) bool { return m.Event.Seen.Before(now.Add(-buried)) }

// buried is how long that is.
const buried = 30 * 24 * time.Hour

// revive makes what waits for a destination due, dead or not. A dead message that says that something is broken goes, where nothing behind it says that
// it is over and it is: whoever got that must not get this after it.
func (b *Book) revive(destination string, now time.Time) {
	for i := len(b.Queue) - 1; i >= 0; i-- {
		m := b.Queue[i]
		ends := func(later Message) bool {
			return later.Destination == destination && later.Event.Incident == m.Event.Incident && later.Event.Type == Healed
		}
		if m.Dead && m.Destination == destination && (m.Event.Type == Broke || m.Event.Type == Changed) && m.Event.Incident != b.State.Incident &&
			!slices.ContainsFunc(b.Queue[i:], ends) {
			b.Queue = slices.Delete(b.Queue, i, i+1)
		}
	}
	for i := range b.Queue {
		m := &b.Queue[i]
		if m.Destination != destination {
			continue
		}
		if m.Dead {
			m.Dead, m.Attempts = false, 0
		}
		if m.Due.After(now) {
			m.Due = now
		}
	}
	b.Queue = upToDate(b.Queue)
}

// upToDate returns a queue without what later messages in it make needless. What takes over from another has its place, and is due when it was.
func upToDate(queue []Message) []Message {
	var out []Message
	for _, m := range queue {
		if m.Dead || !slices.ContainsFunc(out, func(before Message) bool { return before.takenOverBy(m) }) {
			out = append(out, m)
			continue
		}
		var rest []Message
		at, told := -1, m
		for _, before := range out {
			if !before.takenOverBy(m) {
				rest = append(rest, before)
				continue
			}
			if at < 0 {
				at = len(rest)
				told.Seq, told.Due, told.Attempts, told.Why = before.Seq, before.Due, before.Attempts, before.Why
				rest = append(rest, told)
			}
			switch e := &told.Event; {
			case before.Event.Type == Broke && m.Event.Type == Changed: // the one that waits tells it as it is now
				e.ID, e.Type, e.Before, e.New, e.Gone = before.Event.ID, Broke, nil, nil, nil
			case before.Event.Type == Broke:
				e.Type = BrokeAndHealed
			case e.Type == Changed: // it tells what happened since the one before it
				e.Before, e.New, e.Gone = before.Event.Before, nil, nil
			}
		}
		told.Event.Text = told.Event.text()
		rest[at] = told
		out = rest
	}
	return out
}

// takenOverBy reports whether a later message tells what this one does, or can be made to. A Changed is not missed, whether or not it arrived;
// neither is a dead message, which the destination would not have: what it would have said is said in its place.
func (m Message) takenOverBy(later Message) bool {
	same := m.Destination == later.Destination && m.Event.Incident == later.Event.Incident
	return same && !later.Dead && m.Claim == "" && (m.Event.Type == Changed || !m.Doubt) && later.fresh() && later.Event.Type != Broke
}
