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
	cost    time.Duration // its queries
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
	asked := w.monitor.config.Now()
	var err error
	if part {
		err = w.seen.parts.look(ctx, tx, t, known, began)
	} else {
		err = w.seen.parts.all(ctx, tx, t, began)
	}
	w.seen.cost = w.monitor.config.Now().Sub(asked)
	w.seen.groups, w.seen.total, w.seen.members = t.groups(), t.total, t.members
	return err
}

// partial reports whether looks in part are possible: all groups that there are must be known.
func (w *watcher) partial() bool {
	return w.watch.Some != "" && w.result.Total <= len(w.result.Groups)
}

// took turns what the look has seen into a result. It holds mu, as its caller says.
func (w *watcher) took(began time.Time, took time.Duration, err error) (pause, least time.Duration) {
	before := w.result
	r := &w.result
	r.Tried = began
	if w.seen.any {
		r.Partial = w.seen.part
	}
	var broke, healed []Group
	if err != nil {
		r.Verdict, r.Why = history.Unknown, w.why(took, err)
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
		r.Version, r.Changed = r.Version+1, began
		w.monitor.changes.publish(Change{Result: *r, Broke: broke, Healed: healed})
	}
	return w.pause(took, err)
}

// why says what an error means; what the look's own queries took is what a timeout is to be compared with.
func (w *watcher) why(took time.Duration, err error) string {
	if w.seen.any {
		took = w.seen.cost
	}
	return w.monitor.why(err, took)
}

// pause returns how long after this look the next one is due, at set times, and at least, whoever asks. What a server that does not answer keeps us waiting
// is no load on it, and neither is a lock that is not to be had.
func (w *watcher) pause(took time.Duration, err error) (pause, least time.Duration) {
	config, p := &w.monitor.config, &w.parts
	everything, cost := w.seen.any && !w.seen.part, w.seen.cost
	late := err != nil && !isLost(err) && !isLocked(err) && cost >= min(cheap, config.StatementTimeout)
	switch {
	case late && everything:
		p.cost, p.ended, p.owed, p.why = cost, config.Now(), true, w.why(took, err)
	case late:
		p.size = max(p.size/4, leastSlice)
	case everything && err == nil:
		p.cost, p.ended = cost, config.Now()
	}
	w.seen = seen{}
	pause = config.Every - took
	switch {
	case err != nil && !late: // until it is tried again
		return 0, 0
	case w.partial() && everything && cost > cheap: // looks in part follow, and have a share of their own
		return pause, 0
	case w.partial() && everything:
		return max(pause, rest(cost, config.Share)), 0
	case w.partial():
		return max(pause, rest(cost, config.Share/2)), 0
	}
	wait := rest(cost, config.Share)
	if cost > cheap {
		least = wait
	}
	return max(pause, wait), least
}

// isLocked reports whether a lock was not to be had in time.
func isLocked(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "55P03"
}
