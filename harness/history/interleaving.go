package history

import "slices"

// Interleaving is one execution, step by step, in the order that a scheduler chose. With the input, the choices in it are enough to repeat it.
type Interleaving struct {
	Clients  []string            `json:"clients"`            // by name, in the order of the scenario
	Settings []map[string]string `json:"settings,omitempty"` // run-time parameters of each client's session, in the same order
	Steps    []Step              `json:"steps"`
}

// Step is what one release did to one client: to the one that was released, or to one that waited and was set free.
type Step struct {
	Number     int       `json:"number"`               // of the release, from 1; all that one release caused has the same
	Client     string    `json:"client"`               // one of Interleaving.Clients
	Kind       string    `json:"kind"`                 // statement, commit, rollback, rollback to
	SQL        string    `json:"sql,omitempty"`        // as the client sent it; of a commit outside a transaction, the statement that it ends
	Parameters []*string `json:"parameters,omitempty"` // as text; NULL is a nil
	Types      []string  `json:"types,omitempty"`      // of the parameters, as Postgres names them; empty: not known
	Passed     []string  `json:"passed,omitempty"`     // what the client sent since its step before that is no step, as SAVEPOINT s; BEGIN may be among it
	Isolation  string    `json:"isolation,omitempty"`  // of the transaction
	Begins     bool      `json:"begins,omitempty"`     // it is the first of its transaction
	Autocommit bool      `json:"autocommit,omitempty"` // outside a transaction that the client began: the commit is a step of its own
	Resumed    bool      `json:"resumed,omitempty"`    // it had waited, and goes on because of this release

	Outcome  StepOutcome `json:"outcome"`
	Tag      string      `json:"tag,omitempty"`       // the command tag, as "INSERT 0 1"
	Rows     int64       `json:"rows"`                // that it returned or changed
	Returned *Table      `json:"returned,omitempty"`  // the first of the rows that it returned
	SQLState string      `json:"sqlstate,omitempty"`  // of the error
	Message  string      `json:"message,omitempty"`   // of the error
	WaitsFor []string    `json:"waits_for,omitempty"` // clients, where it waits and it is known
	Lock     string      `json:"lock,omitempty"`      // what it waits for, in words

	Told   []Told   `json:"told,omitempty"`   // what the client was told thereupon, one for each operation that is over
	Broken []string `json:"broken,omitempty"` // the invariants that were seen broken for the first time after this release; on its first step
}

// Told is the end of an operation.
type Told struct {
	Operation int    `json:"operation"` // within the client, from 0
	Kind      string `json:"kind"`
	Outcome   string `json:"outcome"`
}

// StepOutcome says how a step stands after a release.
type StepOutcome string

// The outcomes of a step.
const (
	Answered StepOutcome = "answered"
	Refused  StepOutcome = "failed" // with an SQLSTATE
	Waiting  StepOutcome = "waits"  // for a lock
)

// Choices returns the clients that were released, in order, by their place in Clients.
func (i Interleaving) Choices() []int {
	var choices []int
	for _, s := range i.Steps {
		if s.Number > len(choices) {
			choices = append(choices, slices.Index(i.Clients, s.Client))
		}
	}
	return choices
}

// Exploration says how much of the orders of one scenario was tried.
type Exploration struct {
	Strategy    string  `json:"strategy"`
	Clients     int     `json:"clients"`
	Possible    string  `json:"possible,omitempty"` // the orders there are, in decimal; empty: not known, since clients wait or branch
	Executed    int     `json:"executed"`           // interleavings that were run to their end and judged; no two alike
	Asleep      int     `json:"asleep,omitempty"`   // cut short, being like one that was run
	Violating   int     `json:"violating"`          // of those executed
	Complete    bool    `json:"complete"`           // every order, or one of each class that Postgres can tell apart, was run
	Preemptions int     `json:"preemptions"`        // every order with at most so many was run (strategy all); -1: says nothing
	Bound       float64 `json:"bound,omitempty"`    // pct: the least chance that one run finds a bug of the depth looked for

	// WakeOrders counts the releases that set several waiting clients free at once: they went on one after another, in the order in which they had
	// begun to wait. Other orders were not tried.
	WakeOrders int `json:"wake_orders,omitempty"`

	// Outcomes counts the interleavings by what the clients were told, as "A created, B conflict".
	Outcomes map[string]int `json:"outcomes,omitempty"`

	Trouble string   `json:"trouble,omitempty"` // what ended it early
	Workers int      `json:"workers"`
	Elapsed Duration `json:"elapsed"`
}
