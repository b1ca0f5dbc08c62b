package agenda

import (
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/server/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m, func() error { return goleak.Find() }) }

// Manual is a clock that a test moves.
type Manual struct {
	mu      sync.Mutex
	now     time.Time
	waiting []waiter
	changed chan struct{}
}

type waiter struct {
	at  time.Time
	out chan time.Time
}

func NewManual(now time.Time) *Manual { return &Manual{now: now, changed: make(chan struct{})} }

func (c *Manual) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *Manual) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := waiter{c.now.Add(d), make(chan time.Time, 1)}
	c.waiting = append(c.waiting, w)
	close(c.changed)
	c.changed = make(chan struct{})
	return w.out
}

// Move goes to a time once so many wait, and wakes them all: whoever has nothing to do yet waits again.
func (c *Manual) Move(t testing.TB, to time.Time, waiting int) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		c.mu.Lock()
		n, changed := len(c.waiting), c.changed
		if n >= waiting {
			c.now = to
			for _, w := range slices.Clone(c.waiting) {
				w.out <- to
			}
			c.waiting = nil
		}
		c.mu.Unlock()
		if n >= waiting {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%d wait for the clock, and not %d", n, waiting)
		}
	}
}
