package traffic

import (
	"cmp"
	"slices"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
)

const (
	parts     = 120 // of a phase, in each of which the slowest request is told
	mostSpans = 64  // of locks
)

// beside returns the course of a phase: the slowest requests, and when the migration had or waited for locks that are told of.
func (p *phase) beside(long bool, told []Held) history.Beside {
	b := history.Beside{Long: long}
	if p.began.IsZero() {
		return b
	}
	took := time.Since(p.began)
	b.Took, b.Slowest = history.Duration(took), make([]history.Duration, parts)
	for _, c := range p.clients {
		for _, r := range c.requests {
			from := r.began.Sub(p.began)
			for i := part(from, took); i <= part(from+r.took, took); i++ {
				b.Slowest[i] = max(b.Slowest[i], history.Duration(r.took.Truncate(time.Microsecond)))
			}
		}
	}
	b.Locks = p.watcher.spent(told, p.began)
	return b
}

// part returns the part of a time that a moment is in.
func part(at, of time.Duration) int { return max(0, min(parts-1, int(parts*at/of))) }

// spent returns when, since a moment, the migration held and waited for locks that are told of; of many the strongest and longest.
func (w *watcher) spent(told []Held, began time.Time) (all []history.LockSpan) {
	began = began.Add(w.ahead)
	for _, e := range w.past {
		name, mode := w.relations[e.relation].name, words(e.mode)
		if !slices.ContainsFunc(told, func(h Held) bool { return h.Table == name && h.Mode == mode }) {
			continue
		}
		asked, granted := e.waiting, e.granted
		if granted.IsZero() {
			granted = e.at
		}
		if asked.IsZero() || asked.After(granted) {
			asked = granted
		}
		since := func(t time.Time) history.Duration {
			return history.Duration(max(0, t.Sub(began).Truncate(time.Microsecond)))
		}
		all = append(all, history.LockSpan{Table: name, Mode: mode, Asked: since(asked), Granted: since(granted), Ended: since(e.at), Statement: e.statement})
	}
	slices.SortFunc(all, func(a, b history.LockSpan) int {
		return cmp.Or(cmp.Compare(strength(b.Mode), strength(a.Mode)), cmp.Compare(b.Ended-b.Asked, a.Ended-a.Asked), cmp.Compare(a.Table, b.Table))
	})
	all = all[:min(len(all), mostSpans)]
	slices.SortStableFunc(all, func(a, b history.LockSpan) int { return cmp.Compare(a.Asked, b.Asked) })
	return all
}
