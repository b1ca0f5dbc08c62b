package history

import (
	"encoding/json"
	"slices"
	"time"
)

// Format is the version of the run file that this package writes. A reader accepts this version and older ones.
const Format = 1

// Verdict is what a run found out. Unknown is not held: it means too little evidence.
type Verdict string

// The three verdicts.
const (
	Held     Verdict = "held"
	Violated Verdict = "violated"
	Unknown  Verdict = "unknown"
)

// Worst returns the verdict of two taken together: violated, else unknown, else held.
func Worst(a, b Verdict) Verdict {
	for _, v := range []Verdict{Violated, Unknown} {
		if a == v || b == v {
			return v
		}
	}
	return Held
}

// Run is one run of Interlock.
type Run struct {
	Format   int       `json:"format"`
	Kind     Kind      `json:"kind"`
	Tool     Tool      `json:"tool"`
	Command  []string  `json:"command"` // as typed, passwords removed
	Started  time.Time `json:"started"`
	Elapsed  Duration  `json:"elapsed"`
	Seed     int64     `json:"seed"`
	Server   Server    `json:"server"`
	Bounds   Bounds    `json:"bounds"`
	Verdict  Verdict   `json:"verdict"`
	Trouble  string    `json:"trouble,omitempty"`  // what cut the run short
	Findings []string  `json:"findings,omitempty"` // one sentence each, on what is not as it must be

	// Target is the file that tells of the application whose statements were raced; empty: there was none.
	Target string `json:"target,omitempty"`

	// MigrationsDir is where the migrations were read from; empty: Interlock's own. Layout is the tool they are laid out for.
	MigrationsDir string      `json:"migrations_dir,omitempty"`
	Layout        string      `json:"layout,omitempty"`
	Migrations    []Migration `json:"migrations,omitempty"`

	Replayed []Cell       `json:"replayed,omitempty"` // counterexamples that were saved, and were repeated before anything else
	Cells    []Cell       `json:"cells,omitempty"`
	Check    *Check       `json:"check,omitempty"`
	Repair   *Repair      `json:"repair,omitempty"`
	Gate     *Gate        `json:"gate,omitempty"`
	Load     *Measurement `json:"load,omitempty"`
}

// Kind says what made a run.
type Kind string

// The kinds of run.
const (
	KindRun     Kind = "run"
	KindExplore Kind = "explore"
	KindReplay  Kind = "replay"
	KindCheck   Kind = "check"
	KindRepair  Kind = "repair"
	KindGate    Kind = "gate"
	KindLoad    Kind = "load"
)

// Tool is the Interlock that made the run.
type Tool struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	CPUs    int    `json:"cpus"`
}

// Server is the Postgres of the run.
type Server struct {
	Provider string            `json:"provider"`
	Where    string            `json:"where"`
	Release  string            `json:"release"` // as "15.18"
	Ready    Duration          `json:"ready"`
	Settings map[string]string `json:"settings,omitempty"` // those that differ from their defaults
}

// Bounds are what limited the search.
type Bounds struct {
	Rounds  int      `json:"rounds"`  // per cell
	For     Duration `json:"for"`     // per cell
	Clients int      `json:"clients"` // the most at once; 0: as the scenario says
}

// Migration is one migration file, in the order of application.
type Migration struct {
	Version  int64    `json:"version"`
	Label    string   `json:"label"`
	Path     string   `json:"path"`
	Checksum string   `json:"checksum"` // SHA-256 of the file, hexadecimal
	Took     Duration `json:"took"`
}

// Cell is one scenario with one defence at one migration.
type Cell struct {
	Scenario   string      `json:"scenario"`
	Variant    string      `json:"variant,omitempty"` // the defence
	Says       string      `json:"says,omitempty"`
	At         int64       `json:"at"` // migration version; 0: none
	Verdict    Verdict     `json:"verdict"`
	AsExpected bool        `json:"as_expected"`
	Invariants []Judgement `json:"invariants"`
	Coverage   Coverage    `json:"coverage"`
	Trouble    string      `json:"trouble,omitempty"` // what kept the cell from being judged

	Explorations    []Exploration    `json:"explorations,omitempty"`
	Counterexamples []Counterexample `json:"counterexamples,omitempty"`
	Rounds          []Round          `json:"rounds,omitempty"` // the first Coverage.Kept of them
}

