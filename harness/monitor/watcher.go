package monitor

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/history"
)

// watcher looks at one watch.
type watcher struct {
	looker
	watch  Watch
	result Result // guarded by mu
	parts  parts  // as after the latest look that succeeded
	seen   seen   // by the look that is under way
}

// seen is what a look finds, and what becomes of parts if it succeeds.
type seen struct {
	any     bool // the look came so far
	part    bool
	groups  []Group
	total   int
	members int
	parts   parts
}

func newWatcher(m *Monitor, w Watch) *watcher {
	out := &watcher{watch: w, result: Result{Watch: w, Verdict: history.Unknown, Why: "nobody has looked yet"}}
	out.looker = looker{monitor: m, keep: true, look: out.lookAt, done: out.took}
	out.parts = parts{config: &m.config, watch: w, size: firstSlice, owed: true}
	if w.Changed != "" {
		out.prepare = func(ctx context.Context, tx pgx.Tx) (err error) {
			out.parts.now, err = mark(ctx, tx, m.config.Overlap)
			return err
		}
	}
	return out
}

// lookAt looks at everything, or at a part of it.
func (w *watcher) lookAt(ctx context.Context, tx pgx.Tx, began time.Time) error {
	w.mu.Lock()
	known := w.result.Groups
	part := w.partial() && w.parts.enough(began)
	w.mu.Unlock()
	t := newTally(known, w.monitor.config.Groups, began)
	w.seen = seen{any: true, part: part, parts: w.parts}
	var err error
	if w.seen.part {
		w.seen.part, err = w.seen.parts.look(ctx, tx, t, known, began)
	}
	if err == nil && !w.seen.part {
		err = w.seen.parts.all(ctx, tx, t, began)
	}
	w.seen.groups, w.seen.total, w.seen.members = t.groups(), t.total, t.members
	return err
}

// partial reports whether looks in part are possible: all groups that there are must be known.
func (w *watcher) partial() bool {
	return w.watch.Some != "" && w.result.Total <= len(w.result.Groups)
}

// took turns what the look has seen into a result. It holds mu, as its caller says.
func (w *watcher) took(began time.Time, took time.Duration, err error) time.Duration {
	before := w.result
	r := &w.result
	r.Tried = began
	if w.seen.any {
		r.Partial = w.seen.part
	}
	var broke, healed []Group
	if err != nil {
		r.Verdict, r.Why = history.Unknown, w.monitor.why(err)
	} else {
		w.parts = w.seen.parts
		r.Checked, r.Took = began, took
		r.Total, r.Members = w.seen.total, w.seen.members
		if !same(before.Groups, w.seen.groups) {
			r.Groups = w.seen.groups
			broke, healed = without(r.Groups, before.Groups), without(before.Groups, r.Groups)
		}
		switch {
		case r.Total > 0:
			r.Verdict, r.Why = history.Violated, ""
		case w.parts.owed:
			r.Verdict, r.Why = history.Unknown, "not everything could be looked at yet: "+w.parts.why
		default:
			r.Verdict, r.Why = history.Held, ""
		}
		r.Whole = w.parts.whole
		w.monitor.succeeded(began.Add(took))
	}
	if r.Verdict != before.Verdict || r.Why != before.Why || broke != nil || healed != nil || !same(r.Groups, before.Groups) ||
		r.Total != before.Total || r.Members != before.Members {
		r.Version++
		w.monitor.changes.publish(Change{Result: *r, Broke: broke, Healed: healed})
	}
	return w.pause(took, err)
}

// pause returns how long after this look the next one at set times is due. What a server that does not answer keeps us waiting is no load on it.
func (w *watcher) pause(took time.Duration, err error) time.Duration {
	config, p := &w.monitor.config, &w.parts
	everything, late := w.seen.any && !w.seen.part, isTimeout(err)
	w.seen = seen{}
	switch {
	case late && everything:
		p.cost, p.ended, p.owed, p.why = took, w.monitor.config.Now(), true, w.monitor.why(err)
	case late:
		p.size = max(p.size/4, leastSlice)
	case err != nil:
		return 0 // until the retry
	case everything:
		p.cost, p.ended = took, w.monitor.config.Now()
	}
	switch {
	case w.partial() && everything: // looks in part have a share of their own
		return config.Every - took
	case w.partial():
		return config.pause(took, config.Share/2)
	}
	return config.pause(took, config.Share)
}

// isTimeout reports whether a statement took too long.
func isTimeout(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "57014"
}
