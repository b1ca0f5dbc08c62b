package wire

import (
	"errors"
	"net"
	"sync"
	"time"
)

// deadline is a time limit that can be moved while others wait for it. The zero value is none.
type deadline struct {
	mu      sync.Mutex
	passed  chan struct{} // closed once the limit has passed
	timer   *time.Timer
	version int    // of the limit: an older timer that fires late is not heeded
	passes  func() // if not nil, called when the limit has passed
}

// set moves the limit; a zero time removes it.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.version++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.passed == nil || isClosed(d.passed) {
		d.passed = make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		d.pass()
		return
	}
	version := d.version
	d.timer = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.version == version {
			d.pass()
		}
	})
}

func (d *deadline) pass() {
	close(d.passed)
	if d.passes != nil {
		d.passes()
	}
}

// channel returns what is closed when the limit passes.
func (d *deadline) channel() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passed == nil {
		d.passed = make(chan struct{})
	}
	return d.passed
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// SetDeadline implements [net.Conn].
func (s *Session) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn].
func (s *Session) SetReadDeadline(t time.Time) error {
	return s.limit(&s.reading, s.server.SetReadDeadline, t)
}

// SetWriteDeadline implements [net.Conn].
func (s *Session) SetWriteDeadline(t time.Time) error {
	return s.limit(&s.writing, s.server.SetWriteDeadline, t)
}

// limit sets a deadline of ours, or, where nothing is split, the server's.
func (s *Session) limit(ours *deadline, theirs func(time.Time) error, t time.Time) error {
	switch {
	case !s.gate.config.Split:
		return theirs(t)
	case isClosed(s.closed):
		return net.ErrClosed
	}
	ours.set(t)
	return nil
}
