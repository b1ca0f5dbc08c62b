package wire

import "github.com/jackc/pgx/v5/pgproto3"

// Kind says what a [Step] does.
type Kind string

// The kinds of steps. A unit of the client's stream of kind [Pass] is no step: it goes to the server as soon as it can.
const (
	Statement  Kind = "statement"   // a statement executes; with Step.InTransaction false, its commit is a step of its own, unless it fails
	Commit     Kind = "commit"      // COMMIT, PREPARE TRANSACTION, or the end of a statement outside a block; in a failed one, its tag is ROLLBACK
	Rollback   Kind = "rollback"    // ROLLBACK
	RollbackTo Kind = "rollback to" // ROLLBACK TO SAVEPOINT, which releases locks
	Prepare    Kind = "prepare"     // Parse or Describe without Execute, where that pins the transaction's snapshot
	Bind       Kind = "bind"        // Bind without Execute: a SELECT has its snapshot from here
	Whole      Kind = "whole"       // a string of statements with transaction control of its own, which cannot be cut: one step
	Pass       Kind = "pass"        // takes neither snapshot nor lock
)

// Step is the unit that is held and released.
type Step struct {
	Index         int         `json:"index"` // of the session, from 1
	Kind          Kind        `json:"kind"`
	SQL           string      `json:"sql,omitempty"`        // the statement; for the commit of one outside a block, the last one executed
	Parameters    []Parameter `json:"parameters,omitempty"` // as the client bound them
	InTransaction bool        `json:"in_transaction"`       // in a block that the client began
	Level         Level       `json:"level"`                // of the transaction that it is in, or that it begins
	Savepoint     bool        `json:"savepoint,omitempty"`  // the transaction has one: a failure may be less than the end of it
	Statements    int         `json:"statements,omitempty"` // in SQL, if more than one
	Passed        []string    `json:"passed,omitempty"`     // what was executed since the step before that is no step, if Config.Keep is set
	Injected      bool        `json:"injected,omitempty"`   // with BEGIN and COMMIT put around it, see the package comment
}

// Parameter is a value that a client bound to a statement. Its String is for people.
type Parameter struct {
	Text   string `json:"text,omitempty"`
	Binary []byte `json:"binary,omitempty"` // instead of Text
	Null   bool   `json:"null,omitempty"`
	Type   uint32 `json:"type,omitempty"` // the OID of its type, where the client or the server has said it before
}

// String returns the value as the server would print it, if it came as text or is of a built-in type; else its bytes, as \x and hexadecimal digits.
func (p Parameter) String() string {
	switch {
	case p.Null:
		return "NULL"
	case p.Binary != nil:
		return printed(p.Type, p.Binary)
	}
	return p.Text
}

// Status is the state that a transaction is in.
type Status string

// The states.
const (
	Idle          Status = "idle"        // no transaction
	Implicit      Status = "implicit"    // one that was not begun by the client, and whose end is a step to come
	InTransaction Status = "transaction" // a block
	Failed        Status = "failed"      // a block of which nothing but its end is accepted
	Unknown       Status = "unknown"     // the session has not begun or is over
)

// Result is how the server answered a step.
type Result struct {
	Tag       string `json:"tag,omitempty"`       // of the last statement that completed, as "INSERT 0 1"
	Rows      int64  `json:"rows"`                // in the tag; where there is none, those that were sent
	Suspended bool   `json:"suspended,omitempty"` // a portal has more rows
	SQLState  string `json:"sqlstate,omitempty"`  // of the error; empty: none
	Severity  string `json:"severity,omitempty"`  // of the error, in English: ERROR, FATAL, PANIC
	Message   string `json:"message,omitempty"`   // of the error
	Status    Status `json:"status"`              // of the transaction, after the step
	Canceled  bool   `json:"canceled,omitempty"`  // the client gave the step up while it was held; the server did not get it
	Lost      bool   `json:"lost,omitempty"`      // the connection ended without an answer: whether the step took place is not known

	// With [Config].Keep, of the last statement that returned rows: what its columns are called, where the client or we have asked, and its
	// first rows. A value is as the server prints it, in UTC, cut at 200 bytes with "…" behind; nil is NULL.
	Columns []string    `json:"columns,omitempty"`
	Values  [][]*string `json:"values,omitempty"`
}

