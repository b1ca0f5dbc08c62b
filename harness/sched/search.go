package sched

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Strategy says how a search chooses.
type Strategy string

// The strategies.
const (
	All     Strategy = "all"     // every order, those with the fewest preemptions first
	Reduced Strategy = "reduced" // one order of each class that Postgres can tell apart
	Random  Strategy = "random"  // any client that can run, with the same chance
	PCT     Strategy = "pct"     // random priorities that change at random points
	Replay  Strategy = "replay"  // a recorded schedule
)

// Config says what to search. Zero values are explained with each field.
type Config struct {
	Strategy Strategy

	// Rules, Catalog and Watch are for Reduced. Watch has, for each invariant that is looked at after every commit, the relations that it
	// reads; none: invariants are looked at in the end only.
	Rules   Rules
	Catalog Catalog
	Watch   [][]string

	Seed  int64 // of Random and PCT
	Runs  int   // how many runs of Random and PCT; 0: until Stop
	Depth int   // of the bugs that PCT looks for: d−1 change points a run; 0: 3
	Steps int   // the most that one run of PCT has, k; 0: as many as the longest of those before it had, as far as they are known

	// Preemptions bounds All: orders with more of them are not tried. 0: no bound; negative: none at all.
	Preemptions int

	// Schedule is what Replay repeats. Only the client of a step is needed; a Kind or a Text that is there must match.
	Schedule []Step

	// MaxSteps cuts a run short, such as one whose client retries for ever. 0: 10,000.
	MaxSteps int

	// Settled is told of each run in an order that does not depend on how many workers there are, as soon as all runs before it are over;
	// runs that Settled was not told of yet count for nothing. It returns false to end the search. Calls do not overlap, and it must not
	// call the search. Nil: nobody is told.
	Settled func(*Run) bool
}

// Search decides which runs to make, and each step of each run. Its methods may be called by several goroutines; those of one Run by one.
type Search struct {
	config Config

	mu       sync.Mutex
	changed  sync.Cond // a run is over, or the search is
	strategy strategy
	out      int // runs that a worker has
	stopped  bool
	coverage Coverage
	shape    []int // steps by client, of all runs so far
	shapes   bool  // they had the same, and nobody waited
}

// strategy is one way to search. The Search holds its lock during all calls.
type strategy interface {
	// next returns a run that can be made now; nil: none before one that is out has ended, or ever.
	next() *Run
	pick(r *Run, held []Step) (client int, status Status) // a status other than Running: do not go on
	observe(r *Run, e Event, client int) error
	end(r *Run)     // the run is over: it may be settled when its turn comes
	abandon(r *Run) // the run counts for nothing and has to be made again

	// settle returns the next run whose turn has come; nil: it is not over yet, or there are no more.
	settle() *Run
	cover(c *Coverage)
}

// New returns a search that has not begun.
func New(config Config) (*Search, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if config.Runs < 0 || config.Depth < 0 || config.Steps < 0 || config.MaxSteps < 0 {
		bad("runs %d, depth %d, steps %d, max steps %d: none may be negative", config.Runs, config.Depth, config.Steps, config.MaxSteps)
	}
	if config.Depth == 0 {
		config.Depth = 3
	}
	if config.MaxSteps == 0 {
		config.MaxSteps = 10_000
	}
	s := &Search{config: config, shapes: true}
	s.changed.L = &s.mu
	switch config.Strategy {
	case All:
		s.strategy = newExhaustive(config)
	case Reduced:
		s.strategy = newReduced(config)
	case Random, PCT:
		s.strategy = newSampled(config)
	case Replay:
		s.strategy = &replayed{schedule: config.Schedule}
	default:
		bad("strategy %q is not one of %q", config.Strategy, []Strategy{All, Reduced, Random, PCT, Replay})
	}
	return s, errors.Join(errs...)
}

// Next returns a run to make, or nil when there are no more. When that depends on runs that others still make it waits for them.
func (s *Search) Next() *Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.stopped {
		if r := s.strategy.next(); r != nil {
			s.out++
			r.search, r.last = s, -1
			r.Status = Running
			return r
		}
		if s.out == 0 {
			break
		}
		s.changed.Wait()
	}
	return nil
}

// Stop ends the search: Next returns nil from now on, and nothing is settled any more.
func (s *Search) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	s.changed.Broadcast()
}

// Coverage says what has been settled so far.
func (s *Search) Coverage() Coverage {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.coverage
	c.Strategy = s.config.Strategy
	s.strategy.cover(&c)
	whole := c.TooLong == 0 && !s.stopped
	c.Finished = c.Finished && whole
	c.Exhaustive = c.Exhaustive && whole
	if s.shapes && c.Runs > 0 {
		c.Possible = Orders(s.shape...)
	}
	return c
}

// Run is one execution, step by step. Its fields are the search's to set; they are final when it is settled.
type Run struct {
	Number      int       // among the settled, from 1
	Schedule    []Step    // what was released, in order
	Status      Status    // how it ended
	Preemptions int       // choices that left a client which could have gone on
	Waited      bool      // some client waited for another
	Mismatch    *Mismatch // where a replay did not fit; nil: it did
	Result      any       // what the driver gave End

	search *Search
	over   bool
	last   int   // the client released last; -1: none
	picked *Step // the step that was picked and of which no event was observed yet

	prefix []int // the choices that are not free: an earlier run has been through them, but for the last
	plan   any   // the strategy's own
}

