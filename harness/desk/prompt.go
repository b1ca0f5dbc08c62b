package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/interlock-pg/interlock/harness/wire"
)

// Help says what [Desk.Serve] takes.
const Help = `1, or NAME   lets that session's step go        o  lets all go, and holds nothing from then on
a NAME       cuts the session off               h  holds again
t NAME       has the server terminate it        w  waits until all sessions have left
l, or nothing, lists the sessions               q  ends`

// Serve does what the lines say, until one says q or there are none any more. The context ends it with its error.
func (d *Desk) Serve(ctx context.Context, lines <-chan string) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case line, more := <-lines:
			line = strings.TrimSpace(line)
			if !more || line == "q" {
				return nil
			}
			err := d.do(ctx, line)
			switch {
			case err != nil && ctx.Err() != nil:
				return context.Cause(ctx)
			case err != nil:
				d.answer("%v", err)
			}
			if errors.Is(err, errNobody) {
				d.list()
				d.answer("%s", Help)
			}
		}
	}
}

func (d *Desk) do(ctx context.Context, line string) error {
	command, name, named := strings.Cut(line, " ")
	name = strings.TrimSpace(name)
	switch {
	case line == "" || line == "l":
		d.list()
		return nil
	case line == "o":
		d.open.Store(true)
		for _, s := range d.listed() {
			if state := s.wire.State(); state.Phase == wire.Holding {
				s.wire.Release(state.Step.Index)
			}
		}
		d.answer("the gate is open: nothing is held; h holds again")
		return nil
	case line == "h":
		d.open.Store(false)
		d.answer("steps are held")
		return nil
	case line == "w":
		return d.left(ctx)
	case command == "a" && named:
		return d.cut(ctx, name)
	case command == "t" && named:
		return d.terminate(ctx, name)
	}
	return d.release(ctx, line)
}

// answer tells who gave a command.
func (d *Desk) answer(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		d.answers.add([]byte(shortened("= "+strings.TrimSuffix(line, "\n"), d.config.Width) + "\n"))
	}
}

func (d *Desk) list() {
	all := d.listed()
	if len(all) == 0 {
		d.answer("no session")
	}
	for _, s := range all {
		d.answer("%s", d.stands(s))
	}
}

// stands says where a session does.
func (d *Desk) stands(s *session) string {
	state := s.wire.State()
	d.mu.Lock()
	defer d.mu.Unlock()
	e := wire.Event{Session: s.wire.Name(), Step: state.Step}
	if d.config.Redact != nil {
		e = d.config.Redact(e)
	}
	step := fmt.Sprintf("%d: %s", state.Step.Index, statement(e.Step))
	if state.Step.Index == 0 {
		step = "something that is no step"
	}
	says := ""
	switch {
	case s.closed || state.Phase == wire.Ended:
		return s.who() + "  is over"
	case state.Phase == wire.Holding:
		says = "held at " + step
	case state.Phase == wire.Working && s.waits(state.Step.Index):
		says = s.wait.words(d.called(s.wait.on)) + ", at " + step
	case state.Phase == wire.Working:
		says = "at " + step
	case state.Phase == wire.Opaque:
		says = "passes unseen"
	case state.Status == wire.Failed:
		says = "idle in a failed transaction"
	case state.Status == wire.InTransaction:
		says = "idle in a transaction"
	default:
		says = "idle"
	}
	if state.Gone {
		says += " (its client has left)"
	}
	return s.who() + "  " + says
}

var (
	errAmbiguous = errors.New("several sessions have this name")
	errNobody    = errors.New("no session")
)

