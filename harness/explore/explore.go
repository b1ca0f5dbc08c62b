package explore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/server"
)

// Config says how to search. The zero value is a good default.
type Config struct {
	Strategy    sched.Strategy // default reduced
	Seed        int64          // of random and pct
	Depth       int            // of the bugs that pct looks for; 0: 3
	Preemptions int            // the most that an order of strategy all has; 0: no bound; negative: none at all
	Schedule    []int          // what strategy replay repeats: the clients to release, by their place in the scenario

	Limit   int           // interleavings; 0: no limit, but for random and pct, which then make 1,000
	For     time.Duration // 0: no limit. That in which an application starts does not count
	Steps   int           // the most steps of one interleaving; 0: 1,000. Where one has more, the search ends
	Hang    time.Duration // how long nothing may happen before an interleaving is given up; 0: 10 s
	Workers int           // databases that are worked on at once; 0: as many as there are cores. The result does not depend on it

	// Faults may happen to a client that is held, one in an interleaving. Not with strategy reduced.
	Faults []history.Fault

	AtEnd bool        // do not look at the invariants after every commit, only when all clients are done
	Rules sched.Rules // of the reduction; the zero value is the safe version

	// Note is called when all clients are done, and what it returns is kept of the interleaving, for Each: such as what is in the tables then.
	// It is called by several workers at once.
	Note func(context.Context, Look) (string, error)

	rehearses bool // what is played is no part of a search
	patient   bool // an application may think for longer

	// between is called before each choice, for tests. Nil: nothing is.
	between func(*run)

	// Each is told of every interleaving that was run to its end, in an order that does not depend on the number of workers. False ends the
	// search.
	Each func(Interleaving) bool
}

// Look is what Config.Note is given: a connection to the database as the clients left it, and what they were told.
type Look struct {
	Conn  *pgx.Conn
	Round history.Round
}

// Interleaving is one that was executed.
type Interleaving struct {
	Number      int      // in the order of the search, from 1
	Choices     []int    // the clients that were released
	Preemptions int      // choices that left a client which could have gone on
	Told        string   // what the clients were told, as "A created; B conflict"
	Broken      []string // invariants
	Note        string   // what Config.Note returned
}

// Result is what a search found.
type Result struct {
	history.Exploration
	Broken   map[string]int          // the interleavings that violate each invariant, by its name
	First    map[string]Interleaving // the first of them
	Mismatch *sched.Mismatch         // where a replayed schedule no longer fits; nil: it does
	Err      error                   // why the search ended early, if it was for trouble; Exploration.Trouble has it as text
}

const (
	defaultSteps = 1000
	defaultHang  = 10 * time.Second
)

// DefaultLimit is how many interleavings random and pct make by default.
const DefaultLimit = 1000

// Explorer explores scenarios on clones of one template, one scenario at a time. It keeps its databases from one search to the next.
type Explorer struct {
	template *server.Template
	stages   []*stage         // those that are not in use
	survey   *stage           // for finding out what statements touch
	catalog  *catalog         // of the template; nil: not read yet
	texts    map[string]facts // of statements of which they are the same whatever the rows

	parallel map[race.System]bool // of those that were rehearsed: whether they make queries for one client at the same time
}

// New returns an explorer for scenarios on the schema of a template.
func New(template *server.Template) *Explorer {
	return &Explorer{template: template, texts: map[string]facts{}, parallel: map[race.System]bool{}}
}

// Close drops the databases.
func (e *Explorer) Close(ctx context.Context) error {
	var errs []error
	for _, st := range e.stages {
		errs = append(errs, st.Close(ctx))
	}
	if e.survey != nil {
		errs = append(errs, e.survey.Close(ctx))
	}
	e.stages, e.survey = nil, nil
	return errors.Join(errs...)
}

// Explore searches the interleavings of a scenario, which build makes anew for each of them. An error means that the search could not begin, or
// that ctx is done; trouble on the way is in the result, with what was found until then.
func (e *Explorer) Explore(ctx context.Context, build func() race.Scenario, config Config) (Result, error) {
	first, err := e.search(ctx, build, config)
	if err == nil && e.learned(build().System, first.Err) {
		first, err = e.search(ctx, build, config)
	}
	if err != nil || !first.Complete || first.Thought == 0 && !e.parallel[build().System] {
		return first, err
	}
	return e.confirm(ctx, build, config, first)
}

// learned reports whether an error is that an application makes queries at the same time, which is known from now on.
func (e *Explorer) learned(of race.System, err error) bool {
	if !errors.Is(err, errParallel) || e.parallel[of] {
		return false
	}
	e.parallel[of] = true
	return true
}