// Mismatch says where a recorded schedule no longer fits.
type Mismatch struct {
	At   int    `json:"at"` // the choice, from 0
	Want *Step  `json:"want,omitempty"`
	Held []Step `json:"held"` // by client; none: all clients had ended
}

// Diverged reports whether the run went another way than an earlier one that made the same choices, or would have if it ended now: clients that have no
// step left where there was one are as different as others that have.
func (r *Run) Diverged() bool {
	r.search.mu.Lock()
	defer r.search.mu.Unlock()
	return r.diverged()
}

func (r *Run) diverged() bool {
	return r.Status == Diverged || r.Status == Running && len(r.Schedule) < len(r.prefix) && !r.search.stopped
}

// Pick returns the client to release, given the step that each client which can run is held at, in any order. False: do not go on; there
// is nothing to find (see Status), and the clients must be got rid of. A client that waits, or has ended, cannot run and is not given.
func (r *Run) Pick(held []Step) (client int, ok bool) {
	s := r.search
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.over || r.picked != nil || len(held) == 0 || s.stopped {
		return -1, false
	}
	if !slices.IsSortedFunc(held, byClient) {
		held = slices.SortedFunc(slices.Values(held), byClient)
	}
	if len(r.Schedule) >= s.config.MaxSteps {
		r.Status = TooLong
		return -1, false
	}
	client, r.Status = s.strategy.pick(r, held)
	if r.Status != Running {
		return -1, false
	}
	i := find(held, client)
	step := held[i]
	r.picked = &step
	if r.last >= 0 && client != r.last && find(held, r.last) >= 0 {
		r.Preemptions++
	}
	return client, true
}

func byClient(a, b Step) int { return a.Client - b.Client }

// find returns where client is among the held; -1: nowhere.
func find(held []Step, client int) int {
	return slices.IndexFunc(held, func(s Step) bool { return s.Client == client })
}

// stay returns the client that went last if it can go on, else the first that can; asleep says who must not. -1: nobody.
func (r *Run) stay(held []Step, asleep func(client int) bool) int {
	if find(held, r.last) >= 0 && !asleep(r.last) {
		return r.last
	}
	for _, step := range held {
		if !asleep(step.Client) {
			return step.Client
		}
	}
	return -1
}

func nobody(int) bool { return false }

// ErrDiverged is what an event is called that differs from the one which the same choices caused in an earlier run.
var ErrDiverged = errors.New("the same choices gave something else than before")

// Observe tells what releasing the picked client caused. An error is ErrDiverged, or a misuse; either way the run cannot go on: Abandon it
// to have it made again, or End it, which ends the search.
func (r *Run) Observe(e Event) error {
	s := r.search
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(e.Parts) == 0 || r.picked == nil || e.Client() != r.picked.Client {
		return errors.New("sched: an event must follow Pick, and begin with the step that was picked")
	}
	for _, p := range e.Parts {
		r.Waited = r.Waited || p.Outcome == Waits
	}
	step := *r.picked
	r.picked, r.last = nil, step.Client
	r.Schedule = append(r.Schedule, step)
	if err := s.strategy.observe(r, e, step.Client); err != nil {
		r.Status = Diverged
		return fmt.Errorf("step %d, client %d at %q: %w; the run depends on more than the order of its steps", len(r.Schedule), step.Client,
			step.Text, err)
	}
	return nil
}

// End says that the run is over: because no client has a step left, or because Pick said so. The result is kept for Settled. One that has
// [Run.Diverged] ends the search.
func (r *Run) End(result any) {
	s := r.search
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.over {
		return
	}
	r.over, r.Result = true, result
	switch {
	case r.diverged():
		r.Status = Diverged
	case r.Status == Running:
		r.Status = Complete
	}
	s.out--
	s.coverage.Executed++
	defer s.changed.Broadcast()
	if r.Status == Diverged {
		s.stopped = true
		return
	}
	s.strategy.end(r)
	for !s.stopped {
		settled := s.strategy.settle()
		if settled == nil {
			break
		}
		s.settle(settled)
	}
}

func (s *Search) settle(r *Run) {
	switch r.Status {
	case Asleep:
		return // counted by the strategy; there is nothing to judge
	case TooLong:
		s.coverage.TooLong++
	default:
		s.coverage.Runs++
		s.compare(r)
	}
	r.Number = s.coverage.Runs + s.coverage.TooLong
	if s.config.Settled != nil && !s.config.Settled(r) {
		s.stopped = true
	}
}

// compare notes whether the run has the same steps as all before it.
func (s *Search) compare(r *Run) {
	var shape []int
	for _, step := range r.Schedule {
		for len(shape) <= step.Client {
			shape = append(shape, 0)
		}
		shape[step.Client]++
	}
	if s.shape == nil {
		s.shape = shape
	}
	s.shapes = s.shapes && !r.Waited && slices.Equal(s.shape, shape)
}

// Abandon says that the run came to nothing for reasons of the driver's own, and has to be made again.
func (r *Run) Abandon() {
	s := r.search
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.over {
		return
	}
	r.over = true
	s.out--
	s.strategy.abandon(r)
	s.changed.Broadcast()
}
