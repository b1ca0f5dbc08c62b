package ddl

import (
	"errors"
	"fmt"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/schema"
	"github.com/interlock-pg/interlock/harness/sqltext"
)

// Facts are what is known of the database beside the file.
type Facts struct {
	Before      schema.Schema // before the migration; zero: unknown, and then every table that the file does not make was there
	Version     int           // major version of the server, as 15; zero: unknown
	Transaction bool          // the tool runs the file in one transaction, or as one message, which is one too
	Message     bool          // as one message: BEGIN and COMMIT in it are in order
}

// Statement is one statement, with what it is predicted to do.
type Statement struct {
	sqltext.Statement
	Kind string // as "CREATE INDEX"; empty for what the server does not get
	// Locks are on tables and views that were there before the file, the strongest of each. Those that reading and writing rows take as well
	// (up to ROW EXCLUSIVE) are left out.
	Locks []history.Lock
	// Rewrites are the tables that have another file afterwards: they are copied row by row, or emptied.
	Rewrites []string
	// Findings are in the order of their places. Their File is empty.
	Findings []history.Finding
}

// Read reads the statements of one migration file: file is the whole text, statements the parts of it that are applied, in order. A part that
// holds several statements is a message, which the server runs in one transaction; it comes back as several statements.
//
// A statement that the grammar refuses has a finding of rule "syntax" and nothing else. It is an error, but a warning where the server is newer
// than the grammar. The error of Read says that the grammar could not be asked at all.
func Read(file string, statements []sqltext.Statement, facts Facts) ([]Statement, []Directive, error) {
	r := &reader{file: file, facts: facts, before: index(facts.Before), created: map[name]bool{}, columns: map[name]map[string]string{}}
	r.begin()
	var all []*reading
	for _, whole := range statements {
		if whole.Kind == sqltext.Command || whole.Kind == sqltext.CopyData {
			all = append(all, &reading{reader: r, out: Statement{Statement: whole}})
			continue
		}
		parts := sqltext.Message(whole.Text)
		for _, part := range parts {
			part.Line += whole.Line - 1
			part.Offset += whole.Offset
			one := &reading{reader: r, together: len(parts) > 1, message: whole.Offset, out: Statement{Statement: part, Kind: kind(part.Words)}}
			node, err := parse(part.Text)
			var refused *syntaxError
			switch {
			case errors.As(err, &refused):
				one.refuse(refused)
			case err != nil:
				return nil, nil, fmt.Errorf("line %d: %w", part.Line, err)
			}
			one.node = node
			all = append(all, one)
		}
	}
	r.all = all
	out := make([]Statement, 0, len(all))
	for i, one := range all {
		if one.together && (i == 0 || all[i-1].message != one.message || !all[i-1].together) && !r.inTransaction() {
			r.begin()
		}
		r.at = i
		if one.node != nil {
			one.read()
		}
		out = append(out, one.done())
	}
	return out, directives(file), nil
}

// reader is what is known while a file is read.
type reader struct {
	file   string
	facts  Facts
	before catalog
	all    []*reading
	at     int // in all

	created map[name]bool              // relations that the file made, or gave another name
	columns map[name]map[string]string // types of the columns that the file made, by table
	path    []string                   // that the file set; nil: it did not
	utc     bool                       // it set the time zone to UTC

	begun bool // it said BEGIN
	// What is so for the transaction, or for the session.
	timeout, timeoutLocal bool                     // a lock_timeout is set
	labels                map[string]bool          // that were added to enums
	unproven              map[name]map[string]bool // constraints that were added NOT VALID, by table
	notNull               map[name][]*notNull      // CHECK (c IS NOT NULL)
	functions             map[string]string        // that the file made: immutable, stable or volatile
}

// begin forgets what belonged to the transaction before.
func (r *reader) begin() {
	r.labels, r.unproven, r.timeoutLocal = map[string]bool{}, map[name]map[string]bool{}, false
	if r.notNull == nil {
		r.notNull, r.functions = map[name][]*notNull{}, map[string]string{}
	}
}

// inTransaction reports whether a transaction is open around several statements.
func (r *reader) inTransaction() bool { return r.facts.Transaction || r.begun }

// reading is one statement being read.
type reading struct {
	*reader
	out      Statement
	node     *pg.Node
	together bool // with others in one message
	message  int  // where that begins
	locks    map[name]mode
	order    []name // of locks
}

func (s *reading) inTransaction() bool { return s.reader.inTransaction() || s.together }

// text is the statement without its semicolon.
func (s *reading) text() string {
	return strings.TrimRight(strings.TrimSuffix(s.out.Text, ";"), " \t\r\n")
}

// find adds a finding at a place in the statement, in bytes.
func (s *reading) find(rule string, level history.Level, at int32, rewrite *history.Rewrite, format string, a ...any) *history.Finding {
	line, column := place(s.file, s.out.Offset+int(max(at, 0)))
	s.out.Findings = append(s.out.Findings, history.Finding{
		Rule: rule, Level: level, Line: line, Column: column, Statement: s.text(), Says: fmt.Sprintf(format, a...), Rewrite: rewrite,
	})
	return &s.out.Findings[len(s.out.Findings)-1]
}

func (s *reading) refuse(e *syntaxError) {
	level, last := history.LevelError, "the server would too"
	switch {
	case e.mayBeFine:
		level, last = history.LevelWarning, "the server has the last word: nothing is predicted of this statement"
	case s.facts.Version > grammar:
		level, last = history.LevelWarning, "the server is newer and has the last word: nothing is predicted of this statement"
	}
	f := s.find(RuleSyntax, level, int32(e.at), nil, "The grammar of PostgreSQL %d refuses it: %s; %s.", grammar, e.message, last)
	if !e.mayBeFine {
		f.SQLState = "42601"
	}
}

// done sorts what was found.
func (s *reading) done() Statement {
	s.lockTimeout()
	for _, n := range s.order {
		m := s.locks[n]
		s.out.Locks = append(s.out.Locks, history.Lock{Table: s.show(n), Mode: m.String(), Blocks: m.blocks()})
	}
	sortFindings(s.out.Findings)
	return s.out
}

// copyOf returns the statement's tree, to be changed.
func (s *reading) copyOf() *pg.Node { return proto.Clone(s.node).(*pg.Node) }

// place returns the line and the column, both from 1, the column in characters.
func place(file string, offset int) (line, column int) {
	before := file[:min(max(offset, 0), len(file))]
	start := strings.LastIndexByte(before, '\n') + 1
	return 1 + strings.Count(before, "\n"), 1 + len([]rune(before[start:]))
}

// kind names a statement after its first words.
func kind(words []string) string {
	if len(words) == 0 {
		return ""
	}
	kind := strings.ToUpper(words[0])
	switch words[0] {
	case "create", "alter", "drop":
	case "refresh":
		return "REFRESH MATERIALIZED VIEW"
	case "comment", "lock":
		return kind
	default:
		return kind
	}
	for _, word := range words[1:] {
		switch word {
		case "or", "replace", "unique", "temp", "temporary", "global", "local", "unlogged", "recursive", "trusted", "procedural":
			continue
		case "materialized", "event", "constraint", "foreign", "text", "access", "operator", "default", "user":
			kind += " " + strings.ToUpper(word)
			continue
		}
		return kind + " " + strings.ToUpper(word)
	}
	return kind
}
