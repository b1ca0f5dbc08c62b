package draft

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/target"
	"github.com/interlock-pg/interlock/migrations"
)

// Draft is what a target file is going to say. Paths are relative to the file, with slashes.
type Draft struct {
	Name       string // of the scenario
	JSONSchema string // path of target.schema.json, for editors; empty: it is not at hand

	Migrations string            // a directory; or else
	Layout     migrations.Layout // of Migrations. Empty: it is recognised
	SchemaFile string            // a file of SQL

	Directory   string // where the application is; empty: beside the file
	Build       []string
	Command     []string
	Environment []Variable
	Ready       string // path that is answered with 2xx; empty: any answer to / will do

	Rows  string   // SQL that puts in what must be there before each run
	Race  Race     // who asks for what at once
	Rule  string   // a query that returns the rows which break the user's own invariant; empty: none
	Pings []string // regular expressions for statements of connection pools
	API   string   // the OpenAPI file that the project has; empty: none was found
	Notes []string // what the user has to know, a sentence each

	missing string // a note for when nothing is found that makes the tables
}

// Variable is a name with its value.
type Variable struct{ Name, Value string }

// Race is what the clients do.
type Race struct {
	Clients    []Client
	Generators []Generator
	Reset      *Request // makes the row that the clients are about
	Outcomes   []Outcome
}

// Client sends requests one after another.
type Client struct {
	Name     string
	Requests []Request
}

// Request is one request of a client.
type Request struct {
	Comment      string // said above it
	Method, Path string
	Headers      []Variable
	Body         any // nil: none
	Row          string
	Capture      []Variable
}

// Generator draws from values.
type Generator struct {
	Comment string
	Name    string
	Choice  []any
}

// Outcome is what statuses mean.
type Outcome struct {
	Name     string
	Statuses []string
}

// Under moves the paths of a draft for a file from which the project is at a path.
func (d Draft) Under(project string) Draft {
	if project == "" || project == "." {
		return d
	}
	d.Directory = path.Join(project, d.Directory)
	for _, p := range []*string{&d.Migrations, &d.SchemaFile} {
		if *p != "" && !path.IsAbs(*p) {
			*p = path.Join(project, *p)
		}
	}
	if d.JSONSchema != "" {
		d.JSONSchema = path.Join(project, d.JSONSchema)
	}
	return d
}

// YAML writes the draft as the target file at a path, which [target.Parse] has found to be right.
func (d Draft) YAML(at string) ([]byte, error) {
	switch {
	case len(d.Command) == 0:
		return nil, fmt.Errorf("nothing tells how the application is started; try the directory of its package.json, go.mod, manage.py, Gemfile, " +
			"pom.xml, build.gradle or Procfile")
	case len(d.Race.Clients) == 0:
		return nil, fmt.Errorf("there is no request to race; try --request 'POST /api/things {}'")
	}
	w := &writer{}
	d.write(w)
	text := []byte(w.String())
	if _, err := target.Parse(at, text); err != nil {
		return nil, fmt.Errorf("what would have been written is no target file: %w", err)
	}
	return text, nil
}

func (d Draft) write(w *writer) {
	if d.JSONSchema != "" {
		w.line("# yaml-language-server: $schema=" + d.JSONSchema)
	}
	w.line("# What Interlock races, written by interlock init and yours to change. docs/TARGET.md of Interlock describes every key.")
	w.line("name: " + scalar(d.Name))
	w.line("")
	w.line("# Where the tables come from. Each run has a database of its own, made from these; or, with {template: NAME}, from a database of yours.")
	switch {
	case d.SchemaFile != "":
		w.line("database: {schema: " + scalar(d.SchemaFile) + "}")
	case d.Layout != "":
		w.line("database: {migrations: " + scalar(d.Migrations) + ", layout: " + string(d.Layout) + "}")
	default:
		w.line("database: {migrations: " + scalar(d.Migrations) + "}")
	}
	w.line("")
	w.line("# How the application is built (once) and started. {{port}} is a free port, {{proxy_url}} is where its Postgres seems to be.")
	w.line("application:")
	if d.Directory != "" && d.Directory != "." {
		w.line("  directory: " + scalar(d.Directory))
	}
	if len(d.Build) > 0 {
		w.line("  build: " + words(d.Build))
	}
	w.line("  command: " + words(d.Command))
	if len(d.Environment) > 0 {
		w.line("  environment:")
		for _, v := range d.Environment {
			w.line("    " + scalar(v.Name) + ": " + scalar(v.Value))
		}
	}
	if d.Ready != "" {
		w.line("  ready: {path: " + scalar(d.Ready) + "} # asked until it is answered with 2xx")
	}
	d.writeReset(w)
	d.Race.write(w)
	d.writeInvariants(w)
	w.line("")
	w.line("# Statements that no client asked for. Pings of connection pools go through unseen.")
	w.line("background:")
	for _, ping := range d.Pings {
		w.line("  - {sql: " + quoted(ping) + ", do: pass}")
	}
}

