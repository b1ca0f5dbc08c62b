package gate

import (
	"slices"

	"github.com/interlock-pg/interlock/harness/ddl"
	"github.com/interlock-pg/interlock/harness/plant"
	"github.com/interlock-pg/interlock/harness/traffic"
)

// Rules returns all that the gate looks for: first what reading a file tells, then what only the run shows.
func Rules() []ddl.Rule { return slices.Concat(ddl.Rules(), shown) }

var shown = []ddl.Rule{
	{Name: "fails", Says: "A statement is refused on every database."},
	{Name: "rows-in-the-way", Says: "It applies to empty tables, and not to these rows; all that stand in the way are named."},
	{Name: "rows-lost", Says: "Rows are gone, and no statement of the file says so."},
	{Name: "rows-removed", Says: "Rows are gone, as the file says."},
	{Name: "rows-added", Says: "Tables that had rows have more."},
	{Name: "values-changed", Says: "Values have changed, and no statement of the file says so."},
	{Name: "lossy-type-change", Says: "Values do not survive the change of their column's type."},
	{Name: "prediction", Says: "The run showed another lock or rewrite than reading the file had predicted."},
	{Name: plant.RuleDirtyData, Says: "Rows that a new constraint must refuse: which, the query that finds them, what resolves them."},
	{Name: plant.RuleAccepted, Says: "Rows that break a new constraint are there, and it was added all the same."},
	{Name: plant.RuleResolved, Says: "The migration resolves the rows that would break its constraint."},
	{Name: plant.RuleLeavesHalf, Says: "Refused over such rows, it leaves a part of itself."},
	{Name: plant.RuleInvalidIndex, Says: "Refused over such rows, it leaves an INVALID index, as CONCURRENTLY does."},
	{Name: traffic.StallsClients, Says: "Clients waited for a lock that it holds, for longer than --max-stall: an error; less: a note."},
	{Name: traffic.LockQueue, Says: "It waits behind a long transaction, and everybody queues behind it."},
	{Name: traffic.Deadlock, Says: "It and the clients deadlocked."},
	{Name: traffic.BreaksCode, Says: "Statements of clients that ran before fail after it."},
	{Name: traffic.FailsLive, Says: "It fails among clients, though not alone."},
	{Name: traffic.CannotBeRepeated, Says: "Refused by a timeout, it cannot be applied again."},
	{Name: "half-applied", Says: "Cut off in the middle, it leaves a part of itself, and running it again does not lead to the end."},
	{Name: "leaves-invalid-index", Says: "Cut off, it leaves an INVALID index, to be dropped before it is run again."},
	{Name: "invalid-index-kept", Says: "Cut off and run again, it succeeds, and an index stays INVALID."},
	{Name: "twice-changes", Says: "Run a second time, it changes the database once more."},
	{Name: "down-fails", Says: "The way back fails."},
	{Name: "down-differs", Says: "The way back leads to another schema than the one before."},
	{Name: "down-loses-data", Says: "The way back restores the schema, but not the rows."},
	{Name: "up-again-fails", Says: "After the way back, it does not apply again."},
	{Name: "up-again-differs", Says: "After the way back, applying it again leads to another state."},
	{Name: "invalid-index", Says: "An index that it adds is INVALID."},
	{Name: "duplicate-index", Says: "An index that it adds is a copy of another."},
	{Name: "index-not-used", Says: "The query that an index is for does not use it, in the custom or the generic plan."},
	{Name: "index-query", Says: "The query that an index is for cannot be planned."},
	{Name: "invariant-broken", Says: "A scenario that held before the migration breaks an invariant after it."},
	{Name: "directive", Says: "A comment that speaks to Interlock is not understood."},
}
