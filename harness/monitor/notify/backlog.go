package notify

import (
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
)

// Backlog is the results of one watch that are still to be observed, the latest last: two at most, so that what broke and healed meanwhile did.
type Backlog []monitor.Result

// Add adds a result, and reports whether it says anything.
func (b *Backlog) Add(r monitor.Result) bool {
	if r.Verdict == history.Unknown || r.Checked.IsZero() {
		return false
	}
	all := *b
	if last := len(all) - 1; last >= 0 && all[last].Verdict == r.Verdict {
		all = all[:last]
	}
	all = append(all[:len(all):len(all)], r) // who reads the one before goes on to
	*b = all[max(0, len(all)-2):]
	return true
}