func (d Draft) writeReset(w *writer) {
	w.line("")
	if d.Rows == "" && d.Race.Reset == nil {
		w.line("# Before each run the tables are as the migrations left them. What else must be there goes here:")
		w.line("# reset:")
		w.line("#   sql: insert into ...")
		return
	}
	w.line("# What is done before each run, on tables as the migrations left them.")
	w.line("reset:")
	if d.Rows != "" {
		w.text("  ", "sql", d.Rows)
	}
	if r := d.Race.Reset; r != nil {
		w.line("  request: # makes the row that the clients are about")
		r.write(w, "    ", "    ")
	}
}

func (r Race) write(w *writer) {
	if len(r.Outcomes) > 0 {
		w.line("")
		w.line("# What an answer means: created and done are what was asked for, conflict and not_found are polite refusals.")
		var parts []string
		for _, o := range r.Outcomes {
			parts = append(parts, o.Name+": ["+strings.Join(o.Statuses, ", ")+"]")
		}
		w.line("outcomes: {" + strings.Join(parts, ", ") + "}")
	}
	if len(r.Generators) > 0 {
		w.line("")
		w.line("# Values that {{name}} stands for below; with shared, the same one for all clients.")
		w.line("generators:")
		for _, g := range r.Generators {
			if g.Comment != "" {
				w.line("  # " + comment(g.Comment))
			}
			w.line("  " + g.Name + ": {choice: " + flow(g.Choice) + ", shared: true}")
		}
	}
	w.line("")
	w.line("# Who races: all of them at once, each with its requests one after another.")
	w.line("clients:")
	for _, c := range r.Clients {
		w.line("  - name: " + scalar(c.Name))
		w.line("    requests:")
		for _, req := range c.Requests {
			if req.Comment != "" {
				w.line("      # " + comment(req.Comment))
			}
			req.write(w, "      - ", "        ")
		}
	}
}

// write writes a request as a mapping; first is what stands before its first key.
func (r Request) write(w *writer, first, indent string) {
	w.line(first + "method: " + r.Method)
	w.line(indent + "path: " + scalar(r.Path))
	if len(r.Headers) > 0 {
		w.line(indent + "headers: " + mapping(r.Headers))
	}
	if r.Body != nil {
		w.json(indent, "json", r.Body)
	}
	if r.Row != "" {
		w.line(indent + "row: " + scalar(r.Row))
	}
	if len(r.Capture) > 0 {
		w.line(indent + "capture: " + mapping(r.Capture))
	}
}

func (d Draft) writeInvariants(w *writer) {
	w.line("")
	w.line("# What must never be: each is a query that returns the rows which break it. interlock_outcomes is what the clients were told.")
	w.line("invariants:")
	if d.Rule != "" {
		w.line("  - name: rule")
		w.text("    ", "sql", d.Rule)
	}
	w.line("  - name: no-500")
	w.line("    says: nobody is told 500")
	w.line("    sql: select client, number, kind, message from interlock_outcomes where outcome = 'failed' order by client, number")
	w.line("    outcomes: true # failed are all answers that have no other meaning above: 400 and 401 too")
	if d.Rule == "" {
		w.line("  # - name: one-each")
		w.line("  #   says: no two rows for the same thing")
		w.line("  #   sql: select thing, count(*) from things group by thing having count(*) > 1")
	}
}

// Sets reports whether the environment has a variable.
func (d Draft) sets(name string) bool {
	return slices.ContainsFunc(d.Environment, func(v Variable) bool { return v.Name == name })
}

// set puts a variable into the environment, in place of one with its name.
func (d *Draft) set(name, value string) {
	for i := range d.Environment {
		if d.Environment[i].Name == name {
			d.Environment[i].Value = value
			return
		}
	}
	d.Environment = append(d.Environment, Variable{name, value})
}
