package sched

import "math/big"

// Kind says what a step does.
type Kind string

// The kinds of step. BEGIN, SET, SAVEPOINT and the like take neither a snapshot nor a lock and are no step.
const (
	Statement  Kind = "statement"
	Commit     Kind = "commit" // also the second half of a statement outside a transaction
	Rollback   Kind = "rollback"
	RollbackTo Kind = "rollback to" // a savepoint
)

// Level is the isolation level of a transaction.
type Level string

// The levels. The empty string is ReadCommitted.
const (
	ReadCommitted  Level = "read committed"
	RepeatableRead Level = "repeatable read"
	Serializable   Level = "serializable"
)

// Step is what a client is held at. Client, Index and Text tell steps apart, in all runs of a search.
type Step struct {
	Client int    `json:"client"` // from 0
	Index  int    `json:"index"`  // within the client, from 0
	Kind   Kind   `json:"kind"`
	Text   string `json:"text,omitempty"`
	Level  Level  `json:"level,omitempty"`

	Autocommit bool `json:"autocommit,omitempty"` // outside a transaction: when it fails, no commit follows
	Savepoint  bool `json:"savepoint,omitempty"`  // the transaction has a savepoint: a failure ends only what came after it

	// Blind: an INSERT that cannot notice other transactions' rows: VALUES, no ON CONFLICT, no unique or exclusion index other than on its
	// own sequence's default, no trigger. When in doubt, false.
	Blind bool `json:"blind,omitempty"`

	// Looks: it can find out about a lock without waiting for it: NOWAIT, SKIP LOCKED, pg_try_advisory…, ON CONFLICT DO NOTHING, or a
	// lock_timeout. When in doubt, true.
	Looks bool `json:"looks,omitempty"`

	// Bare: it takes no snapshot, such as LOCK or SET CONSTRAINTS, so that a later statement takes that of the transaction. When in doubt, true.
	Bare bool `json:"bare,omitempty"`

	// Advisory: its text calls an advisory lock function. When in doubt, true.
	Advisory bool `json:"advisory,omitempty"`
}

// Outcome says how a step stands.
type Outcome string

// The outcomes. The empty string is Answered.
const (
	Answered Outcome = "answered"
	Failed   Outcome = "failed" // with an SQLSTATE
	Waits    Outcome = "waits"  // for a lock; the step has started
)

// Part is what happened to one step in one event.
type Part struct {
	Step     Step      `json:"step"`
	Outcome  Outcome   `json:"outcome,omitempty"`
	SQLState string    `json:"sqlstate,omitempty"`
	Tag      string    `json:"tag,omitempty"`       // the command tag, as "INSERT 0 1"
	WaitsFor []int     `json:"waits_for,omitempty"` // the clients whose transactions it waits for; none: not known
	Touched  Footprint `json:"touched,omitzero"`    // as far as it was looked at; what other runs showed need not be shown again
}

// Event is what one release caused: first the released step, then every waiting step that it set free, in the order in which they went on,
// whether they ended or wait anew.
type Event struct {
	Parts []Part `json:"parts"`
}

// Client returns the client that was released.
func (e Event) Client() int { return e.Parts[0].Step.Client }

// Status says how a run ended.
type Status string

// The statuses of a run.
const (
	Running  Status = "running"
	Complete Status = "complete" // no client has a step left
	Asleep   Status = "asleep"   // cut short: whatever came next, an equivalent order has been run
	TooLong  Status = "too long" // cut short at Config.MaxSteps
	Diverged Status = "diverged" // the same choices gave something else than before
)

// Coverage says how much a search has tried. It does not depend on the number of workers, except for Executed.
type Coverage struct {
	Strategy Strategy `json:"strategy"`

	Runs     int `json:"runs"`               // settled and complete; no two have the same order in all and reduced
	Asleep   int `json:"asleep,omitempty"`   // cut short by the reduction
	TooLong  int `json:"too_long,omitempty"` // cut short at Config.MaxSteps
	Executed int `json:"executed"`           // runs that were ended by the driver, whatever came of them
	Passes   int `json:"passes,omitempty"`   // times that the reduced search began anew since it had learned something

	// Finished: everything that the strategy would try was tried. Exhaustive: that covers every order, up to equivalence.
	Finished   bool `json:"finished"`
	Exhaustive bool `json:"exhaustive"`

	// Preemptions: all orders with at most so many preemptions have been run (all only); -1: not even those without one.
	Preemptions int `json:"preemptions"`

	// Possible counts the orders there are. It is nil unless every run so far had the same steps and none ever waited.
	Possible *big.Int `json:"possible,omitempty"`

	// Bound is the least chance that one run of pct finds a bug of depth Config.Depth, 1/(n·k^(d−1)); 0 for other strategies.
	Bound float64 `json:"bound,omitempty"`
}

// Orders returns in how many ways clients that take so many steps each can be interleaved: the multinomial coefficient.
func Orders(steps ...int) *big.Int {
	orders, total := big.NewInt(1), int64(0)
	for _, n := range steps {
		total += int64(n)
		orders.Mul(orders, new(big.Int).Binomial(total, int64(n)))
	}
	return orders
}
