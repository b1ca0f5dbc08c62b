package isolation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/internal/pause"
)

// ErrEnded is the error of a run that isolationtester would have ended early, with exit status 1. The transcript says why.
var ErrEnded = errors.New("the spec ended early, for what its transcript says in its last line")

// launch is a step that was sent.
type launch struct {
	Step
	session *session
	markers []marker
}

// marker is a [Marker] of a launched step.
type marker struct {
	Marker
	session *session // of the marker's step
	target  int      // for Notices: how many the session has sent in all, when this marker lets go
}

// running is a permutation while it is run.
type running struct {
	*crew
	out     *bytes.Buffer
	waiting []*launch // in the order in which they were found to wait
	noticed bool      // a notice was printed since this was last reset
}

// run runs one permutation and writes its part of the transcript. With [ErrEnded], it is the last.
func (c *crew) run(ctx context.Context, p Permutation, out *bytes.Buffer) error {
	r := &running{crew: c, out: out}
	out.WriteString("\nstarting permutation:")
	for _, step := range p.Steps {
		out.WriteString(" " + step.Step)
	}
	out.WriteByte('\n')
	setups := c.spec.Setups
	if c.set {
		setups = []string{c.restore}
	}
	for _, setup := range setups {
		if failure, ok, err := r.exec(ctx, c.control, nil, setup); err != nil || !ok {
			return r.end(err, "setup failed: %s", failure)
		}
	}
	for _, s := range c.sessions {
		if s.spec.Setup == "" || s.postpone(s.spec.Setup) {
			continue
		}
		if failure, ok, err := r.exec(ctx, s.backend, s, s.spec.Setup); err != nil || !ok {
			return r.end(err, "setup of session %s failed: %s", s.name, failure)
		}
	}
	for i := range p.Steps {
		if err := r.step(ctx, p.Steps[i:]); err != nil {
			return err
		}
	}
	if err := r.complete(ctx, false); err != nil {
		return err
	}
	if len(r.waiting) > 0 {
		return r.end(nil, "failed to complete permutation due to mutually-blocking steps\n")
	}
	for _, s := range c.sessions {
		if s.spec.Teardown == "" {
			continue
		}
		failure, ok, err := r.exec(ctx, s.backend, s, s.spec.Teardown)
		if err != nil {
			return err
		}
		if !ok {
			r.printf("teardown of session %s failed: %s", s.name, failure)
		}
	}
	if c.set = c.restore != ""; c.set || c.spec.Teardown == "" {
		return nil
	}
	failure, ok, err := r.exec(ctx, c.control, nil, c.spec.Teardown)
	if !ok && err == nil {
		r.printf("teardown failed: %s", failure)
	}
	return err
}

func (r *running) printf(format string, args ...any) { fmt.Fprintf(r.out, format, args...) }

// end prints the last line of a transcript that ends early, unless there was another error.
func (r *running) end(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	r.printf(format, args...)
	return ErrEnded
}

// exec sends a setup or teardown block and prints the table that its last statement returned. If that statement failed, or is none that a block may
// end in, ok is false, and failure is what libpq says of it. Of the control connection, for which s is nil, notices are not shown.
func (r *running) exec(ctx context.Context, b *backend, s *session, sql string) (failure string, ok bool, err error) {
	if b.lost {
		return "no connection to the server\n", false, nil
	}
	b.send(sql)
	var last result
	for {
		said, more, err := b.next(ctx)
		switch {
		case err != nil:
			return "", false, err
		case said.result != nil:
			last = *said.result
			failure += last.failure(sql)
		case more && s != nil:
			r.hear(s, said)
		}
		if !more {
			break
		}
	}
	ok = last.err == nil && !last.lost && !last.empty && last.odd == ""
	if ok && last.table != nil {
		last.table.print(r.out)
	}
	return failure, ok, nil
}

