// Package clock is time, for what a test must be able to move.
package clock

import "time"

// Clock is time.
type Clock interface {
	Now() time.Time
	After(time.Duration) <-chan time.Time
}

// Real is the time.
type Real struct{}

// Now implements [Clock].
func (Real) Now() time.Time { return time.Now() }

// After implements [Clock].
func (Real) After(d time.Duration) <-chan time.Time { return time.After(d) }
