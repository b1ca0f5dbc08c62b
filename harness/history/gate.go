package history

import "strings"

// Gate is what judging migrations came to.
type Gate struct {
	Base       string   `json:"base,omitempty"` // which migrations were judged, in words, as "not in origin/main"
	Rows       int      `json:"rows"`           // generated in each table
	MaxStall   Duration `json:"max_stall"`      // the longest that a client may wait for a migration
	Migrations []Judged `json:"migrations"`     // those that were judged, in order
}

// Judged is one migration that was judged.
type Judged struct {
	Migration
	Verdict Verdict `json:"verdict"` // held: it may ship; violated: it must not; unknown: not everything could be judged

	// Rewritten says that the file as it is fails on every database, and that the trials after the first were made with the rewrite of its findings.
	Rewritten  bool        `json:"rewritten,omitempty"`
	Trials     []Trial     `json:"trials"`
	Findings   []Finding   `json:"findings,omitempty"` // by line, what is not about a line last
	Statements []Statement `json:"statements"`
	Beside     []Beside    `json:"beside,omitempty"`  // of the trial live
	Changes    []string    `json:"changes,omitempty"` // of the schema, one line each
	NotCovered []string    `json:"not_covered,omitempty"`
}

// TrialName is one situation that a migration is put into.
type TrialName string

// The trials, in their order.
const (
	TrialEmpty       TrialName = "empty"
	TrialPopulated   TrialName = "populated"
	TrialDirty       TrialName = "dirty"
	TrialLive        TrialName = "live"
	TrialInterrupted TrialName = "interrupted"
	TrialTwice       TrialName = "twice"
	TrialDown        TrialName = "down"
	TrialAfter       TrialName = "after"
)

// Trials are all trials, in their order.
func Trials() []TrialName {
	return []TrialName{TrialEmpty, TrialPopulated, TrialDirty, TrialLive, TrialInterrupted, TrialTwice, TrialDown, TrialAfter}
}

// Trial is what one of them came to.
type Trial struct {
	Name    TrialName  `json:"name"`
	State   TrialState `json:"state"`
	Says    string     `json:"says"`              // in one sentence, with figures
	Details []string   `json:"details,omitempty"` // the evidence, a line each
	Elapsed Duration   `json:"elapsed"`
}

// TrialState is how a trial ended.
type TrialState string

// The states of a trial.
const (
	TrialPassed  TrialState = "passed"
	TrialFailed  TrialState = "failed"  // a finding of level error belongs to it
	TrialSkipped TrialState = "skipped" // there was nothing to try, or an earlier trial failed: Says tells
	TrialUnknown TrialState = "unknown" // the environment kept it from being made
)

// Level is how much a finding weighs.
type Level string

// The levels.
const (
	LevelError   Level = "error"   // the migration must not ship
	LevelWarning Level = "warning" // it may; somebody should know
	LevelNote    Level = "note"
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Rule  string    `json:"rule"`            // as "index-blocks-writes"; what is silenced is silenced by it
	Trial TrialName `json:"trial,omitempty"` // that showed it; empty: reading the file did
	Level Level     `json:"level"`

	File      string `json:"file"`
	Line      int    `json:"line,omitempty"`   // from 1; 0: it is about the whole file
	Column    int    `json:"column,omitempty"` // from 1, in characters
	Statement string `json:"statement,omitempty"`
	SQLState  string `json:"sqlstate,omitempty"`

	Says     string   `json:"says"`               // what is wrong, and why, in one or two sentences
	Evidence []string `json:"evidence,omitempty"` // what the run showed; empty: it was not run
	Keys     *Table   `json:"keys,omitempty"`     // rows that stand in the way, all of them up to a limit
	Query    string   `json:"query,omitempty"`    // that finds them
	Rewrite  *Rewrite `json:"rewrite,omitempty"`  // what to write instead
	Repair   string   `json:"repair,omitempty"`   // what resolves the rows
	Allowed  string   `json:"allowed,omitempty"`  // the reason for which the file silences it; then it does not count
}

// Counts reports whether the finding keeps the migration from shipping.
func (f Finding) Counts() bool { return f.Level == LevelError && f.Allowed == "" }

// Rewrite is the safe form of a statement.
type Rewrite struct {
	SQL  string `json:"sql"`
	Note string `json:"note,omitempty"` // as "in a file of its own, outside a transaction"
	// Ran says what became of it here, as "applied here in 4 ms"; empty: it was not run.
	Ran string `json:"ran,omitempty"`
}

// Beside is what clients at work felt while a migration was applied beside them, and what it held meanwhile. Times are since they were measured.
type Beside struct {
	Long    bool       `json:"long,omitempty"` // a transaction was open that had read every table
	Took    Duration   `json:"took"`
	Slowest []Duration `json:"slowest"` // the longest of the requests that were under way in each of as many equal parts of that time
	Usual   Duration   `json:"usual"`   // the longest request without the migration
	Locks   []LockSpan `json:"locks,omitempty"`
}

// LockSpan is a time in which a migration held, or waited for, a lock on a table or an index that was there before.
type LockSpan struct {
	Table     string   `json:"table"`
	Mode      string   `json:"mode"` // as "ACCESS EXCLUSIVE"
	Asked     Duration `json:"asked"`
	Granted   Duration `json:"granted"` // no earlier than asked; the same as ended: it was not
	Ended     Duration `json:"ended"`
	Statement string   `json:"statement,omitempty"` // what the migration was at when it was asked for; empty: several that were sent together
}

// Statement is one statement of a migration, with what the run showed of it.
type Statement struct {
	Line  int    `json:"line"`
	SQL   string `json:"sql"`
	Locks []Lock `json:"locks,omitempty"` // on tables that were there before, the strongest of each
	// Rewrote are the tables and indexes that have another file afterwards.
	Rewrote []string `json:"rewrote,omitempty"`
	Took    Duration `json:"took"`
	Rows    int      `json:"rows"` // in the largest table
}

// Brief returns the statement on one line, not too long.
func (s Statement) Brief() string {
	one := []rune(strings.Join(strings.Fields(s.SQL), " "))
	if len(one) > 100 {
		return string(one[:99]) + "…"
	}
	return string(one)
}

// Lock is a lock on a table.
type Lock struct {
	Table string `json:"table"`
	Mode  string `json:"mode"` // as "ACCESS EXCLUSIVE"
	// Blocks says who waits for it: "reads and writes", "writes", "schema changes".
	Blocks string `json:"blocks"`
}