// failure is how libpq words a failed result; empty if it did not fail.
func (r result) failure(sql string) string {
	switch {
	case r.err != nil:
		return text(r.err, sql, true)
	case r.lost:
		return closedText
	}
	return ""
}

// hear prints a notice and keeps a notification for the end of the step.
func (r *running) hear(s *session, said reply) {
	switch {
	case said.notice != "":
		r.printf("%s: %s", s.name, said.notice)
		s.notices++
		r.noticed = true
	case said.notification != nil:
		s.notifications = append(s.notifications, said.notification)
	}
}

// listen hears what the session has said before its next result, and right behind that, as libpq does before it hands the result over.
func (r *running) listen(s *session) {
	results := 0
	s.inbox = slices.DeleteFunc(s.inbox, func(said reply) bool {
		if said.result != nil {
			results++
			return false
		}
		heard := results == 0 || results == 1 && said.behind
		if heard {
			r.hear(s, said)
		}
		return heard
	})
}

// ahead returns what may be sent along with the first of these steps: the next steps, as long as they are its session's. Nobody waits who would have
// to be looked after in between. If the first one waits, it does so in vain, since nobody is sent anything else.
func (r *running) ahead(steps []PermutationStep) (messages []string) {
	if !r.separable || len(r.waiting) > 0 || len(steps[0].Markers) > 0 {
		return nil
	}
	s := r.steps[steps[0].Step]
	for _, next := range steps[1:] {
		if r.steps[next.Step] != s || len(next.Markers) > 0 {
			break
		}
		messages = append(messages, s.steps[next.Step].SQL)
	}
	return messages
}

// postpone says whether the message need not be sent before the session's next one: it begins a transaction, of which nobody takes notice.
func (s *session) postpone(sql string) bool {
	if !s.begins[sql] || !s.idle || len(s.postponed) > 0 {
		return false
	}
	s.postponed = []string{sql}
	return true
}

// step sends a step when its session is free, and waits until it has completed or waits itself; then it looks after those that waited before.
func (r *running) step(ctx context.Context, steps []PermutationStep) error {
	next := steps[0]
	s := r.steps[next.Step]
	if err := r.free(ctx, s); err != nil {
		return err
	}
	l := &launch{Step: s.steps[next.Step], session: s}
	if s.lost {
		return r.end(nil, "failed to send query for step %s: no connection to the server\n\n", l.Name)
	}
	switch {
	case len(s.ahead) > 0:
		s.follow()
	case len(next.Markers) == 0 && s.postpone(l.SQL):
		r.printf("step %s: %s\n", l.Name, l.SQL)
		return r.complete(ctx, true)
	default:
		s.send(l.SQL, r.ahead(steps)...)
	}
	s.active = l
	for _, m := range next.Markers {
		made := marker{Marker: m, session: r.steps[m.Step]}
		if m.Kind == Notices {
			made.target = made.session.notices + m.Notices
		}
		l.markers = append(l.markers, made)
	}
	waits, err := r.try(ctx, l, true, false)
	if err != nil {
		return err
	}
	if err := r.complete(ctx, true); err != nil {
		return err
	}
	if waits {
		r.waiting = append(r.waiting, l)
	}
	return nil
}

// free waits until the session's step is complete, so that the next can be sent.
func (r *running) free(ctx context.Context, s *session) error {
	for start := time.Now(); s.active != nil; {
		old := s.active
		waits, err := r.try(ctx, old, false, true)
		if err != nil {
			return err
		}
		if !waits {
			r.waiting = slices.DeleteFunc(r.waiting, func(l *launch) bool { return l == old })
		}
		if err := r.complete(ctx, true); err != nil {
			return err
		}
		if s.active == nil {
			break
		}
		if elapsed := time.Since(start); elapsed > 2*r.config.StepLimit {
			var names strings.Builder
			for _, other := range r.sessions {
				if other.active != nil {
					names.WriteString(" " + other.active.Name)
				}
			}
			return r.end(nil, "step %s timed out after %d seconds\nactive steps are:%s\n", s.active.Name, int(elapsed.Seconds()), names.String())
		}
		if err := r.linger(ctx, old); err != nil {
			return err
		}
	}
	return nil
}

