package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
)

const (
	mostStreams = 200              // at once
	mostKeys    = 20               // of an event
	writeWithin = 10 * time.Second // one event, or who reads them is taken for gone
)

// stateEvent says how all is: at the start of a stream, and at each beat.
type stateEvent struct {
	Ready   bool         `json:"ready"`
	Why     string       `json:"why,omitempty"`
	Watches []watchEvent `json:"watches"`
}

// watchEvent says how a watch is.
type watchEvent struct {
	Invariant string          `json:"invariant"`
	Name      string          `json:"name"`
	Verdict   history.Verdict `json:"verdict"`
	Groups    int             `json:"groups"`
	Members   int             `json:"members"`
	Version   uint64          `json:"version"`
}

// changeEvent says what broke and what healed.
type changeEvent struct {
	watchEvent
	Summary string    `json:"summary"`
	Broke   keysEvent `json:"broke"`
	Healed  keysEvent `json:"healed"`
}

type keysEvent struct {
	Count int      `json:"count"`
	Keys  []string `json:"keys"` // the first of them
}

func watchEventOf(r monitor.Result) watchEvent {
	return watchEvent{r.Watch.Invariant, r.Watch.Name, r.Verdict, r.Total, r.Members, r.Version}
}

func keysOf(groups []monitor.Group) keysEvent {
	e := keysEvent{Count: len(groups), Keys: []string{}}
	for _, g := range groups[:min(len(groups), mostKeys)] {
		e.Keys = append(e.Keys, g.Key)
	}
	return e
}

// events is a stream of what changes, as server-sent events: a state at once and at every beat, and every change in between. It ends when who listens
// goes, when the site closes, when the source does, and when who listens may not any more.
func (s *Site) events(w http.ResponseWriter, q *request) error {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return noAnswer(fmt.Sprintf("%d streams are open, which is as many as there may be; try again", mostStreams))
	}
	changes, stop := s.config.Source.Changes() // before the state is looked at, so that nothing is lost in between
	defer stop()
	if err := untimed(w); err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // for a proxy in front
	w.WriteHeader(http.StatusOK)
	if q.Method == http.MethodHead {
		return nil
	}
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()
	_ = s.stream(q.Context(), w, q, changes) // who listened is gone if it fails
	return nil
}

func (s *Site) stream(ctx context.Context, w http.ResponseWriter, q *request, changes <-chan monitor.Change) error {
	control := http.NewResponseController(w)
	send := func(kind string, data any) error {
		encoded, err := json.Marshal(data)
		if err != nil {
			return err
		}
		if err := control.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", kind, encoded)
		if _, err := w.Write(b.Bytes()); err != nil {
			return err
		}
		return control.Flush()
	}
	if _, err := w.Write([]byte("retry: 2000\n\n")); err != nil {
		return err
	}
	if err := send("state", s.state(ctx)); err != nil {
		return err
	}
	beat := time.NewTicker(s.config.beat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return nil
		case c, open := <-changes:
			if !open || !s.still(q) {
				return nil
			}
			e := changeEvent{watchEventOf(c.Result), summary(c.Result, s.why(c.Result.Why, "")), keysOf(c.Broke), keysOf(c.Healed)}
			if err := send("change", e); err != nil {
				return err
			}
		case <-beat.C:
			if !s.still(q) {
				return nil
			}
			if err := send("state", s.state(ctx)); err != nil {
				return err
			}
		}
	}
}

// still reports whether who listens still may: a session may be over by now.
func (s *Site) still(q *request) bool {
	if !q.who.session {
		return true
	}
	_, ok := s.session(q.Request)
	return ok
}

func (s *Site) state(ctx context.Context) stateEvent {
	h := s.config.Source.Health()
	e := stateEvent{Ready: h.Ready, Why: s.why(h.Why, ""), Watches: []watchEvent{}}
	for _, w := range s.watches {
		e.Watches = append(e.Watches, watchEventOf(s.result(ctx, w, latest, 2*time.Second)))
	}
	return e
}
