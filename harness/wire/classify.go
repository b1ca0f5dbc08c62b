package wire

import (
	"regexp"
	"strings"

	"github.com/interlock-pg/interlock/harness/sqltext"
)

var waits = regexp.MustCompile(`^process \d+ still waiting for `)

// verb is what the gate must know of a statement. Everything it does not know is an ordinary one.
type verb uint8

const (
	ordinary   verb = iota
	empty           // no statement at all
	quiet           // takes neither snapshot nor lock: SET, SHOW, RESET
	quietIn         // the same within a block; outside, its commit is an event: LISTEN, UNLISTEN, NOTIFY
	quietOut        // the same outside a block; within, it takes the snapshot: DEALLOCATE, CLOSE, DISCARD, PREPARE
	locks           // LOCK: a lock, but no snapshot
	fetch           // FETCH: of a binary cursor, the rows of a Query are binary, and those of a converted one would not be
	begin           // BEGIN, START TRANSACTION
	commit          // COMMIT, END
	rollback        // ROLLBACK, ABORT
	prepareTx       // PREPARE TRANSACTION
	rollbackTo      // ROLLBACK TO SAVEPOINT
	savepoint       // SAVEPOINT
	release         // RELEASE
	controls        // COMMIT PREPARED, ROLLBACK PREPARED: not allowed in a block, ordinary otherwise
)

// control says whether a statement begins, ends or divides transactions.
func (v verb) control() bool { return v >= begin }

// text is a string of SQL that a client sent.
type text struct {
	sql        string
	statements int
	verb       verb   // of the only statement, or of the first
	control    bool   // one of the statements is transaction control
	ends       bool   // one of them ends a transaction
	quiet      bool   // none of them takes a snapshot or a lock, in or outside a block
	parameters bool   // $1 occurs
	chain      bool   // COMMIT AND CHAIN
	savepoint  string // that the only statement makes or releases
	savepoints bool   // one of the statements makes one
	settings

	columns []column // that the server has described
	types   []uint32 // of its parameters, by OID, as far as they have been said
}

func parse(sql string) text {
	t := text{sql: sql, quiet: true}
	statements := sqltext.Message(sql)
	t.statements = len(statements)
	for i, s := range statements {
		v := verbOf(s)
		if i == 0 {
			t.verb = v
			t.chain = v.control() && chains(s.Words)
			if v == savepoint || v == release {
				t.savepoint = lastName(s)
			}
		}
		t.savepoints = t.savepoints || v == savepoint
		t.read(s)
		t.control = t.control || v.control()
		t.ends = t.ends || v == commit || v == rollback || v == prepareTx
		t.quiet = t.quiet && (v == quiet || v == begin || v == savepoint || v == release)
		t.parameters = t.parameters || s.Parameters
	}
	if len(statements) == 0 {
		t.verb = empty
	}
	return t
}

func verbOf(s sqltext.Statement) verb {
	word := func(i int) string {
		if i < len(s.Words) {
			return s.Words[i]
		}
		return ""
	}
	switch word(0) {
	case "set":
		if s.Begins("set constraints") || s.Begins("set ?session|local transaction snapshot") {
			return ordinary // the one checks what was deferred, the other takes another's snapshot
		}
		return quiet
	case "show", "reset":
		return quiet
	case "listen", "unlisten", "notify":
		return quietIn
	case "discard":
		if word(1) == "all" {
			return ordinary // drops advisory locks
		}
		return quietOut
	case "deallocate", "close":
		return quietOut
	case "prepare":
		if word(1) == "transaction" {
			return prepareTx
		}
		return quietOut
	case "lock":
		return locks
	case "fetch":
		return fetch
	case "begin", "start":
		return begin
	case "commit", "end":
		if word(1) == "prepared" {
			return controls
		}
		return commit
	case "savepoint":
		return savepoint
	case "release":
		return release
	case "rollback", "abort":
		switch {
		case word(1) == "prepared":
			return controls
		case word(1) == "to" || (word(1) == "work" || word(1) == "transaction") && word(2) == "to":
			return rollbackTo
		}
		return rollback
	}
	return ordinary
}

// chains says whether an end of a transaction begins the next.
func chains(words []string) bool {
	for i := 1; i < len(words); i++ {
		if words[i] == "chain" {
			return words[i-1] == "and"
		}
	}
	return false
}

// lastName returns the name that a statement ends with.
func lastName(s sqltext.Statement) string {
	if _, quoted, ok := strings.Cut(s.Text, `"`); ok {
		return quoted[:max(0, strings.LastIndexByte(quoted, '"'))]
	}
	return s.Words[len(s.Words)-1]
}
