package target

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/ohler55/ojg/jp"

	"github.com/interlock-pg/interlock/harness/internal/strict"
	"github.com/interlock-pg/interlock/harness/race"
)

// File is a target file, read and checked. It is not to be changed. What the keys mean in full is in docs/TARGET.md.
type File struct {
	// Path is where the text is from, as it was given to [Parse].
	Path string `yaml:"-"`

	Name        string               `yaml:"name"` // scenario or scenario/variant. Left out: the name of the file without its ending
	Database    Database             `yaml:"database"`
	Application *Program             `yaml:"application"` // nil: all clients are commands
	Reset       Reset                `yaml:"reset"`
	Headers     map[string]string    `yaml:"headers"` // of every request
	Outcomes    Outcomes             `yaml:"outcomes"`
	Generators  map[string]Generator `yaml:"generators"`
	Clients     []Client             `yaml:"clients"`
	Invariants  []Invariant          `yaml:"invariants"`
	Marker      Marker               `yaml:"marker"`
	Background  []Rule               `yaml:"background"` // the first that fits counts
	Settle      time.Duration        `yaml:"settle"`     // how long the application may think before others go on without it. 0, left out: see [race.Habits]
	Delay       time.Duration        `yaml:"delay"`      // how long the fault of that name holds a statement up. 0, left out: see [race.Habits]

	system *Application
	reader *strict.Reader // knows where everything stands
}

// Error is one thing that is wrong with a target file, and where; Errors is all of it, in the order of the file.
type (
	Error  = strict.Error
	Errors = strict.Errors
)

// Program is how the application is started and where it answers.
type Program struct {
	Directory   string            `yaml:"directory"` // where build and command run. Left out: the target file's
	Build       []string          `yaml:"build"`     // run once before the first start. Left out: nothing
	Command     []string          `yaml:"command"`   // left out: it is running already
	Environment map[string]string `yaml:"environment"`
	URL         string            `yaml:"url"` // left out where there is a command: http://127.0.0.1:{{port}}
	Ready       Ready             `yaml:"ready"`
	Listen      string            `yaml:"listen"` // where a running application has been told that Postgres is
}

// Ready is how an application tells that it takes requests.
type Ready struct {
	Path   string        `yaml:"path"`   // asked with GET until the status is 2xx. Left out: / is asked until there is any answer
	Within time.Duration `yaml:"within"` // left out: 30 s
}

// Reset is what happens before each run, when the rows are as the migrations left them.
type Reset struct {
	SQL     string `yaml:"sql"`     // one or more statements
	Request *Call  `yaml:"request"` // to the application, which must answer 2xx
	Warm    *bool  `yaml:"warm"`    // see [File.Warm]
}

// Call is a request.
type Call struct {
	Method  string            `yaml:"method"` // left out: POST where there is a body, else GET
	Path    string            `yaml:"path"`
	Headers map[string]string `yaml:"headers"`
	JSON    any               `yaml:"json"` // the body. Left out: none
}

// Client is one client, or several that are alike.
type Client struct {
	Name     string            `yaml:"name"`   // left out: A, B and so on, by its place
	Copies   int               `yaml:"copies"` // how many it stands for. Left out: 1
	Headers  map[string]string `yaml:"headers"`
	Requests []Request         `yaml:"requests"` // one after another
	Command  []string          `yaml:"command"`  // instead of requests
}

// Request is one request of a client.
type Request struct {
	Name     string              `yaml:"name"` // left out: method and path
	Call     `yaml:",inline"`    // what is sent
	Row      *JSONPath           `yaml:"row"`     // the row that was created or changed
	Slot     string              `yaml:"slot"`    // see [race.Operation]
	Subject  string              `yaml:"subject"` // see [race.Operation]
	Outcomes Outcomes            `yaml:"outcomes"`
	Capture  map[string]JSONPath `yaml:"capture"`
	Retries  Retries             `yaml:"retries"`
}

// Retries is when a client tries again.
type Retries struct {
	Times int       `yaml:"times"` // at most, after the first try
	On    []Trouble `yaml:"on"`
}

// Invariant is one of the file's own, or one that is used by its name.
type Invariant struct {
	Name     string `yaml:"name"`
	Says     string `yaml:"says"`
	SQL      string `yaml:"sql"`
	Outcomes bool   `yaml:"outcomes"` // it reads interlock_outcomes, so it is judged at rest
	Use      string `yaml:"use"`
}

// Marker is how a client's mark reaches Postgres through the application.
type Marker struct {
	Header *string `yaml:"header"` // left out: traceparent. Empty: there is none
}

