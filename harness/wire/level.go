package wire

import (
	"regexp"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/sqltext"
)

// Level is the isolation level of a transaction.
type Level string

// The levels.
const (
	ReadCommitted  Level = "read committed" // and READ UNCOMMITTED, which is the same
	RepeatableRead Level = "repeatable read"
	Serializable   Level = "serializable"
)

// DefaultLevel is the query for the level that transactions of a session have by default.
const DefaultLevel = `select replace(current_setting('default_transaction_isolation'), 'uncommitted', 'committed')`

// levelIn returns the level that is named in s, which is in lower case. What it does not know it takes for Serializable.
func levelIn(s string) Level {
	switch {
	case strings.Contains(s, "repeatable"):
		return RepeatableRead
	case strings.Contains(s, "committed"): // or uncommitted
		return ReadCommitted
	}
	return Serializable
}

// settings is what a text does to isolation levels, if it succeeds.
type settings struct {
	level  Level // of the transaction that it is in or that it begins; empty: nothing
	later  Level // of transactions to come; empty: nothing
	resets bool  // transactions to come have what the session began with
}

// read adds what one statement does.
func (c *settings) read(s sqltext.Statement) {
	switch w := s.Words; {
	case s.Begins("begin|start") || s.Begins("set ?session|local transaction") || s.Begins("set session characteristics"):
		if !slices.Contains(w, "isolation") {
			return
		}
		level := levelIn(strings.Join(w, " "))
		if slices.Contains(w, "characteristics") {
			c.later, c.resets = level, false
		} else {
			c.level = level
		}
	case s.Begins("reset all|default_transaction_isolation") || s.Begins("discard all"):
		c.later, c.resets = "", true
	case s.Begins("set"):
		text := strings.ToLower(s.Text)
		at := strings.Index(text, variable)
		if at < 0 {
			return
		}
		value := text[at+len(variable):]
		switch byDefault := strings.HasSuffix(text[:at], "default_"); {
		case !byDefault:
			c.level = levelIn(value)
		case s.Begins("set local"): // which no transaction to come will see
		case strings.Contains(value, "default"):
			c.later, c.resets = "", true
		default:
			c.later, c.resets = levelIn(value), false
		}
	case strings.Contains(s.Text, variable): // set_config cannot set that of its own transaction: it comes too late
		for _, m := range setConfig.FindAllStringSubmatch(strings.ToLower(s.Text), -1) {
			c.later, c.resets = levelIn(m[1]), false
		}
	}
}

// variable is what the setting of a transaction is called; that of later ones has default_ before it.
const variable = "transaction_isolation"

var setConfig = regexp.MustCompile(`\bset_config\s*\(\s*'default_transaction_isolation'\s*,([^,)]*)`)
