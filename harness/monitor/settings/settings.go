package settings

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/internal/strict"
	"github.com/interlock-pg/interlock/harness/monitor/agenda"
	"github.com/interlock-pg/interlock/harness/monitor/notify"
	"github.com/interlock-pg/interlock/harness/monitor/web"
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
	Name   string   `yaml:"name"`
	Role   web.Role `yaml:"role"`
	Secret `yaml:",inline"`
}

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
	Mode     agenda.Mode `yaml:"mode"`
	Schedule string      `yaml:"schedule"` // cron; empty: only when somebody asks for it
	Zone     Zone        `yaml:"zone"`
	Keep     string      `yaml:"keep"` // which open session of a device stays
	Most     int         `yaml:"most"` // rows that one repair may cancel; 0: 1,000
}

// Notify says who is told when an invariant breaks, and of what.
type Notify struct {
	Destinations []Destination `yaml:"destinations"`
	Outbox       Outbox        `yaml:"outbox"`
	Source       string        `yaml:"source"`   // what messages call the database
	Link         string        `yaml:"link"`     // where to see more
	Groups       int           `yaml:"groups"`   // that a message lists
	Hide         bool          `yaml:"hide"`     // nothing is shown of groups but how many there are
	Update       time.Duration `yaml:"update"`   // at least, between two messages about one incident
	HealFor      time.Duration `yaml:"heal_for"` // good looks must span to end an incident
}

// Destination is who is told.
type Destination struct {
	Name   string      `yaml:"name"`
	Kind   notify.Kind `yaml:"kind"`
	URL    Secret      `yaml:"url"`
	Secret Secret      `yaml:"secret"` // signs, of a webhook
}

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

// Load reads a file. The error is [strict.Errors] where the file is wrong. Keeps are what repair.keep may be; none: anything.
func Load(path string, keeps ...string) (*Settings, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w; try the example in docs/SERVE.md", err)
	}
	return Parse(path, text, keeps...)
}

// Parse reads the text of a file, as Load does. Names of files in it are relative to it.
func Parse(path string, text []byte, keeps ...string) (*Settings, error) {
	s := &Settings{path: path}
	c := checker{strict.New(path, text)}
	c.Conceal() // a secret may stand there by mistake
	if c.Document(s, "the example in docs/SERVE.md") {
		c.settings(s, keeps)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

// Resolve returns a name of a file in the settings, relative to the working directory.
func (s *Settings) Resolve(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(s.path), name)
}

// Read returns a secret; what says which it is, by its key.
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
		return c, fmt.Errorf("tls: %w; try PEM files of a certificate and its key", err)
	}
	return c, nil
}