// Name returns scenario and variant as they are selected on the command line.
func (c Cell) Name() string {
	if c.Variant == "" {
		return c.Scenario
	}
	return c.Scenario + "/" + c.Variant
}

// Example returns the counterexample for an invariant: its own, or one for another invariant that breaks this one as well, in an order that is
// known. Nil: there is none.
func (c Cell) Example(invariant string) *Counterexample {
	for i, x := range c.Counterexamples {
		if x.Invariant == invariant {
			return &c.Counterexamples[i]
		}
	}
	for i, x := range c.Counterexamples {
		if x.Interleaving != nil && slices.ContainsFunc(x.Round.Violations, func(v Violation) bool { return v.Invariant == invariant }) {
			return &c.Counterexamples[i]
		}
	}
	return nil
}

// Expected says what must come of an invariant.
type Expected string

// What may be expected of an invariant.
const (
	MustHold  Expected = "hold"
	MustBreak Expected = "break" // a negative control
	MayBreak  Expected = ""      // either is as it should be
)

// Judgement is the verdict on one invariant in a cell.
type Judgement struct {
	Invariant string   `json:"invariant"`
	Says      string   `json:"says"`
	Verdict   Verdict  `json:"verdict"`
	Expected  Expected `json:"expected,omitempty"`
	Orders    int      `json:"orders,omitempty"`   // explored interleavings in which it was violated
	Broken    int      `json:"broken"`             // rounds in which it was violated
	First     int      `json:"first,omitempty"`    // the first of them, counted from 1
	FirstAt   Duration `json:"first_at,omitempty"` // time in the cell until then
}

// AsExpected reports whether the verdict is one that it may be.
func (j Judgement) AsExpected() bool {
	switch j.Expected {
	case MustHold:
		return j.Verdict == Held
	case MustBreak:
		return j.Verdict == Violated
	}
	return true
}

// Coverage says how much of the cell was tried.
type Coverage struct {
	Rounds     int            `json:"rounds"`
	Kept       int            `json:"kept"` // rounds recorded in full
	Operations int            `json:"operations"`
	Looks      int            `json:"looks"`    // at the invariants while a round ran
	Outcomes   map[string]int `json:"outcomes"` // operations by what they were told
	Elapsed    Duration       `json:"elapsed"`
}

// Round is one execution of a scenario.
type Round struct {
	Number     int             `json:"number"` // from 1
	Input      json.RawMessage `json:"input"`
	Operations []Operation     `json:"operations"`
	Violations []Violation     `json:"violations,omitempty"`
	Looks      int             `json:"looks"` // at the invariants while it ran
	Took       Duration        `json:"took"`
}

// Operation is one request of one client and what it was told.
type Operation struct {
	Client   string          `json:"client"`
	Number   int             `json:"number"` // within the client, from 0
	Kind     string          `json:"kind"`
	Subject  string          `json:"subject,omitempty"`
	Slot     string          `json:"slot,omitempty"`
	Input    json.RawMessage `json:"input,omitempty"`
	Outcome  string          `json:"outcome"`
	Row      string          `json:"row,omitempty"`
	SQLState string          `json:"sqlstate,omitempty"`
	Message  string          `json:"message,omitempty"`
	Attempts int             `json:"attempts"`
	Invoked  Duration        `json:"invoked"`  // since the clients were released
	Returned Duration        `json:"returned"` // the same
}

// Moment says when an invariant was looked at.
type Moment string

// The moments.
const (
	Running Moment = "while running" // in a snapshot of its own, while the clients ran
	AtRest  Moment = "at rest"       // when all clients were done
)