// Err says whether the server refused the step, or did not answer.
func (r Result) Err() bool { return r.SQLState != "" || r.Lost }

// Notice is a message of the server beside its answers.
type Notice struct {
	Severity string `json:"severity"` // in English: LOG, NOTICE, WARNING, …
	SQLState string `json:"sqlstate"`
	Message  string `json:"message"`
	Detail   string `json:"detail,omitempty"`
	Routine  string `json:"routine,omitempty"` // of the server's source, the same in every language
}

// Waits says whether the notice is the backend's own word that it waits for a lock, which it gives after it has looked for a deadlock and found
// none. That needs log_lock_waits = on and client_min_messages = log, and messages in English. The wait may be over by the time it is read.
func (n Notice) Waits() bool {
	return n.Severity == "LOG" && n.Routine == "ProcSleep" && waits.MatchString(n.Message)
}

// HideLog is a [Config].Hide for sessions with client_min_messages = log: clients do not see what that setting adds.
func HideLog(n Notice) bool { return n.Severity == "LOG" }

// EventKind says what happened.
type EventKind string

// The events of a session, in the order in which they can come.
const (
	Started  EventKind = "started"  // the server takes commands; Event.PID is set
	Held     EventKind = "held"     // Event.Step waits to be released
	Released EventKind = "released" // Event.Step goes to the server
	Answered EventKind = "answered" // Event.Step is over: Event.Result
	Noticed  EventKind = "notice"   // Event.Notice came, whether the client sees it or not
	Canceled EventKind = "canceled" // the client asked for a cancellation; if it was held, an Answered follows
	Gone     EventKind = "gone"     // the client disconnected; what it had sent is still carried out
	Closed   EventKind = "closed"   // the connection to the server is over
)

// Event is something that happened in a session.
type Event struct {
	Session string    `json:"session,omitempty"` // its name
	Number  uint64    `json:"number"`            // order among all sessions of a [Gate], from 1; of a Core alone, its own
	Kind    EventKind `json:"kind"`
	Step    Step      `json:"step,omitzero"`   // Held, Released, Answered
	Result  Result    `json:"result,omitzero"` // Answered
	Notice  Notice    `json:"notice,omitzero"` // Noticed
	PID     uint32    `json:"pid,omitempty"`   // Started
}

// Config says what a gate does. The zero value passes everything through and only looks.
type Config struct {
	// Split cuts the stream into steps and holds them. False, nothing is cut, held or changed, and of the events there are Started, Noticed and
	// Closed: for the drivers that run at full speed.
	Split bool

	// Isolation is the default_transaction_isolation that sessions begin with, as [DefaultLevel] asks for it, as far as it is not in their startup
	// packet. Empty: ReadCommitted. From then on, the gate follows what clients set.
	Isolation Level

	// Keep is how many rows of a step its Result has, for people to see; 0: none. Rows are not kept from the client for it.
	Keep int

	// Hold decides whether a step is held; nil: each is. It is called with the core locked, and must not call back.
	Hold func(Step) bool

	// Hide decides whether a notice is kept from the client; nil: none is. Noticed events come all the same. It must not call back either.
	Hide func(Notice) bool

	// Events is called with each event of a [Gate]'s sessions, those of one session in order, one at a time. It runs in the goroutine that caused
	// the event and should not block; it may call the methods of the session, Release among them. A Core alone does not call it.
	Events func(Event)
}

func noticeOf(m *pgproto3.NoticeResponse) Notice {
	severity := m.SeverityUnlocalized
	if severity == "" {
		severity = m.Severity
	}
	return Notice{Severity: severity, SQLState: m.Code, Message: m.Message, Detail: m.Detail, Routine: m.Routine}
}
