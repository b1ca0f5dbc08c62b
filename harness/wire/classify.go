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
	begin           // BEGIN, START TRANSACTION
	commit          // COMMIT, END
	rollback        // ROLLBACK, ABORT
	prepareTx       // PREPARE TRANSACTION
	rollbackTo      // ROLLBACK TO SAVEPOINT
	savepoint       // SAVEPOINT, RELEASE
	controls        // COMMIT PREPARED, ROLLBACK PREPARED: not allowed in a block, ordinary otherwise
)

// control says whether a statement begins, ends or divides transactions.
func (v verb) control() bool { return v >= begin }

// text is a string of SQL that a client sent.
type text struct {
	sql        string
	statements int
	verb       verb // of the only statement, or of the first
	control    bool // one of the statements is transaction control
	quiet      bool // none of them takes a snapshot or a lock, in or outside a block
	parameters bool // $1 occurs
	chain      bool // COMMIT AND CHAIN
	isolation  isolation
	session    bool // the isolation is that of later transactions
	resets     bool // RESET ALL, DISCARD ALL: settings are what the session began with
}

// isolation is what a statement says about isolation levels.
type isolation uint8

const (
	unsaid isolation = iota
	committed
	repeatable // or stricter, or not known
)

func parse(sql string) text {
	t := text{sql: sql, quiet: true}
	statements := sqltext.Message(sql)
	t.statements = len(statements)
	for i, s := range statements {
		v := verbOf(s.Words)
		if i == 0 {
			t.verb = v
			t.chain = v.control() && chains(s.Words)
		}
		t.control = t.control || v.control()
		t.quiet = t.quiet && (v == quiet || v == begin || v == savepoint)
		t.parameters = t.parameters || s.Parameters
	}
	if len(statements) == 0 {
		t.verb = empty
	}
	t.readIsolation(statements)
	return t
}

func verbOf(words []string) verb {
	word := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	switch word(0) {
	case "set":
		if word(1) == "constraints" || word(1) == "transaction" && word(2) == "snapshot" {
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
	case "begin", "start":
		return begin
	case "commit", "end":
		if word(1) == "prepared" {
			return controls
		}
		return commit
	case "savepoint", "release":
		return savepoint
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

// readIsolation notes what the text may do to the isolation of this transaction or of later ones. What it cannot tell, it takes for strict:
// then a batch that only prepares is a step too many, which costs time; one too few would lose an order.
func (t *text) readIsolation(statements []sqltext.Statement) {
	for _, s := range statements {
		lower := ""
		t.resets = t.resets || s.Begins("reset|discard all")
		switch w := s.Words; {
		case len(w) == 0:
			continue
		case w[0] == "begin" || w[0] == "start" || w[0] == "set" || w[0] == "reset":
			lower = strings.ToLower(s.Text)
		case strings.Contains(s.Text, "transaction_isolation"): // set_config and the like
			t.isolation, t.session = repeatable, true
			continue
		default:
			continue
		}
		if !strings.Contains(lower, "isolation") {
			continue
		}
		t.session = t.session || strings.Contains(lower, "default_transaction_isolation") || strings.Contains(lower, "characteristics")
		switch {
		case strings.Contains(lower, "committed"): // or uncommitted, which is the same
			t.isolation = max(t.isolation, committed)
		default:
			t.isolation = repeatable
		}
	}
}
