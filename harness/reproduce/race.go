package reproduce

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/sqltext"
)

// Race is a recorded race with all that repeats it in an empty database, or in a copy of another one.
type Race struct {
	Name     string   // of what raced, as "sessions/none at 1"
	Says     string   // of the invariant, in one sentence
	Template string   // the database that it begins as a copy of, with its rows; empty: an empty one
	Schema   []string // scripts that make the schema, in their order; only what goes up

	// Example is the counterexample. Its Interleaving, its Start and its Query are what is written.
	Example history.Counterexample
}

// writable returns the race as it is written, or why it cannot be.
func (r Race) writable() (Race, error) {
	if err := r.check(); err != nil {
		return r, err
	}
	in := *r.Example.Interleaving
	in.Steps = slices.DeleteFunc(slices.Clone(in.Steps), func(s history.Step) bool { return s.Later() })
	r.Example.Interleaving = &in
	return r, nil
}

// check returns why the race cannot be written.
func (r Race) check() error {
	switch x := r.Example; {
	case x.Interleaving == nil:
		return fmt.Errorf("%s: the order of its steps was not recorded, for the race was met by luck; try interlock explore first", r.Name)
	case len(x.Interleaving.Steps) == 0:
		return fmt.Errorf("%s: no step was recorded; try making the run again", r.Name)
	case x.Query == "":
		return fmt.Errorf("%s: the query of %s was not recorded; try making the run again", r.Name, x.Invariant)
	}
	for _, s := range r.Example.Interleaving.Steps {
		if s.Fault != "" && !s.Later() {
			return fmt.Errorf("%s: a connection ends in it (%s), which no other tool can have happen at that place; try interlock replay", r.Name, s.Fault)
		}
		if !slices.Contains(r.Example.Interleaving.Clients, s.Client) {
			return fmt.Errorf("%s: the record has a step of %q, who is none of its clients; try making the run again", r.Name, s.Client)
		}
	}
	return nil
}

// plain returns why the schema is nothing that a server understands by itself.
func (r Race) plain() error {
	for _, script := range r.Schema {
		for _, s := range sqltext.Split(script) {
			if s.Kind != sqltext.SQL || s.ReadsInput() {
				return fmt.Errorf("%s: its schema has what only psql understands, on line %d of a script: %.40q; try --as psql", r.Name, s.Line, s.Text)
			}
		}
	}
	return nil
}

// title says what breaks, on one line.
func (r Race) title() string {
	says := r.Name + " breaks " + r.Example.Invariant
	if r.Says != "" {
		says += ": " + r.Says
	}
	return line(says)
}

// place says in which database the race is repeated, and how that is made.
func (r Race) place() (says, createdb string) {
	if r.Template == "" {
		return "an empty database", "createdb race"
	}
	return "a copy of the database " + r.Template, "createdb --template '" + strings.ReplaceAll(r.Template, "'", `'\''`) + "' race"
}

// line returns s on one line, for a comment.
func line(s string) string { return strings.Join(strings.Fields(s), " ") }

// comment returns lines as a comment, each behind its mark.
func comment(mark string, lines ...string) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(strings.TrimRight(mark+" "+line(l), " ") + "\n")
	}
	return b.String()
}

// offending returns the rows that break the invariant, as they were recorded: one line each, the names of the columns first.
func (r Race) offending() []string {
	var lines []string
	for _, v := range r.Example.Round.Violations {
		if v.Invariant != r.Example.Invariant {
			continue
		}
		lines = []string{strings.Join(v.Rows.Columns, " | ")}
		for _, row := range v.Rows.Rows {
			lines = append(lines, values(row))
		}
	}
	return lines
}

func values(row []*string) string {
	cells := make([]string, len(row))
	for i, v := range row {
		cells[i] = "NULL"
		if v != nil {
			cells[i] = *v
		}
	}
	return strings.Join(cells, " | ")
}

// toldOf says what the clients were told, for an invariant that is about this.
func (r Race) toldOf() []string {
	lines := []string{fmt.Sprintf("%s is about what the clients are told, and SQL alone does not know that. They were told:", r.Example.Invariant)}
	for _, s := range r.Example.Interleaving.Steps {
		for _, told := range s.Told {
			why := ""
			if state := operation(r.Example, s.Client, told.Operation).SQLState; state != "" {
				why = ", for " + state
			}
			lines = append(lines, fmt.Sprintf("%s: %s%s (%s), after %d", s.Client, told.Outcome, why, told.Kind, s.Number))
		}
	}
	return append(lines, "which breaks it: "+r.Says)
}

var errReturned = errors.New("uses a value that the server made up, which a spec cannot carry from one step to the next; try --as psql")
