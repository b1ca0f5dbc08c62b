package settings

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/internal/strict"
)

// Settings are what a file says. What it leaves out is the zero value.
type Settings struct {
	path string

	Postgres  Secret        `yaml:"postgres"` // the DSN of the database to watch
	Listen    string        `yaml:"listen"`   // host:port
	TLS       *TLS          `yaml:"tls"`
	BehindTLS bool          `yaml:"behind_tls"` // a proxy in front speaks TLS
	Public    Public        `yaml:"public"`
	Tokens    []Token       `yaml:"tokens"`
	Window    time.Duration `yaml:"window"` // how far apart two schedules of a device must be
	Checks    Checks        `yaml:"checks"`
	Repair    *Repair       `yaml:"repair"` // nil: nothing is repaired
	Notify    *Notify       `yaml:"notify"` // nil: nobody is told
}

// TLS names the files of a certificate and its key, PEM.
type TLS struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// Public is what anybody may ask for, without a token.
type Public struct {
	Health  bool `yaml:"health"`  // /readyz
	Metrics bool `yaml:"metrics"` // /metrics
}

// Secret says where a secret is: exactly one of its fields is set.
type Secret struct {
	File        string `yaml:"file"`        // its first line
	Environment string `yaml:"environment"` // the name of the variable
}

// Token is who may ask.
type Token struct {
	Name   string `yaml:"name"`
	Role   Role   `yaml:"role"`
	Secret `yaml:",inline"`
}

// Role is what a token is good for.
type Role string

// The roles.
const (
	Read Role = "read"
	Fix  Role = "repair"
)

// UnmarshalText reads a role.
func (r *Role) UnmarshalText(text []byte) error { return oneOf(r, text, Read, Fix) }

// Checks says when the invariants are looked at.
type Checks struct {
	Every       time.Duration `yaml:"every"`
	Full        time.Duration `yaml:"full"`         // everything, where a look may be at a part
	Timeout     time.Duration `yaml:"timeout"`      // of one statement
	LockTimeout time.Duration `yaml:"lock_timeout"` // of one lock
	Schedule    string        `yaml:"schedule"`     // of looks besides; cron
	Zone        Zone          `yaml:"zone"`
}

// Repair says when what breaks the invariants is resolved, and how far.
type Repair struct {
	Mode     Mode   `yaml:"mode"`
	Schedule string `yaml:"schedule"` // cron; empty: only when somebody asks for it
	Zone     Zone   `yaml:"zone"`
	Keep     string `yaml:"keep"` // which open session of a device stays
	Most     int    `yaml:"most"` // rows that one repair may cancel; 0: 1,000
}

// Mode says how far a repair goes.
type Mode string

// The modes of a repair.
const (
	DryRun Mode = "dry-run"
	Apply  Mode = "apply"
)

// UnmarshalText reads a mode.
func (m *Mode) UnmarshalText(text []byte) error { return oneOf(m, text, DryRun, Apply) }

// Notify says who is told when an invariant breaks, and of what.
type Notify struct {
	Destinations []Destination `yaml:"destinations"`
	Outbox       Outbox        `yaml:"outbox"`
	Source       string        `yaml:"source"`   // what messages call the database
	Link         string        `yaml:"link"`     // where to see more
	Groups       int           `yaml:"groups"`   // that a message lists
	Hide         bool          `yaml:"hide"`     // keys and facts of groups are not shown
	Update       time.Duration `yaml:"update"`   // at least, between two messages about one incident
	HealFor      time.Duration `yaml:"heal_for"` // good looks must span to end an incident
}

// Destination is who is told.
type Destination struct {
	Name   string `yaml:"name"`
	Kind   Kind   `yaml:"kind"`
	URL    Secret `yaml:"url"`
	Secret Secret `yaml:"secret"` // signs, of a webhook
}

// Kind is how a destination is told.
type Kind string

// The kinds of destination.
const (
	Slack   Kind = "slack"
	Webhook Kind = "webhook"
)

// UnmarshalText reads a kind.
func (k *Kind) UnmarshalText(text []byte) error { return oneOf(k, text, Slack, Webhook) }

// Outbox says where messages wait until they have been delivered: in tables of ours in the database, in a file, or in both, the file being for when the
// database is read only.
type Outbox struct {
	Table bool   `yaml:"table"`
	File  string `yaml:"file"`
}

// Zone is a time zone. The zero value is UTC.
type Zone struct{ *time.Location }

// UnmarshalText reads the name of a zone, as Asia/Seoul.
func (z *Zone) UnmarshalText(text []byte) error {
	location, err := time.LoadLocation(string(text))
	if err != nil || string(text) == "Local" {
		return strict.Problem{What: fmt.Sprintf("%q is no time zone", text), Try: "a name as Asia/Seoul, or UTC"}
	}
	z.Location = location
	return nil
}

func oneOf[S ~string](into *S, text []byte, known ...S) error {
	var words []string
	for _, k := range known {
		words = append(words, string(k))
	}
	if !slices.Contains(words, string(text)) {
		return strict.Problem{What: fmt.Sprintf("%q is none of them", text), Try: strict.Nearest(string(text), words)}
	}
	*into = S(text)
	return nil
}