// confirm searches again, with more patience for an application that made clients wait: one that was only slow may have kept orders from being seen. What
// has been seen broken stays so; what has not is believed to hold if the second search is complete as well, and has seen no less.
func (e *Explorer) confirm(ctx context.Context, build func() race.Scenario, config Config, first Result) (Result, error) {
	config.patient = true
	if config.For > 0 {
		config.For = max(config.For-time.Duration(first.Elapsed), time.Millisecond)
	}
	second, err := e.search(ctx, build, config)
	result := second
	for name := range first.Broken {
		if second.Broken[name] == 0 {
			result = first
			result.Complete = false
		}
	}
	result.Elapsed, result.Starting = first.Elapsed+second.Elapsed, first.Starting+second.Starting
	same := second.Executed == first.Executed && maps.Equal(second.Outcomes, first.Outcomes)
	if err == nil && result.Complete && second.Thought > 0 && !same {
		result.Complete = false
		if result.Violating == 0 {
			result.Trouble = fmt.Sprintf("the application makes clients wait for more than the database, and not always the same: %d orders were seen, and then %d; try a longer settle",
				first.Executed, second.Executed)
		}
	}
	return result, err
}

// resolve returns the configuration with its defaults, for a scenario. An error means that it does not fit.
func (c Config) resolve(s race.Scenario) (Config, error) {
	if c.Strategy == "" {
		c.Strategy = sched.Reduced
		if s.System != nil || len(c.Faults) > 0 { // clients share more than the database: its connections, for one
			c.Strategy = sched.All
		}
	}
	if c.Strategy == sched.Reduced && len(c.Faults) > 0 {
		return c, errors.New("the reduction knows nothing of faults; try strategy all")
	}
	if len(s.Clients) > history.MostClients && len(c.Faults) > 0 {
		return c, fmt.Errorf("%d clients are too many to have faults happen to; try at most %d", len(s.Clients), history.MostClients)
	}
	if c.Strategy == sched.Reduced && s.AltersSchema {
		c.Strategy = sched.All // locks do not show who makes a table, nor who looks for one
	}
	if c.Workers <= 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if slices.Contains(c.Faults, history.Restart) || s.System != nil && s.System.Habits().Listen != "" {
		c.Workers = 1 // there is one server, or one application
	}
	c.Steps, c.Hang = cmp.Or(c.Steps, defaultSteps), cmp.Or(c.Hang, defaultHang)
	if c.Limit == 0 && (c.Strategy == sched.Random || c.Strategy == sched.PCT) {
		c.Limit = DefaultLimit
	}
	return c, nil
}

// search is one search, from the beginning to its end.
func (e *Explorer) search(ctx context.Context, build func() race.Scenario, config Config) (Result, error) {
	began := time.Now()
	scenario := build()
	config, err := config.resolve(scenario)
	if err != nil {
		return Result{}, err
	}
	if slices.Contains(config.Faults, history.Restart) {
		if err := restartable(e.template.Server()); err != nil {
			return Result{}, err
		}
		if err := e.Close(ctx); err != nil { // stages of earlier searches would lose their connections
			return Result{}, err
		}
	}
	x := newSearch(build, scenario, config)
	if err := e.rehearse(ctx, scenario.Named(), x.Hang); err != nil {
		x.result.Err, x.result.Trouble = err, err.Error()
		return x.result, context.Cause(ctx)
	}
	if err := x.begin(ctx, e); err != nil {
		return x.result, err
	}
	var workers sync.WaitGroup
	var mu sync.Mutex
	for range x.Workers {
		workers.Go(func() {
			mu.Lock()
			st, err := e.stage(ctx)
			mu.Unlock()
			if err != nil {
				x.fail(err)
				return
			}
			if err := x.work(ctx, st); err != nil {
				x.fail(err)
				x.left(st.Close(context.WithoutCancel(ctx))) // whatever state it is in
				return
			}
			mu.Lock()
			e.stages = append(e.stages, st)
			mu.Unlock()
		})
	}
	workers.Wait()
	x.conclude()
	x.result.Elapsed = history.Since(began)
	if !x.began.IsZero() {
		x.result.Starting = history.Duration(x.began.Sub(began))
		x.result.Elapsed -= x.result.Starting
	}
	return x.result, context.Cause(ctx)
}

// stage returns one that is not in use. Calls must not overlap.
func (e *Explorer) stage(ctx context.Context) (*stage, error) {
	if n := len(e.stages); n > 0 {
		st := e.stages[n-1]
		e.stages = e.stages[:n-1]
		st.exact, st.layout = true, false
		return st, nil
	}
	st, err := openStage(ctx, e.template)
	if err == nil {
		st.parallel = e.parallel
	}
	return st, err
}

// rehearse gets to know the application of a scenario. It is done once.
func (e *Explorer) rehearse(ctx context.Context, s race.Scenario, hang time.Duration) error {
	if _, done := e.parallel[s.System]; done || s.System == nil || s.System.Habits().Rehearsal == nil {
		return nil
	}
	st, err := e.stage(ctx)
	if err != nil {
		return err
	}
	parallel, err := st.rehearse(ctx, s, hang)
	if err != nil {
		return errors.Join(err, st.Close(context.WithoutCancel(ctx)))
	}
	e.parallel[s.System] = parallel
	if st.application.Habits.Cold {
		return st.Close(ctx)
	}
	e.stages = append(e.stages, st)
	return nil
}
