package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/internal/pause"
	"github.com/interlock-pg/interlock/harness/server"
)

// lane is a subject with so many clients, and what has been measured of it.
type lane struct {
	subject Subject
	ground  *ground
	clients int
	began   time.Time     // of the run
	hang    time.Duration // see [Config]

	whole    tally
	kinds    map[kind]*tally
	errors   map[string]int
	retries  int
	unserved int
	slices   []history.Slice
	outages  []history.Outage
	looks    int
	broken   map[string]int // looks that found an invariant broken
	seen     []history.Violation
	waits    map[wait]int
	samples  int
	wal      int64
}

// kind is what operations are counted by.
type kind struct{ kind, outcome string }

func newLane(s Subject, g *ground, clients int) *lane {
	return &lane{
		subject: s, ground: g, clients: clients, whole: newTally(), kinds: map[kind]*tally{}, errors: map[string]int{}, broken: map[string]int{}, waits: map[wait]int{},
	}
}

// turn is one slice as it was measured.
type turn struct {
	records []record
	refused []unreachable
	missed  []time.Duration // when operations were due, since it began, that nobody came to do
	began   time.Duration   // since the run began
	took    time.Duration
}

// run has the lane run for a slice of length d, and looks at its invariants. Operations begin when they are due, or, where nothing is, one after
// another. Turn 0 is not counted.
func (l *lane) run(ctx context.Context, m *monitor, number int, d time.Duration, due []time.Duration) (turn, error) {
	walBefore, known := m.wal(ctx)
	t := turn{began: time.Since(l.began)}
	clients := l.ground.clients[:l.clients]
	end := t.began + d

	var arrived atomic.Int64
	var running sync.WaitGroup
	for _, c := range clients {
		running.Go(func() { l.drive(ctx, c, t.began, end, due, &arrived) })
	}
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	looked := make(chan error, 1)
	patient, cancel := context.WithTimeout(ctx, d+2*l.hang) // for a server that takes connections and says nothing
	defer cancel()
	go func() { looked <- l.watch(patient, m, done, d) }()
	hung := false
	select {
	case <-done:
	case <-ctx.Done():
		l.stop(done, clients)
	case <-time.After(d + l.hang):
		hung = true
		l.stop(done, clients)
	}
	t.took = time.Since(l.began) - t.began
	err := <-looked
	var mistakes []error
	for _, c := range clients {
		t.records, t.refused, t.missed = append(t.records, c.records...), append(t.refused, c.refused...), append(t.missed, c.missed...)
		if c.mistake != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %w", l.name(), c.mistake))
		}
		c.records, c.refused, c.missed = nil, nil, nil
	}
	t.missed = append(t.missed, due[min(int(arrived.Load()), len(due)):]...)
	if err := errors.Join(errors.Join(mistakes...), context.Cause(ctx)); err != nil {
		return t, err
	}
	if err := l.ground.lost(patient); err != nil {
		l.count(t, number, end)
		return t, fmt.Errorf("%s: %w", l.name(), err)
	}
	if hung && m.serves(patient) {
		return t, l.stuck(t, end)
	}
	if err == nil || server.IsTrouble(err) {
		err = l.look(patient, history.AtRest)
	}
	if err != nil && !server.IsTrouble(err) {
		return t, fmt.Errorf("%s: %w", l.name(), err)
	}
	if number > 0 {
		if after, ok := m.wal(patient); ok && known {
			l.wal += max(after-walBefore, 0)
		}
		l.count(t, number, end)
	}
	return t, context.Cause(ctx)
}

// drive has one client do operations from one moment to another, as they are due, or, where nothing is, one after another. Arrived counts those that
// some client has come to do.
func (l *lane) drive(ctx context.Context, c *client, from, to time.Duration, due []time.Duration, arrived *atomic.Int64) {
	quiet := context.WithoutCancel(ctx) // a context that can end costs a goroutine a statement; clients that have to stop are cut off
	for c.mistake == nil && ctx.Err() == nil && !c.deserted() {
		if c.lost() && !c.reconnect(ctx, l.began, to) {
			return
		}
		at := time.Duration(-1)
		if due != nil {
			n := int(arrived.Add(1)) - 1
			if n >= len(due) {
				_ = pause.For(ctx, to-time.Since(l.began)) // an open loop lasts as long as it is said to
				return
			}
			at = from + due[n]
			_ = pause.For(ctx, at-time.Since(l.began))
		}
		if time.Since(l.began) >= to {
			if due != nil {
				c.missed = append(c.missed, at-from)
			}
			return
		}
		c.do(quiet, l.began, at)
	}
}

// stuck says who had to be cut off, although the server served.
func (l *lane) stuck(t turn, end time.Duration) error {
	for _, r := range t.records {
		if r.trouble && r.returned >= end+l.hang {
			return fmt.Errorf("%s: client %d was still at its operation %d (%s) %v after the end of its slice, and was cut off; try a statement_timeout or a lock_timeout in the workload",
				l.name(), r.client+1, r.number+1, r.kind, l.hang)
		}
	}
	return fmt.Errorf("%s: its clients did not end within %v after their slice, and were cut off; try a statement_timeout or a lock_timeout in the workload", l.name(), l.hang)
}

// stop cuts clients off that do not end.
func (l *lane) stop(done chan struct{}, clients []*client) {
	for {
		for _, c := range clients {
			c.stop()
		}
		select {
		case <-done:
			return
		case <-time.After(10 * time.Millisecond): // one that was just about to begin something
		}
	}
}

