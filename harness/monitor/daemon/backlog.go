package daemon

import (
	"sync"

	"github.com/interlock-pg/interlock/harness/monitor"
	"github.com/interlock-pg/interlock/harness/monitor/notify"
)

// backlog is what looks came to, for who tells of it: nothing is missed while there is no outbox, or one that keeps us waiting.
type backlog struct {
	more chan struct{} // there is something

	mu sync.Mutex
	of map[string]notify.Backlog // by watch
}

func newBacklog() *backlog {
	return &backlog{more: make(chan struct{}, 1), of: map[string]notify.Backlog{}}
}

// collect takes in all changes, until there are no more.
func (b *backlog) collect(changes <-chan monitor.Change) {
	for c := range changes {
		b.mu.Lock()
		all := b.of[c.Result.Watch.Name]
		all.Add(c.Result)
		b.of[c.Result.Watch.Name] = all
		b.mu.Unlock()
		select {
		case b.more <- struct{}{}:
		default:
		}
	}
}

// take returns what there is, and forgets it.
func (b *backlog) take() (all []monitor.Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, results := range b.of {
		all = append(all, results...)
	}
	clear(b.of)
	return all
}

func (b *backlog) size() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, results := range b.of {
		n += len(results)
	}
	return n
}
