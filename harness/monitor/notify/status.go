package notify

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Status is how telling goes, as far as this instance knows. It has no secrets.
type Status struct {
	Outbox       string // where it is
	Trouble      string // why nobody can be told: what is in the way of the outbox; empty: nothing
	Waiting      int    // results that are not compared with the outbox yet, because of the trouble
	Incidents    []Incident
	Destinations []DestinationStatus
}

// Incident is a time during which an invariant does not hold.
type Incident struct {
	Watch  string
	ID     string
	Opened time.Time
}

// DestinationStatus is how telling one destination goes.
type DestinationStatus struct {
	Name string
	Kind Kind
	Host string

	Queued    int    // messages that wait
	Dead      int    // messages that it would not have
	Delivered uint64 // by this instance
	Failed    uint64 // attempts of this instance
	Elsewhere bool   // another instance sends to it

	Why       string    // the latest attempt failed, or the outbox cannot be read; empty: it did not
	DeadWhy   string    // the latest dead message of this instance died of
	Next      time.Time // of the next attempt, where one failed
	Succeeded time.Time // the latest attempt that did
}

// Status returns how telling goes, without asking anybody.
func (n *Notifier) Status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := Status{Outbox: n.outbox.String(), Trouble: n.trouble}
	for _, name := range slices.Sorted(maps.Keys(n.watches)) {
		w := n.watches[name]
		s.Trouble = cmp.Or(s.Trouble, w.trouble)
		s.Waiting += len(w.pending)
		if w.open != "" {
			s.Incidents = append(s.Incidents, Incident{Watch: name, ID: w.open, Opened: w.since})
		}
	}
	for _, sender := range n.senders {
		s.Trouble = cmp.Or(s.Trouble, sender.trouble)
		s.Destinations = append(s.Destinations, sender.status)
	}
	return s
}
