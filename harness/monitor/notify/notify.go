package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/interlock-pg/interlock/harness/internal/clock"
	"github.com/interlock-pg/interlock/harness/internal/strict"
	"github.com/interlock-pg/interlock/harness/monitor"
)

// Config says who is told, what, and how often. Of durations, 0 is the default and a negative one is none, where not said otherwise.
type Config struct {
	Destinations []Destination
	Source       string // of what: as "production"; empty: messages do not say it
	Link         string // where to see more; http or https; empty: nowhere
	Groups       int    // that a message lists; 0: 20; negative: none; at most 500
	Hide         bool   // messages say how many groups there are, and nothing else of them

	Update  time.Duration // at least, from one message about an incident to a Changed; 0: 15 min
	HealFor time.Duration // that good looks in a row must span to end an incident, so that what comes and goes is one; 0: 1 min; negative: one will do

	Timeout    time.Duration // of one attempt; 0 and negative: 10 s
	Backoff    time.Duration // before the second attempt; it doubles with each, and half of it is random; 0: 1 s
	MaxBackoff time.Duration // the longest; 0 and negative: 5 min. Where the destination refuses, or asks for it with Retry-After, it is an hour
	Pace       time.Duration // at least, from one message to the next for a destination; 0: 1 s, as Slack asks for
	Poll       time.Duration // how often to look for what another instance left; 0 and negative: 10 s

	Log    *slog.Logger   // nil: nowhere
	Clock  clock.Clock    // nil: the time
	Random func() float64 // in [0, 1); nil: random
}

// resolve fills in defaults, and says all that is wrong.
func (c Config) resolve() (Config, error) {
	var wrong []error
	for i, d := range c.Destinations {
		wrong = append(wrong, d.Check())
		if slices.ContainsFunc(c.Destinations[:i], func(other Destination) bool { return other.Name == d.Name }) {
			wrong = append(wrong, fmt.Errorf("two destinations are named %q; try another name for one", d.Name))
		}
	}
	wrong = append(wrong, CheckLink(c.Link), CheckGroups(c.Groups))
	for _, d := range []struct {
		what    *time.Duration
		usual   time.Duration
		instead time.Duration // of a negative one
	}{
		{&c.Update, 15 * time.Minute, 0},
		{&c.HealFor, time.Minute, 0},
		{&c.Timeout, 10 * time.Second, 10 * time.Second},
		{&c.Backoff, time.Second, 0},
		{&c.MaxBackoff, 5 * time.Minute, 5 * time.Minute},
		{&c.Pace, time.Second, 0},
		{&c.Poll, 10 * time.Second, 10 * time.Second},
	} {
		if *d.what == 0 {
			*d.what = d.usual
		} else if *d.what < 0 {
			*d.what = d.instead
		}
	}
	if c.Groups == 0 {
		c.Groups = 20
	}
	if c.Groups = max(c.Groups, 0); c.Hide {
		c.Groups = 0
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = clock.Real{}
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	return c, errors.Join(wrong...)
}

// CheckLink says what is wrong with Config.Link.
func CheckLink(link string) error {
	u, err := url.Parse(link)
	if link != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil) {
		return strict.Problem{What: "the link is none that can be shown", Try: "one as https://status.example.org/interlock"}
	}
	return nil
}

// CheckGroups says what is wrong with Config.Groups.
func CheckGroups(n int) error {
	if n > 500 {
		return strict.Problem{What: fmt.Sprintf("a message cannot list %d groups", n), Try: "500 at most"}
	}
	return nil
}

// Notifier tells people. It is safe for concurrent use.
type Notifier struct {
	config  Config
	outbox  Outbox
	client  *http.Client
	senders []*sender
	stir    chan struct{} // something is to be told at another time than was thought

	mu      sync.Mutex
	watches map[string]*watched
	trouble string // of the outbox, at the latest attempt to tidy it up; empty: there is none
}

// watched is what a notifier knows of one watch.
type watched struct {
	busy    sync.Mutex      // who brings the outbox up to date
	pending Backlog         // not yet compared with the outbox
	latest  *monitor.Result // that was
	again   time.Time       // when to compare it once more; zero: not needed
	open    string          // the incident, as far as this instance knows
	since   time.Time
	trouble string // of the outbox, at the latest attempt to bring it up to date
	saw     string // the latest of what was told whose groups this instance has all seen; who has busy has it
}

// New returns a notifier that tells through an outbox, which stays the caller's to close, after Run has returned.
func New(config Config, outbox Outbox) (*Notifier, error) {
	config, err := config.resolve()
	if err != nil {
		return nil, fmt.Errorf("notifications: %w", err)
	}
	n := &Notifier{config: config, outbox: outbox, stir: make(chan struct{}, 1), watches: map[string]*watched{}}
	n.client = newClient()
	for _, d := range config.Destinations {
		n.senders = append(n.senders, newSender(n, d))
	}
	return n, nil
}

