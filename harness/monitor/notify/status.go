package notify

import (
	"slices"
	"strings"
	"time"
)

// Status is how telling goes, as far as this instance knows. It has no secrets.
type Status struct {
	Outbox       string // where it is
	Trouble      string // why what is to be told cannot be written there; empty: it can
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
	for name, w := range n.watches {
		s.Waiting += len(w.pending)
		if w.open != "" {
			s.Incidents = append(s.Incidents, Incident{Watch: name, ID: w.open, Opened: w.since})
		}
	}
	slices.SortFunc(s.Incidents, func(a, b Incident) int { return strings.Compare(a.Watch, b.Watch) })
	for _, sender := range n.senders {
		s.Destinations = append(s.Destinations, sender.status)
	}
	return s
}
