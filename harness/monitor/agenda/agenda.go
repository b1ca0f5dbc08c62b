package agenda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/interlock-pg/interlock/harness/internal/clock"
)

// Job is something to be done at set times.
type Job struct {
	Name string
	Spec string         // when, as "0 3 * * *": see the package
	Zone *time.Location // that Spec is read in, unless it names one; nil: UTC

	// Do does it, and ends soon after ctx does. An error that is [ErrSkipped] says that there was a good reason not to do it.
	Do func(ctx context.Context) error
}

// ErrSkipped is wrapped by a job that was left to somebody else.
var ErrSkipped = errors.New("not done this time")

// Config is what an agenda has.
type Config struct {
	Jobs []Job
	Late time.Duration // a job may begin, where the machine slept; 0: 1 min; negative: for ever
	Log  *slog.Logger  // nil: nowhere

	Clock clock.Clock // nil: the time
}

// Status is how it goes with one job.
type Status struct {
	Name string
	Spec string
	Next time.Time // in the zone of the job

	Running   bool
	Started   time.Time     // the latest run; zero: there was none
	Took      time.Duration // the latest run that ended
	Why       string        // it failed, or was skipped; empty: it did what it is for
	Failing   bool          // it failed
	Succeeded time.Time     // when the latest run that did what it is for ended; zero: none has

	Runs    int // that were begun
	Failed  int // of Runs
	Skipped int // because the one before was at work, or the job said so
	Missed  int // because the time was over; several in a row count as one
}

// Agenda does jobs. It is safe for concurrent use.
type Agenda struct {
	config Config
	mu     sync.Mutex
	jobs   []*job
}

// job is a job and how it goes.
type job struct {
	Job
	schedule
	status Status // guarded by Agenda.mu
}

// New returns an agenda, or says all that is wrong with its jobs.
func New(config Config) (*Agenda, error) {
	if config.Late == 0 {
		config.Late = time.Minute
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.Clock == nil {
		config.Clock = clock.Real{}
	}
	a := &Agenda{config: config}
	var wrong []error
	now := a.now()
	for i, j := range config.Jobs {
		when, err := parse(j.Spec, j.Zone, now)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("job %s: %w", j.Name, err))
			continue
		}
		if j.Name == "" {
			wrong = append(wrong, fmt.Errorf("the job at %q has no name; try \"check\"", j.Spec))
		}
		if j.Do == nil {
			wrong = append(wrong, fmt.Errorf("job %s has nothing to do; give it a Do", j.Name))
		}
		if slices.ContainsFunc(config.Jobs[:i], func(other Job) bool { return other.Name == j.Name }) {
			wrong = append(wrong, fmt.Errorf("two jobs are named %s; try another name for one", j.Name))
		}
		a.jobs = append(a.jobs, &job{Job: j, schedule: when, status: Status{Name: j.Name, Spec: j.Spec, Next: when.Next(now)}})
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return a, nil
}

// Status returns how it goes with each job, in their order.
func (a *Agenda) Status() []Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []Status
	for _, j := range a.jobs {
		all = append(all, j.status)
	}
	return all
}

// now returns what the clock on the wall says. Beside it, [time.Now] has what a stopwatch says, and times that have that are compared by it: nobody would
// notice that the clock was set.
func (a *Agenda) now() time.Time { return a.config.Clock.Now().Round(0) }

// glance is how often an agenda looks at the clock at least, which somebody may have set.
const glance = time.Minute

// Run does the jobs until ctx is done, and returns its cause when those at work have ended. It is to be called once.
func (a *Agenda) Run(ctx context.Context) error {
	var working sync.WaitGroup
	defer working.Wait()
	last := a.now()
	a.plan(last)
	for {
		wait := glance
		a.mu.Lock()
		for _, j := range a.jobs {
			if !j.status.Next.IsZero() {
				wait = min(wait, max(0, j.status.Next.Sub(a.now())))
			}
		}
		a.mu.Unlock()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-a.config.Clock.After(wait):
		}
		began := a.config.Clock.Now()
		now := began.Round(0)
		if now.Before(last.Add(-glance)) { // the clock was put back
			a.plan(now)
		}
		last = now
		for _, j := range a.jobs {
			if a.due(j, now) && ctx.Err() == nil {
				working.Go(func() { a.do(ctx, j, began) })
			}
		}
	}
}

// plan says when each job comes next.
func (a *Agenda) plan(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, j := range a.jobs {
		j.status.Next = j.Next(now)
	}
}

// due reports whether a job is to be begun now; if so, it counts as begun.
func (a *Agenda) due(j *job, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &j.status
	at := s.Next
	if at.IsZero() || at.After(now) {
		return false
	}
	s.Next = j.Next(now)
	log := a.config.Log.With("job", j.Name, "due", at, "next", s.Next)
	switch {
	case a.config.Late >= 0 && now.Sub(at) > a.config.Late:
		s.Missed++
		log.Warn("a job was missed, and is not caught up", "late", now.Sub(at))
		return false
	case s.Running:
		s.Skipped++
		log.Warn("a job is not begun: the one before is at work", "since", s.Started)
		return false
	}
	s.Running, s.Started = true, now
	s.Runs++
	return true
}

func (a *Agenda) do(ctx context.Context, j *job, began time.Time) {
	err := j.Do(ctx)
	took, now := a.config.Clock.Now().Sub(began), a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &j.status
	s.Running, s.Took, s.Why, s.Failing = false, took, "", false
	log := a.config.Log.With("job", j.Name, "took", s.Took, "next", s.Next)
	switch {
	case err == nil:
		s.Succeeded = now
		log.Info("a job is done")
		return
	case errors.Is(err, ErrSkipped):
		s.Runs--
		s.Skipped++
		log.Info("a job was skipped", "why", err)
	default:
		s.Failed++
		s.Failing = true
		log.Error("a job failed", "why", err)
	}
	s.Why = err.Error()
}