// Observe takes the result of a look, and returns when what is to be told of it is safe in the outbox. It is to be called after every look that changed
// something and, with the result of the latest look, from time to time: only looks that go on end an incident. Where it fails, the result is remembered, as
// long as this process lives, and [Notifier.Run] tries again.
func (n *Notifier) Observe(ctx context.Context, r monitor.Result) error {
	name := watchName(r.Watch)
	if name == "" {
		return errors.New("a watch has no name; try one as duplicate-sessions")
	}
	n.mu.Lock()
	w := n.watches[name]
	if w == nil {
		w = &watched{}
		n.watches[name] = w
	}
	says := w.pending.Add(r)
	n.mu.Unlock()
	if !says {
		return nil
	}
	return n.settle(ctx, name, w)
}

// settle brings the outbox up to date with what was observed of a watch.
func (n *Notifier) settle(ctx context.Context, name string, w *watched) error {
	w.busy.Lock()
	defer w.busy.Unlock()
	for {
		n.mu.Lock()
		todo := w.latest
		if len(w.pending) > 0 {
			first := w.pending[0]
			todo = &first
		} else if w.again.IsZero() || n.config.Clock.Now().Before(w.again) {
			todo = nil
		}
		n.mu.Unlock()
		if todo == nil {
			return nil
		}
		told, again, err := n.compare(ctx, name, w, *todo)
		n.mu.Lock()
		w.trouble = textOf(err)
		if err != nil {
			n.mu.Unlock()
			return fmt.Errorf("telling of %s: %w; it is kept in memory, and tried again", name, err)
		}
		w.latest, w.again = todo, again
		if len(w.pending) > 0 && w.pending[0].Checked.Equal(todo.Checked) && w.pending[0].Version == todo.Version {
			w.pending = slices.Delete(w.pending, 0, 1)
		}
		n.mu.Unlock()
		if told {
			for _, s := range n.senders {
				nudge(s.wake)
			}
		}
		if !again.IsZero() {
			nudge(n.stir)
		}
	}
}

// compare compares a result with the outbox, and writes what is to be told.
func (n *Notifier) compare(ctx context.Context, name string, w *watched, r monitor.Result) (told bool, again time.Time, err error) {
	now := n.config.Clock.Now()
	state, err := n.outbox.Read(ctx, name)
	if err != nil {
		return false, time.Time{}, err
	}
	book := Book{State: state}
	changed, again, saw := n.config.observe(&book, r, w.saw, now)
	if changed {
		err = n.outbox.Update(ctx, name, func(b *Book) {
			changed, again, saw = n.config.observe(b, r, w.saw, now)
			book.State = b.State
		})
		if err != nil {
			return false, time.Time{}, err
		}
	}
	w.saw = saw
	n.mu.Lock()
	defer n.mu.Unlock()
	if was := w.open; was != book.State.Incident {
		n.config.Log.Info("incident", "watch", name, "opened", book.State.Incident, "ended", was)
	}
	w.open, w.since = book.State.Incident, book.State.Opened
	return changed, again, nil
}

// Run sends what is in the outbox until ctx is done, and returns its cause when all that it began has ended. It is to be called once. A message whose sending was cut short then is sent
// again at the next start, with the same id.
func (n *Notifier) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() {
		n.tend(ctx, func() {
			for _, s := range n.senders {
				all.Go(func() { s.run(ctx) })
			}
		})
	})
	all.Go(func() { n.retell(ctx) })
	all.Wait()
	n.client.CloseIdleConnections()
	return context.Cause(ctx)
}

// retell does again what Observe could not do, and what was too early to tell.
func (n *Notifier) retell(ctx context.Context) {
	for {
		wait := n.config.Poll
		n.mu.Lock()
		watches := map[string]*watched{}
		for name, w := range n.watches {
			if !w.again.IsZero() {
				wait = min(wait, max(0, w.again.Sub(n.config.Clock.Now())))
			}
			watches[name] = w
		}
		n.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-n.stir:
			continue
		case <-n.config.Clock.After(wait):
		}
		if e, is := n.outbox.(*either); is {
			if err := e.back(ctx); err != nil && ctx.Err() == nil {
				n.config.Log.Warn("messages wait in a file, and cannot be moved to the database", "error", err)
			}
		}
		for name, w := range watches {
			if err := n.settle(ctx, name, w); err != nil && ctx.Err() == nil {
				n.config.Log.Warn("what is to be told waits in memory", "watch", name, "error", err)
			}
		}
	}
}

// textOf returns what an error says; empty: there is none.
func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// nudge wakes who waits on a channel of one place.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
