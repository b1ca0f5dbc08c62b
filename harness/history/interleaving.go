package history

import "slices"

// Interleaving is one execution, step by step, in the order that a scheduler chose. With the input, the choices in it are enough to repeat it.
type Interleaving struct {
	Clients  []string            `json:"clients"`            // by name, in the order of the scenario; A/2 and so on are further connections of A
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
	Fault      Fault     `json:"fault,omitempty"`      // what happened to the connection in the place of the release, or with it

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

// Later reports whether the step met a fault on its way, and is carried out in another one.
func (s Step) Later() bool {
	return s.Fault == LostAck || s.Fault == Delay && s.Outcome == Answered && s.Tag == ""
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

// Fault is something that happens to a client's connection.
type Fault string

// The faults.
const (
	LostAck    Fault = "lost-ack"   // the connection is cut while the end of a transaction is on its way: the server gets it, then or later, and the client no answer
	Disconnect Fault = "disconnect" // the connection is cut before the step reaches the server
	Terminate  Fault = "terminate"  // the server ends the session instead, as an administrator does
	Delay      Fault = "delay"      // the step is on its way for so long that its client may give up; the server gets it then, or later
	Restart    Fault = "restart"    // the server crashes before the step reaches it, and is up again before anybody notices more than that all sessions are gone
)

// Faults are all of them. The place of one in the list is part of recorded schedules.
var Faults = []Fault{LostAck, Disconnect, Terminate, Delay, Restart}

// MostClients is how many clients can be told apart in a schedule with faults.
const MostClients = 32

// Choice returns the number by which a schedule knows that a client, by its place in Clients, is released, or meets a fault.
func Choice(client int, fault Fault) int { return client + MostClients*(slices.Index(Faults, fault)+1) }

// Chosen is the reverse of [Choice].
func Chosen(choice int) (client int, fault Fault) {
	if n := choice / MostClients; n > 0 && n <= len(Faults) {
		fault = Faults[n-1]
	}
	return choice % MostClients, fault
}

// Choices returns what was released, or met a fault, in order; see [Choice].
func (i Interleaving) Choices() []int {
	var choices []int
	for _, s := range i.Steps {
		if s.Number > len(choices) {
			choices = append(choices, Choice(slices.Index(i.Clients, s.Client), s.Fault))
		}
	}
	return choices
}

// Faults returns those that happened in it, each once; nil: none.
func (i Interleaving) Faults() []Fault {
	var all []Fault
	for _, s := range i.Steps {
		if s.Fault != "" && !slices.Contains(all, s.Fault) {
			all = append(all, s.Fault)
		}
	}
	return all
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
	Sample      bool    `json:"sample,omitempty"`   // it was not meant to be complete, as that of an application in a run, which has little time
	Bound       float64 `json:"bound,omitempty"`    // pct: the least chance that one run finds a bug of the depth looked for

	Faults []Fault `json:"faults,omitempty"` // one of which may have happened in each interleaving, at any step

	// WakeOrders counts the releases that set several waiting clients free at once: they went on one after another, in the order in which they had
	// begun to wait. Other orders were not tried.
	WakeOrders int `json:"wake_orders,omitempty"`

	// Of an application: how long it took to start, for how long it may think before others go on without the client that it thinks for, how often that
	// was the case, what it sent that was no client's, with how often, values left out, and the clients for which it never sent anything.
	Starting   Duration       `json:"starting,omitempty"` // until it was up and rehearsed, before Elapsed
	Settle     Duration       `json:"settle,omitempty"`
	Thought    int            `json:"thought,omitempty"`
	Background map[string]int `json:"background,omitempty"` // what went through
	Frozen     map[string]int `json:"frozen,omitempty"`     // what waited until the clients were done
	Silent     []string       `json:"silent,omitempty"`

	// Outcomes counts the interleavings by what the clients were told, as "A created, B conflict".
	Outcomes map[string]int `json:"outcomes,omitempty"`

	Trouble string   `json:"trouble,omitempty"` // what ended it early
	Workers int      `json:"workers"`
	Elapsed Duration `json:"elapsed"`
}