// watch looks on while the clients run: what their sessions wait for, and, half-way, at the invariants.
func (l *lane) watch(ctx context.Context, m *monitor, done <-chan struct{}, d time.Duration) error {
	half := time.NewTimer(d / 2)
	defer half.Stop()
	often := time.NewTicker(20 * time.Millisecond)
	defer often.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-often.C:
			m.sample(ctx, l)
		case <-half.C:
			if err := l.look(ctx, history.Running); err != nil {
				return err
			}
		}
	}
}

// look looks at the invariants that need nothing but the tables.
func (l *lane) look(ctx context.Context, moment history.Moment) error {
	broken, err := l.ground.look(ctx, false, moment)
	l.note(broken)
	if err == nil {
		l.looks++
	}
	return err
}

// note notes which invariants were seen broken, and the first rows that break each.
func (l *lane) note(broken []history.Violation) {
	for _, v := range broken {
		if l.broken[v.Invariant]++; l.broken[v.Invariant] == 1 {
			l.seen = append(l.seen, v)
		}
	}
}

// count takes a slice into account.
func (l *lane) count(t turn, number int, end time.Duration) {
	s := history.Slice{Turn: number, Began: history.Duration(t.began), Took: history.Duration(t.took)}
	slice := newTally()
	kinds := map[string]*average{}
	for _, r := range t.records {
		latency := r.latency()
		if r.trouble {
			s.Errors++
		} else { // what got no answer has no latency, and fails too fast to be throughput
			s.Operations++
			slice.add(latency)
			l.whole.add(latency)
			if kinds[r.kind] == nil {
				kinds[r.kind] = &average{}
			}
			kinds[r.kind].add(latency)
		}
		key := kind{r.kind, string(r.outcome)}
		if l.kinds[key] == nil {
			one := newTally()
			l.kinds[key] = &one
		}
		l.kinds[key].add(latency)
		l.retries += max(r.attempts-1, 0)
		if r.failure != "" {
			l.errors[r.failure]++
		}
	}
	for _, u := range t.refused {
		l.errors[u.failure]++
	}
	for _, at := range t.missed {
		l.unserved++
		slice.add(end - t.began - at)
		l.whole.add(end - t.began - at)
	}
	said := slice.latency()
	s.Mean, s.P50, s.P99, s.Max = said.Mean, said.P50, said.P99, said.Max
	if len(kinds) > 0 {
		s.Kinds = map[string]history.Duration{}
		for name, a := range kinds {
			s.Kinds[name] = a.mean()
		}
	}
	l.slices = append(l.slices, s)
	l.outages = append(l.outages, l.outage(t)...)
}

// outage finds the times in which operations or connections failed for want of a server, until one succeeded again.
func (l *lane) outage(t turn) []history.Outage {
	type event struct {
		began, ended time.Duration
		trouble      bool
		why          string
	}
	var events []event
	for _, r := range t.records {
		events = append(events, event{r.invoked, r.returned, r.trouble, r.message})
	}
	for _, u := range t.refused {
		events = append(events, event{u.at, u.at, true, u.err.Error()})
	}
	slices.SortFunc(events, func(a, b event) int { return cmp.Compare(a.ended, b.ended) })
	var all []history.Outage
	last := time.Duration(-1) // when there was trouble the last time; negative: all is well
	for _, e := range events {
		switch {
		case e.trouble && last < 0:
			all = append(all, history.Outage{Arm: l.name(), Began: history.Duration(e.began), Ended: history.Duration(e.ended), Errors: 1, Why: e.why})
			last = e.ended
		case e.trouble:
			all[len(all)-1].Errors++
			all[len(all)-1].Ended = history.Duration(e.ended)
			last = e.ended
		case last >= 0 && e.began > last:
			all[len(all)-1].Ended = history.Duration(e.ended)
			last = -1
		}
	}
	return all
}

func (l *lane) name() string {
	name := l.subject.Workload.FullName()
	if l.subject.At != 0 {
		name += fmt.Sprintf(" at %d", l.subject.At)
	}
	return name + ", " + count(l.clients)
}

// count says how many clients there are.
func count(clients int) string {
	if clients == 1 {
		return "1 client"
	}
	return fmt.Sprintf("%d clients", clients)
}

// average is the mean of latencies in the making.
type average struct {
	sum   time.Duration
	count int
}

func (a *average) add(d time.Duration) { a.sum, a.count = a.sum+d, a.count+1 }

// mean is to the microsecond, of at least one latency.
func (a *average) mean() history.Duration {
	return history.Duration((a.sum / time.Duration(a.count)).Truncate(time.Microsecond))
}

// tally is a distribution of latencies, to the microsecond and to three figures, up to an hour.
type tally struct {
	average
	histogram *hdrhistogram.Histogram
}

func newTally() tally { return tally{histogram: hdrhistogram.New(1, time.Hour.Microseconds(), 3)} }

func (t *tally) add(d time.Duration) {
	t.average.add(d)
	_ = t.histogram.RecordValue(min(max(d.Microseconds(), 1), time.Hour.Microseconds()))
}

func (t *tally) latency() history.Latency {
	if t.count == 0 {
		return history.Latency{}
	}
	at := func(percent float64) history.Duration {
		return history.Duration(time.Duration(t.histogram.ValueAtPercentile(percent)) * time.Microsecond)
	}
	return history.Latency{
		Mean: t.mean(),
		P50:  at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: history.Duration(time.Duration(t.histogram.Max()) * time.Microsecond),
	}
}