// Violation is an invariant that was seen broken.
type Violation struct {
	Invariant string `json:"invariant"`
	Moment    Moment `json:"moment"`
	Rows      Table  `json:"rows"` // the offending ones
}

// Table is the result of a query as text. A missing value (NULL) is a nil.
type Table struct {
	Columns []string    `json:"columns"`
	Rows    [][]*string `json:"rows"`
	Total   int         `json:"total,omitempty"` // rows there were, where not all are here
}

// Counterexample is a violation made as small as it would go, and repeated.
type Counterexample struct {
	Invariant  string `json:"invariant"`
	Found      Round  `json:"found"`      // as it was met
	Round      Round  `json:"round"`      // the smallest that still breaks it
	Clients    int    `json:"clients"`    // in the smallest
	Tried      int    `json:"tried"`      // inputs tried on the way
	Reproduced int    `json:"reproduced"` // how many of Repeated runs of the smallest broke it again
	Repeated   int    `json:"repeated"`
	Database   string `json:"database,omitempty"` // DSN of the database that was kept

	Query    string   `json:"query,omitempty"`    // the invariant's
	Outcomes bool     `json:"outcomes,omitempty"` // the query reads what the clients were told, in the table interlock_outcomes
	Start    []string `json:"start,omitempty"`    // statements that put the starting rows in place

	// Interleaving breaks the invariant, every time; nil: it was met by luck, and no order is known. Nearest is the order that parts from it as
	// late as can be and does not break the invariant, at release number Parts; nil: there is none.
	Interleaving *Interleaving `json:"interleaving,omitempty"`
	Nearest      *Interleaving `json:"nearest,omitempty"`
	Parts        int           `json:"parts,omitempty"`
	Preemptions  int           `json:"preemptions"`     // in Interleaving: releases of another client although the last could have gone on
	Order        int           `json:"order,omitempty"` // in which executed interleaving of the search it was found, from 1

	Again   string   `json:"again"`          // the command that repeats it
	File    string   `json:"file,omitempty"` // the run file with this counterexample alone
	Elapsed Duration `json:"elapsed"`        // spent on shrinking and repeating
}

// Check is what a read-only look at a database found.
type Check struct {
	Database   string       `json:"database"`
	Invariants []CheckedOne `json:"invariants"`
	Indexes    []Index      `json:"indexes,omitempty"`
}

// CheckedOne is one invariant of a check.
type CheckedOne struct {
	Invariant string   `json:"invariant"`
	Says      string   `json:"says"`
	Verdict   Verdict  `json:"verdict"`
	Rows      Table    `json:"rows"`
	Groups    *Groups  `json:"groups,omitempty"` // what Rows are, where each of them is a group; nil: they are not, or there are none
	Plan      string   `json:"plan,omitempty"`
	Why       string   `json:"why,omitempty"` // why the verdict is unknown
	Elapsed   Duration `json:"elapsed"`
}

// Groups sums up rows that break an invariant together.
type Groups struct {
	Total   int `json:"total"`
	Members int `json:"members"` // rows in all of them

	// When the first and the last of the members began; nil: none of them has such a time.
	Oldest *time.Time `json:"oldest,omitempty"`
	Newest *time.Time `json:"newest,omitempty"`
}

// Index is one index or constraint that ought to be there.
type Index struct {
	Name       string `json:"name"`
	Table      string `json:"table"`
	Protects   string `json:"protects,omitempty"` // the invariant that it enforces; empty: it only speeds up
	Present    bool   `json:"present"`
	Valid      bool   `json:"valid"`
	Enforcing  bool   `json:"enforcing"`
	Definition string `json:"definition,omitempty"`
	Scans      int64  `json:"scans"`
	Read       int64  `json:"read"`
	Fetched    int64  `json:"fetched"`
	Bytes      int64  `json:"bytes"`
	Why        string `json:"why,omitempty"` // what is wrong with it
}
