// Package auto gets a Postgres in the first way that works on this machine.
package auto

import (
	"context"
	"errors"
	"strings"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/docker"
	"github.com/interlock-pg/interlock/harness/server/dockertest"
	"github.com/interlock-pg/interlock/harness/server/dsn"
	"github.com/interlock-pg/interlock/harness/server/embedded"
	"github.com/interlock-pg/interlock/harness/server/local"
)

// Provider tries ways in turn.
type Provider struct {
	// Ways are tried in this order. None: dsn and nothing else if there is a [server.Config.DSN]; otherwise local, docker and embedded.
	Ways []server.Provider
}

// Name returns "auto".
func (Provider) Name() string { return "auto" }

// Start returns the server of the first way that works. Only a [*server.UnavailableError] makes it go on to the next; when there is none left,
// the error is a [*NoneError].
func (p Provider) Start(ctx context.Context, config server.Config) (*server.Server, error) {
	ways := p.Ways
	if len(ways) == 0 {
		if config.DSN != "" {
			return start(ctx, dsn.Provider{}, config)
		}
		ways = []server.Provider{local.Provider{}, docker.Provider{}, embedded.Provider{}}
	}
	none := new(NoneError)
	for _, way := range ways {
		s, err := start(ctx, way, config)
		if err == nil {
			return s, nil
		}
		unavailable := new(server.UnavailableError)
		if !errors.As(err, &unavailable) {
			return nil, err
		}
		config.Logf("not %s: %s", way.Name(), reason(unavailable))
		none.Passed = append(none.Passed, unavailable)
	}
	return nil, none
}

// start starts a server in one way, and says so.
func start(ctx context.Context, way server.Provider, config server.Config) (*server.Server, error) {
	s, err := way.Start(ctx, config)
	if err != nil {
		return nil, err
	}
	config.Logf("postgres %s, %s (%s), ready in %d ms", s.Release, s.Provider, s.Where, s.Ready.Milliseconds())
	return s, nil
}

// all are the ways that have a name of their own, in the order that people are told of them.
var all = []server.Provider{Provider{}, local.Provider{}, docker.Provider{}, dockertest.Provider{}, embedded.Provider{}, dsn.Provider{}}

// Named returns the provider that a word selects; see [Names].
func Named(name string) (server.Provider, bool) {
	for _, way := range all {
		if way.Name() == name {
			return way, true
		}
	}
	return nil, false
}

// Names returns the words that [Named] knows.
func Names() []string {
	var names []string
	for _, way := range all {
		names = append(names, way.Name())
	}
	return names
}

// NoneError says that no way to get a Postgres works here, with the reason of each.
type NoneError struct {
	Passed []*server.UnavailableError // in the order that they were tried
}

// width is how many columns a line of text has at most.
const width = 100

// Error returns several lines, meant for people.
func (e *NoneError) Error() string {
	var longest int
	var advice []string
	for _, u := range e.Passed {
		longest = max(longest, len(u.Provider))
		if u.Try != "" {
			advice = append(advice, u.Try)
		}
	}
	advice = append(advice, "--postgres postgres://user@host/database")

	var b strings.Builder
	b.WriteString("no Postgres found.\n")
	for _, u := range e.Passed {
		label := "  " + u.Provider + strings.Repeat(" ", longest-len(u.Provider)+2)
		wrap(&b, label, reason(u))
	}
	const label = "Try one of: "
	if text := strings.Join(advice, " · "); len(label+text) <= width {
		b.WriteString(label + text)
		return b.String()
	}
	b.WriteString("Try one of:\n")
	for _, try := range advice {
		wrap(&b, "  · ", try)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Unwrap returns the reasons.
func (e *NoneError) Unwrap() []error {
	var errs []error
	for _, u := range e.Passed {
		errs = append(errs, u)
	}
	return errs
}

// reason returns why a way does not work, on one line.
func reason(u *server.UnavailableError) string {
	why := u.Why
	if u.Err != nil {
		why += ": " + u.Err.Error()
	}
	return oneLine(why)
}

func oneLine(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "\n", "; ")), " ")
}

// wrap writes text behind a label, in as many lines as it takes.
func wrap(b *strings.Builder, label, text string) {
	indent := strings.Repeat(" ", len([]rune(label)))
	line := label
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
			line += word
		case len([]rune(line))+1+len([]rune(word)) > width:
			b.WriteString(line + "\n")
			line = indent + word
		default:
			line += " " + word
		}
	}
	b.WriteString(line + "\n")
}