// Load reads a file. The error is [strict.Errors] where the file is wrong.
func Load(path string) (*Settings, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w; try the example in docs/SERVE.md", err)
	}
	return Parse(path, text)
}

// Parse reads the text of a file. Names of files in it are relative to it.
func Parse(path string, text []byte) (*Settings, error) {
	s := &Settings{path: path}
	r := strict.New(path, text)
	r.Conceal() // a secret may stand there by mistake
	if r.Document(s, "the example in docs/SERVE.md") {
		s.check(r)
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Settings) check(r *strict.Reader) {
	secret := func(path string, of Secret, required bool) {
		if (of.File == "") == (of.Environment == "") && (required || of.File != "") {
			r.WrongAt(path, "a secret is in a file or in an environment variable", "{file: PATH} or {environment: NAME}, one of both")
		}
	}
	secret("postgres", s.Postgres, r.Has("postgres"))
	if _, _, err := net.SplitHostPort(s.Listen); s.Listen != "" && err != nil {
		r.WrongAt("listen", fmt.Sprintf("%q is no address to listen at", s.Listen), "host:port, as 127.0.0.1:8080 or :8080")
	}
	if s.TLS != nil && (s.TLS.Certificate == "" || s.TLS.Key == "") {
		r.WrongAt("tls", "TLS needs two files", "{certificate: cert.pem, key: key.pem}")
	}
	names := map[string]bool{}
	for i, t := range s.Tokens {
		at := fmt.Sprintf("tokens[%d]", i)
		switch {
		case t.Name == "":
			r.WrongAt(at, "the token has no name, by which logs call it", "name: grafana")
		case names[t.Name]:
			r.WrongAt(at+".name", fmt.Sprintf("there are two tokens called %q", t.Name), "another name")
		}
		if t.Role == "" {
			r.WrongAt(at, "nothing says what the token is good for", "role: read or role: repair")
		}
		names[t.Name] = true
		secret(at, t.Secret, true)
	}
	if r.Has("repair") && s.Repair != nil {
		if s.Repair.Mode == "" {
			r.WrongAt("repair", "nothing says how far a repair goes", "mode: dry-run or mode: apply")
		}
		if r.Has("repair.most") && s.Repair.Most < 1 {
			r.WrongAt("repair.most", "a repair that may cancel nothing is none", "most: 1000, or mode: dry-run")
		}
	}
	if s.Notify != nil {
		s.Notify.check(r, secret)
	}
}

func (n *Notify) check(r *strict.Reader, secret func(string, Secret, bool)) {
	if len(n.Destinations) == 0 {
		r.WrongAt("notify", "nobody is told", "destinations: [{name: team, kind: slack, url: {file: PATH}}]")
	}
	if !n.Outbox.Table && n.Outbox.File == "" {
		r.WrongAt("notify", "nothing says where messages wait until they are delivered", "outbox: {table: true}, or outbox: {file: PATH}")
	}
	names := map[string]bool{}
	for i, d := range n.Destinations {
		at := fmt.Sprintf("notify.destinations[%d]", i)
		switch {
		case d.Name == "":
			r.WrongAt(at, "the destination has no name, under which messages wait for it", "name: team")
		case names[d.Name]:
			r.WrongAt(at+".name", fmt.Sprintf("there are two destinations called %q", d.Name), "another name")
		}
		names[d.Name] = true
		if d.Kind == "" {
			r.WrongAt(at, "nothing says how it is told", "kind: slack or kind: webhook")
		}
		secret(at+".url", d.URL, true)
		secret(at+".secret", d.Secret, d.Kind == Webhook)
		if d.Kind == Slack && d.Secret != (Secret{}) {
			r.WrongAt(at+".secret", "Slack wants no signature", "leaving it out")
		}
	}
}

// Resolve returns a name of a file in the settings, relative to the working directory.
func (s *Settings) Resolve(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(s.path), name)
}

// Read returns a secret; what says what it is for.
func (s *Settings) Read(of Secret, what string) (string, error) {
	if of.Environment != "" {
		text := os.Getenv(of.Environment)
		if text == "" {
			return "", fmt.Errorf("%s: the environment variable %s is empty; try setting it", what, of.Environment)
		}
		return text, nil
	}
	text, err := os.ReadFile(s.Resolve(of.File))
	if err != nil {
		return "", fmt.Errorf("%s: %w; try another file", what, err)
	}
	line, _, _ := strings.Cut(strings.TrimLeft(string(text), "\r\n"), "\n")
	if line = strings.TrimSpace(line); line == "" {
		return "", fmt.Errorf("%s: there is nothing in %s; try writing it there", what, s.Resolve(of.File))
	}
	return line, nil
}

// Certificate reads the files of TLS.
func (s *Settings) Certificate() (tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(s.Resolve(s.TLS.Certificate), s.Resolve(s.TLS.Key))
	if err != nil {
		return c, fmt.Errorf("the certificate of TLS: %w; try PEM files of a certificate and its key", err)
	}
	return c, nil
}
