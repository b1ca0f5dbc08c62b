package stress

import (
	"context"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
)

// watch looks at the invariants that need no outcomes, over and over until done is closed, each time in a snapshot of its own, and returns the
// first violation of each, and how often it looked.
func (a *Arena) watch(ctx context.Context, invariants []race.Invariant, done <-chan struct{}) ([]history.Violation, int, error) {
	var seen []history.Violation
	looks := 0
	broken := map[string]bool{}
	for {
		began := time.Now()
		for _, inv := range invariants {
			select {
			case <-done:
				return seen, looks, nil
			default:
			}
			if inv.Outcomes || broken[inv.Name] {
				continue
			}
			rows, err := inv.Offending(ctx, a.Watcher)
			if err != nil {
				return seen, looks, err
			}
			looks++
			if len(rows.Rows) > 0 {
				broken[inv.Name] = true
				seen = append(seen, history.Violation{Invariant: inv.Name, Moment: history.Running, Rows: rows})
			}
		}
		if len(broken) == watchable(invariants) {
			select {
			case <-done:
			case <-ctx.Done():
			}
			return seen, looks, nil
		}
		select { // who looks all the time may keep those who write from the page that it looks at, for seconds
		case <-done:
		case <-time.After(time.Since(began)):
		}
	}
}

func watchable(invariants []race.Invariant) (n int) {
	for _, inv := range invariants {
		if !inv.Outcomes {
			n++
		}
	}
	return n
}
