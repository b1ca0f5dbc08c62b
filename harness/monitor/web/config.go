package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
)

// What a repair may come to, beside its run.
var (
	ErrRefused = errors.New("the repair is refused")          // to ask again does not help
	ErrBusy    = errors.New("another one is making a repair") // later, it may be made
)

// Source is what the pages and answers come from.
type Source interface {
	// Watches returns what is watched, always the same.
	Watches() []monitor.Watch
	// Result returns the latest result of a watch, if it is not older than that, and otherwise looks. An error: there is no result at all.
	Result(ctx context.Context, name string, fresh time.Duration) (monitor.Result, error)
	// Indexes returns the indexes that ought to be there, and when they were looked at.
	Indexes(ctx context.Context, fresh time.Duration) ([]history.Index, time.Time, error)
	// Health returns how the database is, without asking it.
	Health() monitor.Health
	// Changes subscribes to what breaks and heals from now on, until stop is called or the channel is closed.
	Changes() (changes <-chan monitor.Change, stop func())
}

// Role is what a token is good for.
type Role string

// The roles. Each may do what those before it may.
const (
	Read   Role = "read"
	Repair Role = "repair"
)

// may reports whether the role is enough for what needs another.
func (r Role) may(needed Role) bool { return r == needed || r == Repair }

// Token is who may ask.
type Token struct {
	Name   string // in logs and on the page; its own
	Role   Role
	Secret string // what is sent; at least 16 visible ASCII characters
}

// Config says what a [Site] serves, and to whom.
type Config struct {
	Source Source  // required
	Tokens []Token // at least one is required, unless Open

	// Open asks nobody for a token: for listeners on a loopback address only, which [Site.Serve] makes sure of. Requests must then be addressed to a
	// loopback name or address, so that a page elsewhere cannot have its own name lead here, and must not look as if they came through a proxy. A token
	// that is sent all the same must be right if there are any.
	Open bool

	// PublicHealth and PublicMetrics let anybody ask for /readyz and for /metrics. Nobody needs a token for /healthz, which tells nothing.
	PublicHealth, PublicMetrics bool

	// BehindTLS says that a proxy in front of the listener speaks TLS: the cookie of a session is then for TLS only, as it is where the listener itself
	// speaks TLS. There must be tokens.
	BehindTLS bool

	// Fresh is the least age of a look for which somebody who asks may have the database looked at again. 0: 5 s; negative: whatever its age.
	Fresh time.Duration

	// Repair plans a repair, or makes it; an error may be [ErrRefused] or [ErrBusy], and the run is what was done until then. Nil: there is none. It is called at most once at a time, and its context ends with the request.
	Repair func(ctx context.Context, apply bool) (history.Run, error)

	Collectors []prometheus.Collector // of more metrics, as of notifications

	Log     *slog.Logger // requests, and what goes wrong; nil: nowhere
	Version string       // of Interlock, for the page and the metrics; empty: "unknown"

	beat time.Duration    // between two states of a stream; 0: 10 s
	now  func() time.Time // nil: time.Now
}

const shortest = 16 // characters of a secret

var visible = regexp.MustCompile(`^[!-~]*$`)

// resolve fills in the defaults, and tells of everything that is wrong.
func (c Config) resolve() (Config, error) {
	var wrong []error
	if c.Source == nil {
		wrong = append(wrong, errors.New("no source; try giving it a *monitor.Monitor"))
	}
	if len(c.Tokens) == 0 && !c.Open {
		wrong = append(wrong, errors.New("no token, and nobody could ask; try giving one, or listening on a loopback address only"))
	}
	if len(c.Tokens) == 0 && c.BehindTLS {
		wrong = append(wrong, errors.New("there is a proxy in front (behind_tls) and no token, so that whoever reaches the proxy could do everything; try giving tokens"))
	}
	names, secrets := map[string]bool{}, map[string]bool{}
	for i, t := range c.Tokens {
		called := fmt.Sprintf("token %d (%q)", i+1, t.Name)
		switch {
		case t.Name == "":
			wrong = append(wrong, fmt.Errorf("token %d has no name; try one that says who holds it, as \"prometheus\"", i+1))
		case names[t.Name]:
			wrong = append(wrong, fmt.Errorf("%s has the name of another; try names of their own", called))
		}
		if t.Role != Read && t.Role != Repair {
			wrong = append(wrong, fmt.Errorf("%s has the role %q; try %q or %q", called, t.Role, Read, Repair))
		}
		switch {
		case len(t.Secret) < shortest || !visible.MatchString(t.Secret):
			wrong = append(wrong, fmt.Errorf("%s has a secret that is not %d or more visible ASCII characters; try: openssl rand -hex 32", called, shortest))
		case secrets[t.Secret]:
			wrong = append(wrong, fmt.Errorf("%s has the secret of another; try: openssl rand -hex 32", called))
		}
		names[t.Name], secrets[t.Secret] = true, true
	}
	if len(wrong) > 0 {
		return c, fmt.Errorf("web: %w", errors.Join(wrong...))
	}
	switch {
	case c.Fresh == 0:
		c.Fresh = 5 * time.Second
	case c.Fresh < 0:
		c.Fresh = latest
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Version == "" {
		c.Version = "unknown"
	}
	if c.beat == 0 {
		c.beat = 10 * time.Second
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c, nil
}

// latest is an age that no result has: the latest one will do, and the database is left alone.
const latest = time.Duration(1<<63 - 1)