// Rule says what becomes of statements that no client has asked for. Where it has both patterns, both must be found.
type Rule struct {
	SQL             *regexp.Regexp `yaml:"sql"`
	ApplicationName *regexp.Regexp `yaml:"application_name"`
	Do              Treatment      `yaml:"do"`
}

// Treatment is what becomes of a statement that no client has asked for.
type Treatment string

// The treatments.
const (
	Pass   Treatment = "pass"   // it goes through unseen
	Freeze Treatment = "freeze" // it waits until the clients are done
)

// UnmarshalText reads one of the treatments.
func (t *Treatment) UnmarshalText(text []byte) error {
	*t = Treatment(text)
	if *t != Pass && *t != Freeze {
		return strict.Problem{What: fmt.Sprintf("nothing is done that is called %q", text), Try: "pass or freeze"}
	}
	return nil
}

// JSONPath is where something is in an answer, as $.id.
type JSONPath struct {
	text string
	expr jp.Expr
}

// String returns the path as it was written.
func (p JSONPath) String() string { return p.text }

// UnmarshalText reads a path.
func (p *JSONPath) UnmarshalText(text []byte) error {
	expr, err := jp.Parse(text)
	if err != nil || !strings.HasPrefix(string(text), "$") {
		return strict.Problem{What: fmt.Sprintf("%q is no JSON path", text), Try: "$.id, $.data.id or $.items[0].id"}
	}
	p.text, p.expr = string(text), expr
	return nil
}

// find returns what is first at the path in a JSON value.
func (p JSONPath) find(value any) (found any, ok bool) {
	found, ok = p.expr.FirstFound(value)
	return found, ok && found != nil
}

// MarshalJSON writes the path as it was written.
func (p JSONPath) MarshalJSON() ([]byte, error) { return json.Marshal(p.text) }

// Load reads and checks a target file.
func Load(path string) (*File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("target file: %w; try the path of a target file, as docs/TARGET.md describes it", err)
	}
	return Parse(path, text)
}

// Parse reads and checks the text of a target file; path is where it is from, which other paths in it are relative to. The error is [Errors], with
// all that is wrong with it.
func Parse(path string, text []byte) (*File, error) {
	r := strict.New(path, text)
	f := &File{Path: path, reader: r}
	if r.Document(f, "the example in docs/TARGET.md") {
		f.complete(r)
		f.check(r)
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	f.system = newApplication(f)
	return f, nil
}

// complete fills in what was left out.
func (f *File) complete(r *strict.Reader) {
	if f.Name == "" {
		f.Name = strings.TrimSuffix(filepath.Base(f.Path), filepath.Ext(f.Path))
	}
	f.Database.Migrations = f.resolve(f.Database.Migrations)
	f.Database.Schema = f.resolve(f.Database.Schema)
	if a := f.Application; a != nil {
		if a.Directory == "" {
			a.Directory = "."
		}
		a.Directory = f.resolve(a.Directory)
		if a.URL == "" && len(a.Command) > 0 {
			a.URL = "http://127.0.0.1:{{port}}"
		}
		if !r.Has("application.ready.within") {
			a.Ready.Within = 30 * time.Second
		}
	}
	if f.Reset.Request != nil {
		f.Reset.Request.complete()
	}
	for i := range f.Clients {
		c := &f.Clients[i]
		if c.Name == "" {
			c.Name = letter(i)
		}
		if !r.Has(fmt.Sprintf("clients[%d].copies", i)) {
			c.Copies = 1
		}
		for j := range c.Requests {
			req := &c.Requests[j]
			req.complete()
			if req.Name == "" {
				req.Name = req.Method + " " + req.Path
			}
		}
	}
}

func (c *Call) complete() {
	if c.Method != "" {
		return
	}
	c.Method = "GET"
	if c.JSON != nil {
		c.Method = "POST"
	}
}

// resolve returns a path that is relative to the file as one that is relative to the working directory.
func (f *File) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(f.Path), filepath.FromSlash(path))
}

// letter returns what the n-th client is called: A … Z, then A1 … Z1 and so on.
func letter(n int) string {
	named := race.Scenario{Clients: make([]race.Client, n+1)}.Named()
	return named.Clients[n].Name
}

// System returns the application, always the same value.
func (f *File) System() *Application { return f.system }

// Count returns how many clients there are.
func (f *File) Count() (n int) {
	for _, c := range f.Clients {
		n += c.Copies
	}
	return n
}

// Warm reports whether each client's requests are to be made once before the first run, so that pools and caches are filled.
func (f *File) Warm() bool { return f.Reset.Warm == nil || *f.Reset.Warm }

// Listen returns where a running application has been told that Postgres is; empty where the application is started with a URL of ours.
func (f *File) Listen() string {
	if f.Application == nil {
		return ""
	}
	return f.Application.Listen
}
