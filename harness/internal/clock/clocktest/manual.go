// Package clocktest has a clock that a test moves.
package clocktest

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// Manual is a clock that a test moves. It is safe for concurrent use.
type Manual struct {
	mu      sync.Mutex
	now     time.Time
	waiting []waiter
	changed chan struct{} // closed when somebody begins to wait
}

type waiter struct {
	at  time.Time
	out chan time.Time
}

// New returns a clock that stands at a time.
func New(now time.Time) *Manual { return &Manual{now: now, changed: make(chan struct{})} }

// Now implements clock.Clock.
func (c *Manual) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// After implements clock.Clock.
func (c *Manual) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := waiter{c.now.Add(d), make(chan time.Time, 1)}
	if d <= 0 {
		w.out <- c.now
		return w.out
	}
	c.waiting = append(c.waiting, w)
	close(c.changed)
	c.changed = make(chan struct{})
	return w.out
}

// Move goes to a time, which may be an earlier one, and wakes all who wait: whoever has nothing to do yet waits again.
func (c *Manual) Move(to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = to
	for _, w := range c.waiting {
		w.out <- to
	}
	c.waiting = nil
}

// Waiting waits until so many wait.
func (c *Manual) Waiting(t testing.TB, n int) {
	t.Helper()
	c.observe(t, func() bool { return len(c.waiting) >= n })
}

// WaitingUntil waits until somebody waits until a time.
func (c *Manual) WaitingUntil(t testing.TB, at time.Time) {
	t.Helper()
	c.observe(t, func() bool {
		return slices.ContainsFunc(c.waiting, func(w waiter) bool { return w.at.Equal(at) })
	})
}

// observe waits until something is so of those who wait.
func (c *Manual) observe(t testing.TB, so func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		c.mu.Lock()
		enough, changed, waiting := so(), c.changed, slices.Clone(c.waiting)
		c.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("they wait until %v", waiting)
		}
	}
}
