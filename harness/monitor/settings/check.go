package settings

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/interlock-pg/interlock/harness/internal/strict"
	"github.com/interlock-pg/interlock/harness/monitor/agenda"
	"github.com/interlock-pg/interlock/harness/monitor/notify"
	"github.com/interlock-pg/interlock/harness/monitor/web"
)

// checker says what is wrong with settings, and where.
type checker struct{ *strict.Reader }

func (c checker) settings(s *Settings, keeps []string) {
	c.secret("postgres", s.Postgres, c.Has("postgres"))
	if s.Listen != "" {
		c.problem("listen", CheckListen(s.Listen))
	}
	if s.TLS != nil && (s.TLS.Certificate == "" || s.TLS.Key == "") {
		c.WrongAt("tls", "TLS needs two files", "{certificate: cert.pem, key: key.pem}")
	}
	c.tokens(s.Tokens)
	c.span("window", s.Window, "30m")
	c.span("checks.every", s.Checks.Every, "10s")
	c.span("checks.full", s.Checks.Full, "5m")
	c.span("checks.timeout", s.Checks.Timeout, "1m")
	c.span("checks.lock_timeout", s.Checks.LockTimeout, "1s")
	c.schedule("checks.schedule", s.Checks.Schedule, s.Checks.Zone)
	if s.Repair != nil {
		c.repair(s.Repair, keeps)
	}
	if s.Notify != nil {
		c.notify(s.Notify)
	}
}

// CheckListen says what is wrong with an address to listen at.
func CheckListen(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return strict.Problem{What: fmt.Sprintf("%q is no address to listen at", address), Try: "host:port, as 127.0.0.1:8080 or :8080"}
	}
	return nil
}

func (c checker) tokens(tokens []Token) {
	names := map[string]bool{}
	for i, t := range tokens {
		at := fmt.Sprintf("tokens[%d]", i)
		c.name(at, t.Name, names, "token", "the token has no name, by which logs call it", "name: grafana")
		if t.Role == "" {
			c.WrongAt(at, "nothing says what the token is good for", "role: read or role: repair")
		}
		oneOf(c, at+".role", t.Role, web.Read, web.Repair)
		c.secret(at, t.Secret, true)
	}
}

func (c checker) repair(s *Repair, keeps []string) {
	if s.Mode == "" {
		c.WrongAt("repair", "nothing says how far a repair goes", "mode: dry-run or mode: apply")
	}
	oneOf(c, "repair.mode", s.Mode, agenda.DryRun, agenda.Apply)
	c.schedule("repair.schedule", s.Schedule, s.Zone)
	if len(keeps) > 0 {
		oneOf(c, "repair.keep", s.Keep, keeps...)
	}
	if c.Has("repair.most") && s.Most < 1 {
		c.WrongAt("repair.most", "a repair that may cancel nothing is none", "most: 1000, or mode: dry-run")
	}
}

func (c checker) notify(s *Notify) {
	if len(s.Destinations) == 0 {
		c.WrongAt("notify", "nobody is told", "destinations: [{name: team, kind: slack, url: {file: PATH}}]")
	}
	if !s.Outbox.Table && s.Outbox.File == "" {
		c.WrongAt("notify", "nothing says where messages wait until they are delivered", "outbox: {table: true}, or outbox: {file: PATH}")
	}
	names := map[string]bool{}
	for i, d := range s.Destinations {
		at := fmt.Sprintf("notify.destinations[%d]", i)
		c.name(at, d.Name, names, "destination", "the destination has no name, under which messages wait for it", "name: team")
		if d.Kind == "" {
			c.WrongAt(at, "nothing says how it is told", "kind: slack or kind: webhook")
		}
		oneOf(c, at+".kind", d.Kind, notify.Slack, notify.Webhook)
		c.secret(at+".url", d.URL, true)
		c.secret(at+".secret", d.Secret, d.Kind == notify.Webhook)
		if d.Kind == notify.Slack && d.Secret != (Secret{}) {
			c.WrongAt(at+".secret", "Slack wants no signature", "leaving it out")
		}
	}
	c.problem("notify.link", notify.CheckLink(s.Link))
	c.problem("notify.groups", notify.CheckGroups(s.Groups))
	c.span("notify.update", s.Update, "15m")
	c.span("notify.heal_for", s.HealFor, "1m")
}

// name checks one of several names, which must be there and its own.
func (c checker) name(at, name string, taken map[string]bool, what, none, try string) {
	switch {
	case name == "":
		c.WrongAt(at, none, try)
	case taken[name]:
		c.WrongAt(at+".name", fmt.Sprintf("there are two %ss called %q", what, name), "another name")
	}
	taken[name] = true
}

func (c checker) secret(path string, of Secret, required bool) {
	if (of.File == "") == (of.Environment == "") && (required || of.File != "") {
		c.WrongAt(path, "a secret is in a file or in an environment variable", "{file: PATH} or {environment: NAME}, one of both")
	}
}

// span checks a time span, for which there is a usual one.
func (c checker) span(path string, d time.Duration, usual string) {
	if c.Has(path) && d < time.Millisecond {
		c.WrongAt(path, fmt.Sprintf("%v is less than a millisecond", d), usual+", or leaving it out")
	}
}

func (c checker) schedule(path, spec string, zone Zone) {
	if c.Has(path) {
		c.problem(path, agenda.Check(spec, zone.Location))
	}
}

// problem says what somebody else found out about a value.
func (c checker) problem(path string, err error) {
	var known strict.Problem
	if errors.As(err, &known) {
		c.WrongAt(path, known.What, known.Try)
	}
}

// oneOf checks a word, if there is one.
func oneOf[S ~string](c checker, path string, word S, known ...S) {
	if word == "" || slices.Contains(known, word) {
		return
	}
	words := make([]string, len(known))
	for i, k := range known {
		words[i] = string(k)
	}
	c.WrongAt(path, fmt.Sprintf("%q is none of them", word), strict.Nearest(string(word), words))
}
