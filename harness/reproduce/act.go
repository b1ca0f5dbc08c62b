package reproduce

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/reproduce/literal"
	"github.com/interlock-pg/interlock/harness/sqltext"
)

// act is what one client sends at once: a step, and before it what is none.
type act struct {
	history.Step
	at      int            // of the client, in the interleaving
	opens   bool           // BEGIN comes before it, which the client itself did not send: its commit is a step of its own
	closes  bool           // it is that commit
	ended   history.Step   // the step as it was answered, if need be after a wait
	freed   []history.Step // what its release did to those who waited
	sources []source       // of its parameters, where an earlier statement of the client returned their values
}

// source is a value that a statement returned.
type source struct {
	from   *act // nil: the value is the client's own
	column int
}

// acts returns what the clients send, in the order of the releases.
//
// A statement outside a transaction is two steps, and others may come between its execution and its commit. Only then it is put into a
// transaction, which makes the same two steps of it elsewhere.
func acts(in history.Interleaving) []*act {
	var all []*act
	open := map[string]bool{} // clients whose statement has been put into a transaction
	last := map[string]*act{} // of each client
	for i, s := range in.Steps {
		commits := s.Kind == "commit" && s.Autocommit
		switch {
		case s.Resumed:
			if a := last[s.Client]; a != nil {
				a.ended = s
				a.Told = slices.Concat(a.Told, s.Told)
				freed := all[len(all)-1]
				freed.freed = append(freed.freed, s)
			}
			continue
		case commits && !open[s.Client]:
			if a := last[s.Client]; a != nil { // it follows at once, by itself
				a.Told = slices.Concat(a.Told, s.Told)
				if s.Outcome != history.Answered {
					a.Outcome, a.SQLState, a.Message, a.WaitsFor, a.Lock = s.Outcome, s.SQLState, s.Message, s.WaitsFor, s.Lock
					a.ended.SQLState = s.SQLState
				}
			}
			continue
		}
		a := &act{Step: s, at: slices.Index(in.Clients, s.Client), closes: commits, ended: s}
		switch {
		case commits:
			open[s.Client] = false
		case s.Autocommit:
			a.opens = apart(in.Steps, i)
			open[s.Client] = a.opens
		}
		a.sources = sources(a, all)
		all = append(all, a)
		last[s.Client] = a
	}
	return all
}

// apart reports whether the statement at i commits at a time of its own: something comes between its end and its commit, or it is several
// statements that commit together.
func apart(steps []history.Step, i int) bool {
	end := i
	for j := i + 1; j < len(steps); j++ {
		switch s := steps[j]; {
		case s.Client != steps[i].Client:
		case s.Resumed:
			end = j
		default:
			return s.Kind == "commit" && s.Autocommit && (j > end+1 || together(steps[i].SQL))
		}
	}
	return false
}

// together reports whether sql is several statements in the transaction of their message.
func together(sql string) bool {
	statements := sqltext.Message(sql)
	return len(statements) > 1 && !slices.ContainsFunc(statements, func(s sqltext.Statement) bool {
		return s.Begins("begin|start|commit|end|rollback|abort")
	})
}

// random is what a value looks like that is another one each time.
var random = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// sources finds the parameters of an act that are random values which the client had from the server.
func sources(a *act, before []*act) []source {
	all := make([]source, len(a.Parameters))
	for i, v := range a.Parameters {
		if v == nil || !random.MatchString(*v) {
			continue
		}
		for _, b := range before {
			if column := b.returned(*v); b.Client == a.Client && column >= 0 {
				all[i] = source{b, column}
				break
			}
		}
	}
	return all
}

// returned returns the column in which the act returned a value, as one row; -1: it did not.
func (a *act) returned(v string) int {
	if t := a.ended.Returned; t != nil && len(t.Rows) == 1 {
		return slices.IndexFunc(t.Rows[0], func(r *string) bool { return r != nil && *r == v })
	}
	return -1
}

// sql returns what the client sends, statement by statement, without semicolons; value returns the text of its parameters, from 0.
func (a *act) sql(value func(i int) string) []string {
	var all []string
	begun := false
	for _, s := range a.Passed {
		all = append(all, bare(s))
		begun = begun || begins(s)
	}
	if a.opens || a.Begins && !a.Autocommit && !begun {
		all = append(all, begin(a.Isolation))
	}
	switch sql := bare(a.SQL); {
	case a.closes:
		all = append(all, "COMMIT")
	case sql == "":
		all = append(all, strings.ToUpper(a.Kind))
	default:
		all = append(all, literal.Bind(sql, func(n int) string {
			if n < 1 || n > len(a.Parameters) {
				return fmt.Sprintf("$%d", n)
			}
			return value(n - 1)
		}))
	}
	return all
}

// bare returns sql without the semicolon and the white space at its ends.
func bare(sql string) string {
	return strings.TrimRight(strings.TrimSpace(sql), "; \t\r\n")
}

func begins(sql string) bool {
	statements := sqltext.Message(sql)
	return len(statements) > 0 && statements[0].Begins("begin|start")
}

func begin(isolation string) string {
	if isolation == "" || isolation == "read committed" {
		return "BEGIN"
	}
	return "BEGIN ISOLATION LEVEL " + strings.ToUpper(isolation)
}

// constant returns a parameter as SQL: a literal of its type.
func (a *act) constant(i int) string {
	kind := ""
	if i < len(a.Types) {
		kind = a.Types[i]
	}
	v := a.Parameters[i]
	switch {
	case v == nil && kind == "":
		return "NULL"
	case v == nil:
		return "NULL::" + kind
	case kind == "":
		return literal.Quote(*v)
	case kind == "integer" && digits.MatchString(*v):
		return *v
	}
	return literal.Quote(*v) + "::" + kind
}

var digits = regexp.MustCompile(`^[0-9]+$`)

// came says what comes of a step.
func came(s history.Step) string {
	switch {
	case s.Outcome == history.Waiting && len(s.WaitsFor) > 0:
		words := "waits for " + strings.Join(s.WaitsFor, ", ")
		if s.Lock != "" {
			words += " (" + s.Lock + ")"
		}
		return words
	case s.Outcome == history.Waiting:
		return "waits"
	case s.Outcome == history.Refused:
		return strings.TrimRight("fails with "+s.SQLState+": "+s.Message, ": ")
	case s.Kind == "commit" && s.Tag != "ROLLBACK":
		return "commits"
	case s.Kind != "statement":
		return "rolls back"
	case s.Returned == nil && s.Tag != "":
		return s.Tag
	}
	rows := fmt.Sprintf("returns %d rows", s.Rows)
	if s.Rows == 1 {
		rows = "returns 1 row"
	}
	if t := s.Returned; s.Rows == 1 && t != nil && len(t.Rows) == 1 {
		if row := values(t.Rows[0]); len(row) <= 60 {
			rows += ": " + row
		}
	}
	return rows
}

// comes says what comes of an act, for all whom it concerns.
func (a *act) comes() string {
	words := came(a.Step)
	if a.opens && a.Outcome == history.Answered {
		words += ", not committed yet"
	}
	for _, s := range a.freed {
		words += "; then " + s.Client + " goes on: " + came(s)
	}
	return line(words)
}
