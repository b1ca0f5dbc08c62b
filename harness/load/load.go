package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/interlock-pg/interlock/harness/arena"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server"
)

// Config says what is measured, and how. Server and Subjects are required; the zero value of the rest is a good default.
type Config struct {
	Server   *server.Server
	Subjects []Subject

	Clients  []int            // at once; several: each number of them is measured. None: 8
	Rate     float64          // operations a second that arrive; 0: a closed loop
	Arrivals history.Arrivals // of an open loop; empty: Poisson

	For    time.Duration // measured in all; 0: 30 s. Each lane gets its share, and [LeastTurns] slices in any case
	Warmup time.Duration // of each lane, not measured; 0: 250 ms
	Slice  time.Duration // 0: 100 ms

	Devices int     // 0: 100. An application is asked what its file says, whatever this and the next two say
	Zipf    float64 // exponent; negative: 0
	Rows    int     // in each table; 0: 10,000
	Seed    int64

	// Progress is called before each turn. Nil: not called.
	Progress func(done, total int, what string)

	// How long clients may take to end when their slice is over, before they are cut off; an application, to answer its reset; a lock, to be in the way of
	// invariants; 0: 30 s.
	hang     time.Duration
	patience time.Duration // how long a server that does not serve is waited for when all is over; 0: 30 s
}

// Subject is one of the things that are measured side by side.
type Subject struct {
	Workload race.Workload // with a Stream
	At       int64
	Template *server.Template // of the database that it begins with, without rows
	Base     bool             // the others with the same Workload.Name are compared with it
}

// LeastTurns is how many turns there are at least: with fewer, no interval has 95 % confidence.
const LeastTurns = 6

func (c Config) resolve() Config {
	if len(c.Clients) == 0 {
		c.Clients = []int{8}
	}
	if c.Arrivals == "" {
		c.Arrivals = history.Poisson
	}
	c.For = positive(c.For, 30*time.Second)
	c.Warmup = positive(c.Warmup, 250*time.Millisecond)
	c.Slice = positive(c.Slice, 100*time.Millisecond)
	c.Devices = positive(c.Devices, 100)
	c.Rows = positive(c.Rows, 10_000)
	c.Zipf = max(c.Zipf, 0)
	c.hang = positive(c.hang, 30*time.Second)
	c.patience = positive(c.patience, 30*time.Second)
	return c
}

func positive[T int | time.Duration](value, otherwise T) T {
	if value <= 0 {
		return otherwise
	}
	return value
}

// Connections returns how many connections the measurement needs at once.
func (c Config) Connections() int {
	c = c.resolve()
	return len(c.Subjects)*(slices.Max(c.Clients)+1) + yardClients + 3 // each has clients and a control, and so has the yardstick; the monitor and the administrator
}

func (c Config) shape() history.LoadShape {
	s := history.LoadShape{
		Clients: c.Clients, Rate: c.Rate, For: history.Duration(c.For), Warmup: history.Duration(c.Warmup), Slice: history.Duration(c.Slice),
		Devices: c.Devices, Zipf: c.Zipf, Rows: c.Rows,
	}
	if c.Rate > 0 {
		s.Arrivals = c.Arrivals
	}
	return s
}

// run is one measurement in the making.
type run struct {
	Config
	began   time.Time
	grounds []*ground // one a subject
	lanes   []*lane   // subject by subject, each with every number of clients
	yard    *lane     // the yardstick, which takes turns with the lanes
	monitor *monitor
	spent   time.Duration // of the processors by this process, in the slices of lanes
	wall    time.Duration // in the slices of lanes
}

// Run measures. The error says why it could not be made or finished; what was measured until then is returned with it.
func Run(ctx context.Context, config Config) (history.Measurement, error) {
	config = config.resolve()
	r := &run{Config: config, began: time.Now()}
	out := history.Measurement{Shape: config.shape()}
	err := r.prepare(ctx)
	if err == nil {
		err = r.measure(ctx)
	}
	if err == nil {
		err = r.judge(ctx)
	}
	if len(r.lanes) > 0 && !slices.ContainsFunc(r.lanes, func(l *lane) bool { return l.ground.hosted == nil }) {
		out.Shape.Devices, out.Shape.Zipf, out.Shape.Rows = 0, 0, 0
	}
	r.report(&out)
	return out, errors.Join(err, r.close(context.WithoutCancel(ctx)))
}