// find returns the session with a number or a name.
func (d *Desk) find(name string) (*session, error) {
	number, err := strconv.Atoi(name)
	var found []*session
	for _, s := range d.listed() {
		if err == nil && s.number == number || s.name == name || s.wire.Name() == name {
			if found = append(found, s); err == nil && s.number == number {
				return s, nil // a number is stronger than a name that looks like one
			}
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%w is called %q; try one of these", errNobody, printable(name))
	case 1:
		return found[0], nil
	}
	numbers := make([]string, len(found))
	for i, s := range found {
		numbers[i] = strconv.Itoa(s.number)
	}
	return nil, fmt.Errorf("%w: %q; try its number, one of %s", errAmbiguous, printable(name), strings.Join(numbers, ", "))
}

// expect returns the session with a number or a name, once it is ready, where that is worth waiting for.
func (d *Desk) expect(ctx context.Context, name string, ready func(wire.State) bool) (*session, error) {
	var s *session
	var err error
	look := func() bool {
		s, err = d.find(name)
		return err == nil && ready(s.wire.State()) || errors.Is(err, errAmbiguous)
	}
	if !d.config.Script {
		look()
		return s, err
	}
	if waited := d.await(ctx, look); waited != nil && ctx.Err() != nil {
		return nil, waited
	}
	return s, err
}

// errPatience means that what was waited for was not seen.
var errPatience = errors.New("it was not seen")

// await waits until done says so, as long as patience lasts.
func (d *Desk) await(ctx context.Context, done func() bool) error {
	ctx, enough := context.WithTimeoutCause(ctx, d.config.Patience, errPatience)
	defer enough()
	return d.gate.Wait(ctx, done)
}

// release lets the held step of a session go, and waits until it is answered, waits itself, or the session is over.
func (d *Desk) release(ctx context.Context, name string) error {
	s, err := d.expect(ctx, name, func(state wire.State) bool { return state.Phase == wire.Holding })
	if err != nil {
		return err
	}
	state := s.wire.State()
	n := state.Step.Index
	if state.Phase != wire.Holding || !s.wire.Release(n) {
		return fmt.Errorf("nothing is held: %s", d.stands(s))
	}
	err = d.await(ctx, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return s.answered >= n || s.closed || s.waits(n)
	})
	return d.seen(s, err)
}

// seen answers with where a session stands, and whether what was waited for did not come.
func (d *Desk) seen(s *session, err error) error {
	switch {
	case errors.Is(err, errPatience):
		return fmt.Errorf("%s; after %v, that was all that was seen", d.stands(s), d.config.Patience)
	case err != nil:
		return err
	}
	d.answer("%s", d.stands(s))
	return nil
}

// over waits until sessions are.
func (d *Desk) over(ctx context.Context, sessions ...*session) error {
	return d.await(ctx, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return !slices.ContainsFunc(sessions, func(s *session) bool { return !s.closed })
	})
}

// cut ends a session as if the network had gone.
func (d *Desk) cut(ctx context.Context, name string) error {
	s, err := d.expect(ctx, name, func(wire.State) bool { return true })
	if err != nil {
		return err
	}
	d.mu.Lock()
	s.cut = true
	d.mu.Unlock()
	if err := s.wire.Abort(); err != nil {
		return err
	}
	return d.seen(s, d.over(ctx, s))
}

// terminate has the server end a session.
func (d *Desk) terminate(ctx context.Context, name string) error {
	s, err := d.expect(ctx, name, func(wire.State) bool { return true })
	if err != nil {
		return err
	}
	if d.control == nil {
		return errNoControl
	}
	was, err := d.control.terminate(ctx, s.pid)
	switch {
	case err != nil:
		return fmt.Errorf("terminating %s: %w; try a NAME, which cuts it off from here", s.who(), err)
	case !was:
		return fmt.Errorf("terminating %s: the server has no such backend; try l", s.who())
	}
	return d.seen(s, d.over(ctx, s))
}

// left waits until all sessions are over that there are.
func (d *Desk) left(ctx context.Context) error {
	all := d.listed()
	if err := d.over(ctx, all...); errors.Is(err, errPatience) {
		d.list()
		return fmt.Errorf("after %v, these have not left; try o, or a NAME", d.config.Patience)
	} else if err != nil {
		return err
	}
	d.answer("all have left")
	return nil
}
