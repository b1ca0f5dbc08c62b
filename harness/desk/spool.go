package desk

import (
	"context"
	"io"
	"sync"
	"time"
)

const (
	// How many bytes wait for a reader who is slower than what happens. What comes then is left out until there is room again.
	mostUnread = 8 << 20
	// How long is waited for a reader once there is no time any more.
	lastMoment = time.Second
)

// spool writes lines in the order in which they come, in a goroutine of its own: who has something to tell does not wait for who reads it.
type spool struct {
	to   io.Writer
	gap  func(lines int) []byte // what stands where lines were left out
	done chan struct{}          // closed when all has been written, after close

	mu      sync.Mutex
	changed sync.Cond
	unread  []byte
	left    int // out, lines behind unread
	over    bool
}

func newSpool(to io.Writer, gap func(lines int) []byte) *spool {
	s := &spool{to: to, gap: gap, done: make(chan struct{})}
	s.changed.L = &s.mu
	go s.run()
	return s
}

// add has a line written. It does not keep it.
func (s *spool) add(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left > 0 || len(s.unread) > 0 && len(s.unread)+len(line) > mostUnread {
		s.left++
		return
	}
	s.unread = append(s.unread, line...)
	s.changed.Signal()
}

func (s *spool) run() {
	defer close(s.done)
	for text, more := s.take(nil); more; text, more = s.take(text) {
		_, _ = s.to.Write(text) // who reads it may have left: that ends nothing
	}
}

// take waits for what there is to write, and returns it; false if nothing will come any more. The memory of spare is used for what comes next.
func (s *spool) take(spare []byte) (text []byte, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.unread) == 0 && !s.over {
		s.changed.Wait()
	}
	text, s.unread = s.unread, spare[:0]
	if s.left > 0 {
		text, s.left = append(text, s.gap(s.left)...), 0
	}
	return text, len(text) > 0
}

// close waits until all has been written, and returns false if it has not. It waits for the reader until the context is over, and a moment longer: with
// one who does not read, a goroutine is left that writes.
func (s *spool) close(ctx context.Context) (all bool) {
	s.mu.Lock()
	s.over = true
	s.changed.Signal()
	s.mu.Unlock()
	select {
	case <-s.done:
		return true
	case <-ctx.Done():
	}
	moment, enough := context.WithTimeout(context.WithoutCancel(ctx), lastMoment)
	defer enough()
	select {
	case <-s.done:
		return true
	case <-moment.Done():
		return false
	}
}