// prepare makes the databases, fills them, and seats the clients.
func (r *run) prepare(ctx context.Context) (err error) {
	if err := r.room(ctx); err != nil {
		return err
	}
	if r.monitor, err = newMonitor(ctx, r.Server); err != nil {
		return err
	}
	filled := map[string]*server.Template{}
	defer func() {
		for _, t := range filled {
			err = errors.Join(err, t.Drop(context.WithoutCancel(ctx)))
		}
	}()
	for _, s := range r.Subjects {
		if s.Workload.Stream == nil {
			return fmt.Errorf("workload %s has no stream, so it cannot be measured; try giving it one", s.Workload.FullName())
		}
		shape := race.Shape{Clients: slices.Max(r.Clients), Devices: r.Devices, Zipf: r.Zipf, Rows: r.Rows, Seed: r.Seed}
		var stream race.Stream
		if err := arena.Guard(func() error { stream = s.Workload.Stream(shape); return nil }); err != nil {
			return fmt.Errorf("%s: %w", s.Workload.FullName(), err)
		}
		key := fmt.Sprintf("%p %s", s.Template, s.Workload.Name)
		if filled[key] == nil {
			t, err := fill(ctx, s.Template, stream)
			if err != nil {
				return fmt.Errorf("%s: %w", s.Workload.FullName(), err)
			}
			filled[key] = t
		}
		g, err := open(ctx, filled[key], stream, shape.Clients, r.hang)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Workload.FullName(), err)
		}
		r.grounds = append(r.grounds, g)
		for _, n := range r.Clients {
			l := newLane(s, g, n)
			l.began, l.hang = r.began, r.hang
			r.lanes = append(r.lanes, l)
		}
		if r.yard == nil {
			if err := r.setYardstick(ctx, filled[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

// yardClients is how many clients the yardstick has: a default run has to do with the 100 connections that a server takes by default.
const yardClients = 2

// setYardstick makes the lane of the yardstick.
func (r *run) setYardstick(ctx context.Context, t *server.Template) error {
	s := Subject{Workload: yardstick()}
	g, err := open(ctx, t, s.Workload.Stream(race.Shape{}), yardClients, r.hang)
	if err != nil {
		return fmt.Errorf("the yardstick: %w", err)
	}
	r.grounds = append(r.grounds, g)
	r.yard = newLane(s, g, yardClients)
	r.yard.began, r.yard.hang = r.began, r.hang
	return nil
}

// room checks that the server takes as many connections.
func (r *run) room(ctx context.Context) error {
	most, err := r.Server.MaxConnections(ctx)
	if need := r.Connections(); err == nil && need > most {
		return fmt.Errorf("%d connections are needed at once, and the server takes %d; try fewer --clients, fewer scenarios, or a higher max_connections", need, most)
	}
	return err
}

// rareGC makes garbage be collected seldom: a client's statement leaves little that lives.
const rareGC = 800

// measure goes from turn to turn.
func (r *run) measure(ctx context.Context) error {
	defer debug.SetGCPercent(debug.SetGCPercent(rareGC))
	random := rand.New(rand.NewPCG(uint64(r.Seed), 0x10ad))
	all := append(slices.Clone(r.lanes), r.yard)
	for _, l := range all {
		if err := r.take(ctx, l, random, 0, r.Warmup); err != nil {
			return err
		}
	}
	for _, g := range r.grounds {
		if err := g.count(ctx, &g.before); err != nil {
			return err
		}
	}
	turns := max(int(r.For/(r.Slice*time.Duration(len(all)))), LeastTurns)
	for turn := 1; turn <= turns; turn++ {
		if r.Progress != nil {
			r.Progress(turn-1, turns, fmt.Sprintf("%d side by side", len(r.lanes)))
		}
		for _, i := range random.Perm(len(all)) {
			if err := r.take(ctx, all[i], random, turn, r.Slice); err != nil {
				return err
			}
		}
	}
	for _, g := range r.grounds {
		if err := g.count(ctx, &g.after); err != nil {
			return err
		}
	}
	return nil
}

// take has a lane run for one slice; turn 0 is not measured.
func (r *run) take(ctx context.Context, l *lane, random *rand.Rand, turn int, d time.Duration) error {
	var due []time.Duration
	if r.Rate > 0 && l != r.yard {
		due = arrivals(r.Arrivals, r.Rate, d, random)
	}
	runtime.GC() // what the last slice left is not to be paid for by this one
	before := cpu()
	s, err := l.run(ctx, r.monitor, turn, d, due)
	if turn > 0 && l != r.yard {
		r.spent += cpu() - before
		r.wall += s.took
	}
	if err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, r.hang)
	defer cancel()
	if err := l.ground.keep(short, s.records); err != nil && !server.IsTrouble(err) {
		return fmt.Errorf("%s: %w", l.name(), err)
	}
	return context.Cause(ctx)
}

func (r *run) close(ctx context.Context) error {
	var errs []error
	for _, g := range r.grounds {
		errs = append(errs, g.close(ctx))
	}
	if r.monitor != nil {
		errs = append(errs, r.monitor.close(ctx))
	}
	return errors.Join(errs...)
}
