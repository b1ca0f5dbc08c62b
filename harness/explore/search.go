package explore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/interlock-pg/interlock/harness/arena"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
)

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

// newSearch returns one that has not begun, with a resolved configuration.
func newSearch(build func() race.Scenario, scenario race.Scenario, config Config) *search {
	x := &search{
		Config: config, build: func() race.Scenario { return build().Named() }, application: scenario.System != nil,
		result: Result{
			Exploration: history.Exploration{
				Strategy: string(config.Strategy), Clients: len(scenario.Clients), Outcomes: map[string]int{}, Workers: config.Workers, Faults: config.Faults,
			},
			Broken: map[string]int{}, First: map[string]Interleaving{},
		},
	}
	if x.application {
		settle := arena.Habits(scenario.System).Settle
		if config.patient {
			settle *= patience
		}
		x.result.Settle = history.Duration(settle)
	}
	return x
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
