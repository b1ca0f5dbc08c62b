package explore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/arena"
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

// search is one search, from the beginning to its end.
func (e *Explorer) search(ctx context.Context, build func() race.Scenario, config Config) (Result, error) {
	began := time.Now()
	scenario := build()
	if config.Strategy == "" {
		config.Strategy = sched.Reduced
		if scenario.System != nil || len(config.Faults) > 0 { // clients share more than the database: its connections, for one
			config.Strategy = sched.All
		}
	}
	if config.Strategy == sched.Reduced && len(config.Faults) > 0 {
		return Result{}, errors.New("the reduction knows nothing of faults; try strategy all")
	}
	if len(scenario.Clients) > history.MostClients && len(config.Faults) > 0 {
		return Result{}, fmt.Errorf("%d clients are too many to have faults happen to; try at most %d", len(scenario.Clients), history.MostClients)
	}
	if config.Strategy == sched.Reduced && scenario.AltersSchema {
		config.Strategy = sched.All // locks do not show who makes a table, nor who looks for one
	}
	if config.Workers <= 0 {
		config.Workers = runtime.GOMAXPROCS(0)
	}
	if slices.Contains(config.Faults, history.Restart) {
		if err := restartable(e.template.Server()); err != nil {
			return Result{}, err
		}
		if err := e.Close(ctx); err != nil { // stages of earlier searches would lose their connections
			return Result{}, err
		}
		config.Workers = 1 // there is one server
	}
	settle := time.Duration(0)
	if scenario.System != nil {
		habits := arena.Habits(scenario.System)
		settle = habits.Settle
		if config.patient {
			settle *= patience
		}
		if habits.Listen != "" {
			config.Workers = 1 // there is one of it
		}
	}
	config.Steps, config.Hang = cmp.Or(config.Steps, defaultSteps), cmp.Or(config.Hang, defaultHang)
	if config.Limit == 0 && (config.Strategy == sched.Random || config.Strategy == sched.PCT) {
		config.Limit = DefaultLimit
	}
	named := func() race.Scenario { return build().Named() }
	x := &search{Config: config, build: named, application: scenario.System != nil, result: Result{
		Exploration: history.Exploration{
			Strategy: string(config.Strategy), Clients: len(scenario.Clients), Outcomes: map[string]int{}, Workers: config.Workers, Faults: config.Faults,
		},
		Broken: map[string]int{}, First: map[string]Interleaving{},
	}}
	x.result.Settle = history.Duration(settle)
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

// search is a search under way.
type search struct {
	Config
	build       func() race.Scenario
	sched       *sched.Search
	survey      *survey
	until       time.Time // zero: no limit
	application bool      // clients ask one
	begun       sync.Once // began is set
	began       time.Time // when the first run of an application began

	mu       sync.Mutex
	result   Result
	diverged int             // runs
	steps    int             // of clients, in all runs
	silent   map[string]bool // clients that have made no step in any run
}

// begin prepares the search.
func (x *search) begin(ctx context.Context, e *Explorer) error {
	config := sched.Config{
		Strategy: x.Strategy, Rules: x.Rules, Seed: x.Seed, Depth: x.Depth, Preemptions: x.Preemptions, MaxSteps: x.Steps,
		Settled: x.settled,
	}
	if x.Strategy == sched.Random || x.Strategy == sched.PCT {
		config.Runs = x.Limit
	}
	for _, client := range x.Schedule {
		config.Schedule = append(config.Schedule, sched.Step{Client: client})
	}
	if x.Strategy == sched.Reduced {
		if e.survey == nil {
			st, err := openStage(ctx, e.template)
			if err != nil {
				return err
			}
			e.survey = st
		}
		if e.catalog == nil {
			read, err := readCatalog(ctx, e.survey.arena.Control)
			if err != nil {
				return err
			}
			e.catalog = &read
		}
		var err error
		if x.survey, err = newSurvey(ctx, x.build, x.Hang, e); err != nil {
			return err
		}
		config.Catalog = x.survey.catalog.Catalog
		if !x.AtEnd {
			config.Watch = x.survey.watch
		}
	}
	if !x.application {
		x.limit()
	}
	var err error
	x.sched, err = sched.New(config)
	return err
}

// limit says how long the search may go on from now.
func (x *search) limit() {
	if x.For > 0 {
		x.until = time.Now().Add(x.For)
	}
}

// retries is how often a run that diverged is tried again before it is taken for what the scenario is like. An application may be late now and then.
const (
	retries          = 2
	moreRetries      = 8  // of an application, of which the search learns first
	runsForEachRetry = 20 // of an application
)

// work makes runs until there are no more.
func (x *search) work(ctx context.Context, st *stage) error {
	if x.application {
		s := x.build()
		if err := errors.Join(st.prepare(ctx, s), st.host(ctx, s)); err != nil {
			x.sched.Stop()
			return err
		}
		x.begun.Do(func() {
			x.began = time.Now()
			x.limit()
		})
	}
	for r := x.sched.Next(); r != nil; r = x.sched.Next() {
		if !x.until.IsZero() && time.Now().After(x.until) {
			r.Abandon()
			x.sched.Stop()
			return nil
		}
		p, err := st.play(ctx, x.build(), r, x.survey, x.Config)
		if err == nil && r.Diverged() {
			err = fmt.Errorf("after %d releases, others can go on than before: %w", len(r.Schedule), sched.ErrDiverged)
		}
		switch {
		case errors.Is(err, sched.ErrDiverged) && x.again():
			st.layout, st.exact = true, true // if it was for where rows lie
			r.Abandon()
			continue
		case err != nil:
			r.Abandon()
			x.sched.Stop()
			return err
		}
		i := Interleaving{Told: told(p)}
		for _, v := range p.round.Violations {
			if !slices.Contains(i.Broken, v.Invariant) {
				i.Broken = append(i.Broken, v.Invariant)
			}
		}
		if x.Note != nil && !p.cut {
			if i.Note, err = x.Note(ctx, Look{Conn: st.arena.Control, Round: p.round}); err != nil {
				r.Abandon()
				x.sched.Stop()
				return err
			}
		}
		r.End(ended{i, p.wakes, p.seen})
	}
	return nil
}

// ended is what is kept of a run until it is settled.
type ended struct {
	Interleaving
	wakes int
	seen  seen
}

// Look is what Config.Note is given: a connection to the database as the clients left it, and what they were told.
type Look struct {
	Conn  *pgx.Conn
	Round history.Round
}

// settled is told of each run by the scheduler, in its order.
func (x *search) settled(r *sched.Run) bool {
	e := r.Result.(ended)
	if r.Status != sched.Complete {
		return false // cut short for its length: others would be as well
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	i := e.Interleaving
	i.Number, i.Preemptions = x.result.Executed+1, r.Preemptions
	for _, step := range r.Schedule {
		i.Choices = append(i.Choices, step.Client)
	}
	x.result.Executed++
	x.result.WakeOrders += e.wakes
	x.result.Thought += e.seen.thought
	x.result.Background = plus(x.result.Background, e.seen.passed)
	x.result.Frozen = plus(x.result.Frozen, e.seen.frozen)
	x.steps += len(r.Schedule)
	if x.result.Executed == 1 {
		x.silent = map[string]bool{}
		for _, name := range e.seen.silent {
			x.silent[name] = true
		}
	}
	maps.DeleteFunc(x.silent, func(name string, _ bool) bool { return !slices.Contains(e.seen.silent, name) })
	x.result.Outcomes[i.Told]++
	if len(i.Broken) > 0 {
		x.result.Violating++
	}
	for _, name := range i.Broken {
		x.result.Broken[name]++
		if _, seen := x.result.First[name]; !seen {
			x.result.First[name] = i
		}
	}
	x.result.Mismatch = r.Mismatch
	goOn := x.Each == nil || x.Each(i)
	return goOn && (x.Limit == 0 || x.result.Executed < x.Limit)
}

// plus adds counts to others; nil is none.
func plus(to, more map[string]int) map[string]int {
	if to == nil && len(more) > 0 {
		to = map[string]int{}
	}
	for key, n := range more {
		to[key] += n
	}
	return to
}

// again counts the runs that diverged, and reports whether one more may be tried again.
func (x *search) again() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.diverged++
	most := retries
	if x.application {
		most += moreRetries + x.result.Executed/runsForEachRetry
	}
	return x.diverged <= most
}

// fail notes why the search ends early.
func (x *search) fail(err error) {
	x.sched.Stop()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.result.Err == nil {
		x.result.Err, x.result.Trouble = err, err.Error()
	}
}

// left notes what could not be cleaned up after the search had failed.
func (x *search) left(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err != nil && !strings.Contains(x.result.Trouble, err.Error()) { // as that an application has ended
		x.result.Err = errors.Join(x.result.Err, err)
		x.result.Trouble = x.result.Err.Error()
	}
}

// conclude says what was covered.
func (x *search) conclude() {
	c := x.sched.Coverage()
	x.result.Asleep, x.result.Preemptions, x.result.Bound = c.Asleep, c.Preemptions, c.Bound
	x.result.Complete = c.Exhaustive && x.result.Err == nil
	if x.Strategy == sched.Reduced && x.result.Thought > 0 {
		x.result.Complete = false
		x.result.Trouble = cmp.Or(x.result.Trouble, "clients of the application wait for more than the database, of which the reduction knows nothing; try --strategy all")
	}
	if x.application {
		x.result.Silent = slices.Sorted(maps.Keys(x.silent))
		if x.steps == 0 && x.result.Executed > 0 {
			x.result.Complete = false
			x.result.Trouble = cmp.Or(x.result.Trouble, silence)
		}
	}
	if c.Possible != nil {
		x.result.Possible = c.Possible.String()
	}
	if c.TooLong > 0 && x.result.Trouble == "" {
		x.result.Trouble = fmt.Sprintf("an interleaving was cut short after %d steps: does a client try again for ever?", x.Steps)
	}
}

// silence is what keeps a search of an application from having shown anything.
const silence = "no statement of a client came to Postgres by way of Interlock, so there was nothing to put into an order: does the application connect to where " +
	"it is told that Postgres is ({{proxy_url}} or listen), do the requests reach the code that asks the database, and are its statements not all named as " +
	"background, or answered from a cache? Try --json, which has what the clients were told, or interlock proxy, which shows what the application sends"

// told returns what the clients were told, in words.
func told(p played) string {
	var clients []string
	for _, name := range p.names {
		var words []string
		for _, op := range p.round.Operations {
			if op.Client == name {
				words = append(words, op.Outcome)
			}
		}
		clients = append(clients, name+" "+strings.Join(words, ", "))
	}
	return strings.Join(clients, "; ")
}
