package monitor

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/check"
)

// Config says what to watch, and how much of the database it may cost. Where 0 stands for a default, less than 0 is a mistake.
type Config struct {
	Database *pgx.ConnConfig // required
	Watches  []Watch         // at least one; their names differ
	Indexes  []check.Index   // see [Monitor.Indexes]

	Every time.Duration // from one look at a watch at set times to the next; 0: 10 s
	Share float64       // of the time, that looks at one watch may take: more than 0, at most 1. 0: 0.1. It does not make a day pass without one. Looks
	// that somebody asks for come on top where they are cheap, up to 100 ms, or in part; see [Monitor.Result]

	// Full is how long after a look at everything the next one is made, where an index tells what has been written meanwhile. 0: 5 min. Where no index
	// does, the next one is made as soon as Share allows.
	Full time.Duration
	// Overlap is how much further back than the oldest transaction that can be seen an index is asked for what has been written, for clocks that
	// differ and transactions that are hidden from our role, or run on the primary of a replica. 0: 1 min.
	Overlap time.Duration
	// Part is how long a look in part ought to take: as many keys are looked at, on top of those that must be. 0: 20 ms.
	Part time.Duration

	Groups int // of one watch, to keep; the others are counted. 0: 10,000

	ConnectTimeout   time.Duration // 0: 5 s
	StatementTimeout time.Duration // 0: 1 min
	LockTimeout      time.Duration // 0: 1 s
	Backoff          time.Duration // after the first look that fails; doubled with each further one, up to Every. 0: 250 ms
	Renew            time.Duration // a connection older than that is replaced, so that changed settings and another primary are noticed. 0: 1 min

	Now    func() time.Time // nil: time.Now
	Random func() float64   // from [0, 1), to spread what comes back after an outage; nil: math/rand/v2
}

var goodName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// resolve returns the config with its defaults filled in, or all that is wrong with it.
func (c Config) resolve() (Config, error) {
	var wrong []error
	mistake := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if c.Database == nil {
		mistake("no database; try giving pgx.ParseConfig a DSN")
	} else {
		c.Database = c.Database.Copy()
	}
	if len(c.Watches) == 0 {
		mistake("nothing to watch; try scenarios.Watches")
	}
	c.Watches = slices.Clone(c.Watches)
	for i, w := range c.Watches {
		switch {
		case !goodName.MatchString(w.Name):
			mistake("watch %d: the name %q is not one; try lower case with hyphens, as duplicate-sessions", i, w.Name)
		case slices.ContainsFunc(c.Watches[:i], func(other Watch) bool { return other.Name == w.Name }):
			mistake("watch %d: there is another watch named %s; try another name", i, w.Name)
		}
		if w.All == "" {
			mistake("watch %d (%s): no query; try giving it All", i, w.Name)
		}
		if w.Some == "" && (w.Changed != "" || w.Next != "") {
			mistake("watch %d (%s): Changed and Next are nothing without Some; try giving it Some", i, w.Name)
		}
	}
	if c.Share < 0 || c.Share > 1 {
		mistake("share %v is none; try 0.1, a tenth of the time", c.Share)
	}
	if c.Share == 0 {
		c.Share = 0.1
	}
	if c.Groups < 0 {
		mistake("groups %d is less than 0; try 0, for the default of 10000", c.Groups)
	}
	if c.Groups == 0 {
		c.Groups = 10_000
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		or    time.Duration
	}{
		{"every", &c.Every, 10 * time.Second},
		{"full", &c.Full, 5 * time.Minute},
		{"overlap", &c.Overlap, time.Minute},
		{"part", &c.Part, 20 * time.Millisecond},
		{"connect timeout", &c.ConnectTimeout, 5 * time.Second},
		{"statement timeout", &c.StatementTimeout, time.Minute},
		{"lock timeout", &c.LockTimeout, time.Second},
		{"backoff", &c.Backoff, 250 * time.Millisecond},
		{"renew", &c.Renew, time.Minute},
	} {
		if *d.value < 0 || *d.value > 0 && *d.value < time.Millisecond {
			mistake("%s %v is less than a millisecond; try 0, for the default of %v", d.name, *d.value, d.or)
		}
		if *d.value == 0 {
			*d.value = d.or
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	if wrong != nil {
		return Config{}, fmt.Errorf("the monitor cannot be opened: %w", errors.Join(wrong...))
	}
	c.Database.RuntimeParams["application_name"] = "interlock serve"
	c.Database.ConnectTimeout = c.ConnectTimeout
	return c, nil
}

// patience is how long a look may take as a whole.
func (c Config) patience() time.Duration {
	return c.ConnectTimeout + c.StatementTimeout + 5*time.Second // for what is not the one statement that takes long
}

// rest is how long nothing may be done after what took so long, for it to be no more than a share of the time. A day is the most.
func rest(took time.Duration, share float64) time.Duration {
	return time.Duration(min(float64(took)*(1/share-1), float64(24*time.Hour)))
}

// backoff is how long it is after so many failures in a row until the next try: half of it is left to chance.
func (c Config) backoff(failures int) time.Duration {
	wait := c.Backoff
	for i := 1; i < failures && wait < c.Every; i++ {
		wait *= 2
	}
	wait = min(wait, max(c.Every, c.Backoff))
	return wait/2 + time.Duration(c.Random()*float64(wait/2))
}
