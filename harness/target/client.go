package target

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/interlock-pg/interlock/harness/race"
)

// actor is a client's side of the conversation: its mark, and what it remembers. Its operations come one after another.
type actor struct {
	file    *File
	client  *Client
	mark    string
	memory  values
	answers map[string]string // what the request that captures a name came to, where it could not capture it
}

// mark returns what identifies the n-th client of a scenario, from 0: the trace id of a traceparent, which is never all zeros.
func mark(n int) string { return fmt.Sprintf("1e7e710cc1e70000%016x", n+1) }

// marker returns the header that carries the mark of a client in its n-th request, from 0.
func (f *File) marker(mark string, n int) map[string]string {
	name := "traceparent"
	if f.Marker.Header != nil {
		name = *f.Marker.Header
	}
	switch {
	case name == "":
		return nil
	case strings.EqualFold(name, "traceparent"):
		return map[string]string{name: fmt.Sprintf("00-%s-%016x-01", mark, n+1)}
	default:
		return map[string]string{name: mark}
	}
}

// sent is a request as reports show it: first as it is meant to be, then as it was sent.
type sent struct {
	mu sync.Mutex
	as RequestInput
}

func (s *sent) set(as RequestInput) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.as = as
}

// MarshalJSON implements [json.Marshaler].
func (s *sent) MarshalJSON() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return json.Marshal(struct {
		Method  string            `json:"method,omitempty"`
		Path    string            `json:"path,omitempty"`
		Headers map[string]string `json:"headers,omitempty"`
		Body    json.RawMessage   `json:"body,omitempty"`
		Command []string          `json:"command,omitempty"`
	}{s.as.Method, s.as.Path, s.as.Headers, s.as.Body, s.as.Command})
}

// operation is the n-th thing that the client does.
func (a *actor) operation(n int, r RequestInput, v values) race.Operation {
	s := &sent{as: r}
	if r.Command != nil {
		execute := func(ctx context.Context, of race.Instance) race.Answer { return a.execute(ctx, of, r) }
		return race.Operation{Kind: r.Name, Input: s, Ask: execute}
	}
	def := &a.client.Requests[r.Number]
	return race.Operation{
		Kind: r.Name, Input: s, Slot: v.fill(def.Slot, nil), Subject: v.fill(def.Subject, nil),
		Ask: func(ctx context.Context, of race.Instance) race.Answer { return a.ask(ctx, of, n, r, def, s) },
	}
}

// stranger says that an instance is none of ours.
func stranger(of race.Instance) error {
	return fmt.Errorf("the clients of a target file were led to a %T; try the instance that the file's own system started", of)
}

// ask sends a request, again if the file says so, and understands the answer.
func (a *actor) ask(ctx context.Context, of race.Instance, n int, r RequestInput, def *Request, s *sent) race.Answer {
	in, ok := of.(*Instance)
	if !ok {
		return race.Answer{Outcome: race.Failed, Err: stranger(of)}
	}
	r = r.filled(a.memory)
	s.set(r)
	for _, name := range r.open() {
		if a.captures(name) {
			why := cmp.Or(a.answers[name], "nothing was asked that captures it")
			return race.Answer{Outcome: race.NotFound, Err: &unaskedError{fmt.Sprintf("not sent, for there is no {{%s}}: %s", name, why)}}
		}
	}
	for attempt := 1; ; attempt++ {
		got, err := in.send(ctx, r, a.file.marker(a.mark, n))
		if attempt <= def.Retries.Times && ctx.Err() == nil && def.Retries.again(got, err) {
			continue
		}
		answer := a.understand(got, err, def)
		answer.Attempts = attempt
		return answer
	}
}

// unaskedError says why a request was not sent.
type unaskedError struct{ why string }

func (e *unaskedError) Error() string { return e.why }
func (e *unaskedError) Unwrap() error { return race.ErrNotAsked }

// captures reports whether any request of the client captures a name. A text that came with a value may look like one.
func (a *actor) captures(name string) bool {
	return slices.ContainsFunc(a.client.Requests, func(r Request) bool { _, ok := r.Capture[name]; return ok })
}

// again reports whether a client tries again after an answer, or the loss of one.
func (r Retries) again(got answer, err error) bool {
	if err != nil {
		return slices.Contains(r.On, lost)
	}
	return slices.Contains(r.On, Trouble(fmt.Sprint(got.code))) || slices.Contains(r.On, Trouble(hundred(got.code)))
}

// understand says what an answer means, and remembers what is captured from it.
func (a *actor) understand(got answer, lost error, def *Request) race.Answer {
	if lost != nil {
		a.miss(def, "the answer to "+def.Name+" was lost")
		return race.Answer{Outcome: race.Unknown, Err: fmt.Errorf("no answer: %w", lost)}
	}
	answer := race.Answer{Outcome: outcome(got.code, def.Outcomes, a.file.Outcomes)}
	if !went(answer.Outcome) {
		a.miss(def, def.Name+" was answered "+status(got.code))
		answer.Err = got.err()
		return answer
	}
	if def.Row != nil {
		if row, ok := def.Row.find(got.json); ok {
			answer.Row, _ = values{"row": marshal(row)}.text("row")
		} else {
			answer.Err = fmt.Errorf("nothing at row: %s in the answer: %w; try the path of the row's id in it", def.Row, got.err())
		}
	}
	for name, path := range def.Capture {
		value, ok := path.find(got.json)
		if !ok {
			a.answers[name] = fmt.Sprintf("there is nothing at %s in the answer to %s: %v", path, def.Name, got.err())
			delete(a.memory, name)
			continue
		}
		a.memory[name] = marshal(value)
	}
	return answer
}

// miss keeps why nothing was captured.
func (a *actor) miss(def *Request, why string) {
	for name := range def.Capture {
		a.answers[name] = why
		delete(a.memory, name)
	}
}

// graceOfCommands is how long a command may take to end when the race is over before it is. Drivers give up a client that takes twice as long.
const graceOfCommands = time.Second

// execute runs a command that is a client.
func (a *actor) execute(ctx context.Context, of race.Instance, r RequestInput) race.Answer {
	in, ok := of.(*Instance)
	if !ok {
		return race.Answer{Outcome: race.Failed, Err: stranger(of)}
	}
	environment := append(inherited(nil), "DATABASE_URL="+in.database, "PGAPPNAME="+a.mark)
	p, err := run(filepath.Dir(a.file.Path), r.Command, environment, graceOfCommands)
	if err != nil {
		return race.Answer{Outcome: race.Failed, Err: err}
	}
	var cut error
	select {
	case <-p.ended:
	case <-ctx.Done():
		cut = context.Cause(ctx)
	}
	stopped := p.stop(context.WithoutCancel(ctx), graceOfCommands) // the output is whole only then
	answer := race.Answer{Outcome: race.Done}
	switch {
	case cut != nil:
		answer = race.Answer{Outcome: race.Unknown, Err: fmt.Errorf("the command was ended before it was done: %w", cut)}
	case p.err != nil:
		answer = race.Answer{Outcome: race.Failed, Err: fmt.Errorf("%s: %s", exit(p.err), p.output.last(in.secrets))}
	case stopped != nil:
		answer = race.Answer{Outcome: race.Failed, Err: stopped}
	}
	return answer.Resolve()
}
