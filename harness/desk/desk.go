package desk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/proxy"
	"github.com/interlock-pg/interlock/harness/wire"
)

// DefaultPatience is how long a command waits for its effect to be seen.
const DefaultPatience = 10 * time.Second

// Config says what is told, and what is held.
type Config struct {
	// Trace is where it is told what happens. Nil: nowhere; then nothing is cut into steps, and Hold must be false. It is written to by one goroutine, and
	// nobody else waits for it: of what is not read, 8 MB are kept, and then lines are left out, which is told in their place.
	Trace io.Writer

	// JSON has it told as lines of JSON, each an [Event].
	JSON bool

	// Width is how many characters a line of the trace may have. 0: 160.
	Width int

	// Redact hides what must not be shown of an event. It is called with one at a time. Nil: nothing is hidden.
	Redact func(wire.Event) wire.Event

	// Hold has steps held until [Desk.Serve] is told to release them.
	Hold bool

	// Answers is where Serve answers, like Trace. Nil: Trace.
	Answers io.Writer

	// Script says that commands do not come from somebody who looks: what one is about is waited for.
	Script bool

	// Patience is how long a command waits for its effect, and with Script for what it is about. 0: DefaultPatience.
	Patience time.Duration

	// Control is how to ask the server who waits for whom, and to terminate a backend. Nil: neither is possible.
	Control *pgx.ConnConfig

	// Trouble is told what does not work and is no reason to end. Nil: nobody is.
	Trouble func(error)
}

// Desk is a gate with a person at it. Its methods are safe for concurrent use.
type Desk struct {
	config  Config
	gate    *wire.Gate
	control *control // nil: there is none
	trace   *spool   // nil: nothing is told
	answers *spool   // may be trace
	started time.Time
	numbers atomic.Int64 // of sessions
	open    atomic.Bool  // nothing is held
	stop    context.CancelFunc
	work    sync.WaitGroup

	mu       sync.Mutex // for all that follows, and for the order of what is told
	sessions map[string]*session
}

// session is what has been told of one.
type session struct {
	wire     *wire.Session
	number   int
	name     string
	pid      uint32
	held     int  // the last step that was
	sent     int  // the last step that went to the server
	answered int  // the last step that was
	gone     bool // the client disconnected
	closed   bool
	cut      bool // by us
	wait     wait
	asked    asking
}

// waits reports whether the session is known to wait at a step; 0: at something that is no step. Events of an earlier one may still be on their way.
func (s *session) waits(at int) bool { return s.wait.lock != "" && (at == 0 || s.sent == at) }

// Open puts a gate into the hands of a person. The context is for the start only.
func Open(ctx context.Context, config Config) (*Desk, error) {
	config.Width = cmp.Or(config.Width, 160)
	config.Patience = cmp.Or(config.Patience, DefaultPatience)
	if config.Trouble == nil {
		config.Trouble = func(error) {}
	}
	if config.Hold && config.Trace == nil {
		return nil, errors.New("held steps that nobody is told of; try a trace")
	}
	d := &Desk{config: config, started: time.Now(), sessions: map[string]*session{}}
	d.open.Store(!config.Hold)
	gate := wire.Config{}
	if config.Trace != nil {
		gate = wire.Config{Split: true, Keep: 1, Hold: func(wire.Step) bool { return !d.open.Load() }, Events: d.event}
		if config.Control != nil {
			d.control = &control{config: config.Control}
			var err error
			if gate.Isolation, err = d.control.isolation(ctx); err != nil {
				config.Trouble(fmt.Errorf("who waits for whom cannot be told: %s; try a server that runs and, in the connection string, a user who may connect", reason(err)))
			}
		}
	}
	d.gate = wire.New(gate)
	if config.Trace != nil {
		d.trace = newSpool(config.Trace, d.gap)
		d.answers = d.trace
	}
	if config.Answers != nil {
		d.answers = newSpool(config.Answers, func(lines int) []byte { return []byte("= " + leftOut(lines) + "\n") })
	}
	watched, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.stop = stop
	if d.control != nil {
		d.work.Go(func() { d.watch(watched) })
	}
	return d, nil
}

// Gate returns the gate, for who listens.
func (d *Desk) Gate() *wire.Gate { return d.gate }

// Name calls a session by a number, from 1, and what its client calls itself.
func (d *Desk) Name(h proxy.Hello) string {
	return strconv.FormatInt(d.numbers.Add(1), 10) + " " + printable(cmp.Or(h.Parameters["application_name"], "client"))
}

// Close ends all sessions, and waits until nothing of the desk runs any more and all that was told has been written. For somebody who does not read it,
// it waits until the context is over.
func (d *Desk) Close(ctx context.Context) error {
	err := d.gate.Close()
	d.stop()
	d.work.Wait()
	if d.control != nil {
		err = errors.Join(err, d.control.close())
	}
	for _, s := range slices.Compact([]*spool{d.trace, d.answers}) {
		if s != nil && !s.close(ctx) {
			d.config.Trouble(errors.New("the last of what was told has not been read; try writing it to a file"))
		}
	}
	return err
}

// event takes what happened in a session.
func (d *Desk) event(e wire.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.Kind == wire.Started {
		d.add(e)
	}
	s := d.sessions[e.Session]
	if s == nil { // it was refused, which the listener tells
		return
	}
	switch e.Kind {
	case wire.Held:
		s.held, s.wait = e.Step.Index, wait{}
	case wire.Released:
		s.sent, s.wait = e.Step.Index, wait{}
	case wire.Answered:
		s.answered, s.wait = e.Step.Index, wait{}
	case wire.Gone:
		s.gone = true
	case wire.Closed:
		s.closed = true
		delete(d.sessions, e.Session)
	}
	d.tell(s, Event{Event: e})
}

// add notes a session that has begun.
func (d *Desk) add(e wire.Event) {
	all := d.gate.Sessions()
	at := slices.IndexFunc(all, func(w *wire.Session) bool { return w.Name() == e.Session })
	if at < 0 { // it is over already
		return
	}
	number, name, _ := strings.Cut(e.Session, " ")
	s := &session{wire: all[at], name: name, pid: e.PID}
	s.number, _ = strconv.Atoi(number) // that of another listener may have none
	d.sessions[e.Session] = s
}

// listed returns the sessions in the order of their numbers.
func (d *Desk) listed() []*session {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*session, 0, len(d.sessions))
	for _, s := range d.sessions {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *session) int { return cmp.Compare(a.number, b.number) })
	return all
}
