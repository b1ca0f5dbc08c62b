package race

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Scenario is a closed race: starting rows, clients, invariants. A driver runs it as often as it likes; the closures of its clients may keep
// state between their own operations, so a driver builds a new Scenario (see [Workload]) for each round.
type Scenario struct {
	// Start puts the starting rows in place. It runs alone, before the clients, on a database whose tables are as the migrations left
	// them. Nil: nothing to put in place.
	Start func(ctx context.Context, conn *pgx.Conn) error

	// Clients run at the same time, each on a connection of its own.
	Clients []Client

	// Invariants must hold during the race and after it.
	Invariants []Invariant

	// System is the application that the clients ask; nil: they ask Postgres itself.
	System System

	// AltersSchema: clients change more than rows, as CREATE and DROP do. The explorer then begins each run in a fresh database, instead of putting
	// rows back, and takes no order for like another.
	AltersSchema bool
}

// Named returns the scenario with a name for each client that has none: A, B, C and so on.
func (s Scenario) Named() Scenario {
	s.Clients = slices.Clone(s.Clients)
	for i, c := range s.Clients {
		if c.Name == "" {
			s.Clients[i].Name = clientName(i)
		}
	}
	return s
}

// clientName returns A … Z, then A1 … Z1, and so on.
func clientName(i int) string {
	name := string(rune('A' + i%26))
	if i >= 26 {
		name += fmt.Sprint(i / 26)
	}
	return name
}

// Client is one concurrent actor: its operations run one after another, on one connection.
type Client struct {
	// Name tells clients of one scenario apart, as "A" or "inspector 2". Empty: the driver calls them A, B, C and so on.
	Name string

	// Mark is in a comment of every statement that an application makes for this client, or in the application_name of its session, where the
	// application puts it there; see [System]. Empty: it is not to be told by that.
	Mark string

	// Settings are run-time parameters of the client's session, such as TimeZone, set before the race begins.
	Settings map[string]string

	// Prepare runs on the client's own connection before the race begins, Finish when all clients are done: one client after another, alone.
	// They are no part of the race; a transaction that Prepare leaves open is the one in which the operations run. Nil: nothing to do.
	Prepare, Finish func(ctx context.Context, conn *pgx.Conn) error

	Operations []Operation
}

// Operation is one request that a client makes.
type Operation struct {
	// Kind names what is asked for, as "create session".
	Kind string

	// Input is what the request carries, for reports; it is written as JSON. Nil: nothing.
	Input any

	// Slot is set when this operation contends for one free slot that exactly one contender can get: all contenders name the same slot.
	// Empty: it does not.
	Slot string

	// Subject is what the operation is about, such as a device, for invariants that read outcomes. It may be empty.
	Subject string

	// Ask is what the client does where the scenario has a [System]: it asks that. It may retry, branch and loop. A panic is reported as trouble of
	// the scenario.
	Ask func(ctx context.Context, of Instance) Answer

	// Do is what the client does in any other scenario, ordinary client code. It may retry, branch and loop; it must not keep conn. A database error is part of the answer. A panic
	// is reported as trouble of the scenario, not of the database.
	Do func(ctx context.Context, conn *pgx.Conn) Answer
}

// Outcome is what a client was told.
type Outcome string

// The outcomes. A client's own words for a refusal (409, "already taken") are Conflict; whatever escapes as an error is Failed (a 500).
const (
	Created  Outcome = "created"   // something new is there
	Resumed  Outcome = "resumed"   // the caller's own was there already, and is open again
	Done     Outcome = "done"      // an existing thing was changed as asked
	Conflict Outcome = "conflict"  // refused, politely: HTTP 409
	NotFound Outcome = "not found" // there is nothing to act on: HTTP 404
	Failed   Outcome = "failed"    // refused with an error that nobody expected: HTTP 500
	Unknown  Outcome = "unknown"   // the answer was lost on its way
)

// ErrNotAsked is part of the answer to an operation that was not run, for want of what an earlier one should have brought. A load does not count it.
var ErrNotAsked = errors.New("not asked")

// Answer is what an operation came to.
type Answer struct {
	// Outcome is what the client was told. Empty means Done when Err is nil, and Failed when it is not.
	Outcome Outcome

	// Row identifies the row that was created or changed, as text. Empty: none.
	Row string

	// Attempts counts the tries it took, retries included. Zero means one.
	Attempts int

	// Err is what the database said, where it said something; it may accompany any outcome (a Conflict mapped from 23505). Its SQLSTATE
	// is recorded.
	Err error
}

// Resolve returns the answer with its defaults filled in.
func (a Answer) Resolve() Answer {
	if a.Outcome == "" {
		a.Outcome = Done
		if a.Err != nil {
			a.Outcome = Failed
		}
	}
	a.Attempts = max(a.Attempts, 1)
	return a
}
