package reports

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
)

// How often progress is shown: on a terminal as fast as one reads, elsewhere as often as shows that a job is alive.
const (
	redraw    = 100 * time.Millisecond
	heartbeat = 10 * time.Second
)

// Progress shows how far a run is: on a terminal as one line that is rewritten in place and gone at the end, elsewhere as a plain line every
// ten seconds. It may be used by several goroutines at once.
//
// It is an io.Writer too: what is written to it, such as the log, comes out above the live line.
type Progress struct {
	w        io.Writer
	terminal bool
	started  time.Time
	stop     chan struct{}
	done     sync.WaitGroup

	mu    sync.Mutex
	line  string // empty: nothing to show yet
	drawn bool   // the live line stands on the terminal
	over  bool
	err   error // the first
}

// NewProgress starts to show progress on w, nothing until the first Update. Close it to end its goroutine.
func NewProgress(w io.Writer, terminal bool) *Progress {
	p := &Progress{w: w, terminal: terminal, started: time.Now(), stop: make(chan struct{})}
	every := heartbeat
	if terminal {
		every = redraw
	}
	p.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.show()
			case <-p.stop:
				return
			}
		}
	})
	return p
}

// Update says that done of total is done and what is being done now. It does not wait for the terminal.
func (p *Progress) Update(done, total int, what string) {
	line := say("%d of %d: %s", done, total, what)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line = line
}

// show prints the line as it is now.
func (p *Progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line == "" || p.over {
		return
	}
	elapsed := history.Duration(time.Since(p.started).Truncate(redraw)).Short()
	if p.terminal {
		p.drawn = true
		p.print("\r\x1b[K" + clip(p.line, 77-len(elapsed)) + "  " + elapsed) // in 80 columns, lest it wrap
	} else {
		p.print(p.line + ", " + elapsed + "\n")
	}
}

// Write writes b, whole lines, above the live line.
func (p *Progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	return p.w.Write(b)
}

// Close ends the display, and clears the live line. It returns the first error of writing.
func (p *Progress) Close() error {
	p.mu.Lock()
	if !p.over {
		p.over = true
		close(p.stop)
		p.clear()
	}
	err := p.err
	p.mu.Unlock()
	p.done.Wait()
	return err
}

func (p *Progress) clear() {
	if p.drawn {
		p.drawn = false
		p.print("\r\x1b[K")
	}
}

func (p *Progress) print(s string) {
	if _, err := io.WriteString(p.w, s); err != nil && p.err == nil {
		p.err = fmt.Errorf("showing progress: %w", err)
	}
}