// linger waits until something has come of a session that keeps the step back by a marker, for a while at most. Of sessions that have nothing to say,
// since each keeps another back, it waits for the time limit.
func (r *running) linger(ctx context.Context, l *launch) error {
	until := time.Now().Add(longestPause)
	for _, m := range l.markers {
		if m.session != nil && !m.session.ready { // none: it waits until its own step blocks
			_, err := m.session.receive(ctx, until)
			r.listen(m.session)
			return err
		}
	}
	return pause.For(ctx, time.Until(until))
}

// complete tries all waiting steps once, and again as long as that may let go further ones that are held by their markers.
func (r *running) complete(ctx context.Context, mayBlock bool) error {
	for {
		r.noticed = false
		before, held := len(r.waiting), false
		for i := 0; i < len(r.waiting); {
			waits, err := r.try(ctx, r.waiting[i], mayBlock, true)
			switch {
			case err != nil:
				return err
			case waits:
				held = held || len(r.waiting[i].markers) > 0
				i++
			default:
				r.waiting = slices.Delete(r.waiting, i, i+1)
			}
		}
		if !held || len(r.waiting) == before && !r.noticed {
			return nil
		}
	}
}

// try waits until a step has answered, and reports it as complete unless a marker holds it. It says whether the step waits still: for a lock, which
// is looked at only if it may block, or because it is held. A retry is a step that was reported as waiting.
func (r *running) try(ctx context.Context, l *launch, mayBlock, retry bool) (waits bool, err error) {
	waits = !retry && slices.ContainsFunc(l.markers, func(m marker) bool { return m.Kind == Once })
	if !waits {
		if waits, err = r.await(ctx, l, mayBlock, retry); err != nil {
			return false, err
		}
		waits = waits || l.held()
	}
	switch {
	case waits && !retry:
		r.printf("step %s: %s <waiting ...>\n", l.Name, l.SQL)
	case !waits && retry:
		r.printf("step %s: <... completed>\n", l.Name)
	case !waits:
		r.printf("step %s: %s\n", l.Name, l.SQL)
	}
	if waits {
		return true, nil
	}
	return false, r.report(ctx, l.session)
}

// held says whether a marker of the step does not let it complete.
func (l *launch) held() bool {
	return slices.ContainsFunc(l.markers, func(m marker) bool {
		switch m.Kind {
		case Active:
			return m.session.active != nil && m.session.active.Name == m.Step
		case Notices:
			return m.session.notices < m.target
		}
		return false
	})
}

// report prints what the session's step returned, and then the notifications that came with it.
func (r *running) report(ctx context.Context, s *session) error {
	for {
		said, more, err := s.next(ctx)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if said.result == nil {
			r.hear(s, said)
			continue
		}
		for len(s.inbox) > 0 && s.inbox[0].behind {
			r.hear(s, s.inbox[0])
			s.inbox = s.inbox[1:]
		}
		switch result := said.result; {
		case result.table != nil:
			result.table.print(r.out)
		case result.err != nil:
			r.printf("%s:  %s\n", result.err.Severity, result.err.Message)
		case result.lost:
			r.printf("%s\n", closedText)
		case result.odd != "":
			r.printf("unexpected result status: %s\n", result.odd)
		}
	}
	for _, n := range s.notifications {
		sender := fmt.Sprintf("PID %d", n.PID)
		if i := slices.IndexFunc(r.sessions, func(s *session) bool { return s.pid == n.PID }); i >= 0 {
			sender = r.sessions[i].name
		}
		r.printf("%s: NOTIFY \"%s\" with payload \"%s\" from %s\n", s.name, n.Channel, n.Payload, sender)
	}
	s.notifications, s.active = nil, nil
	return nil
}
