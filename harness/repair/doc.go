// Package repair resolves what breaks the invariants of a live database, while its application writes: it finds the groups of rows that conflict
// ([Find]), has a [Rule] decide which of them go, and cancels those ([Apply]). Nothing is deleted. Each row that changes is first copied, whole, to
// the table [Archive], in the same transaction, from which [Undo] puts it back.
//
// # Why it is safe beside the application
//
// A batch of groups is one short transaction at READ COMMITTED. It locks first what the rows of a group have in common, in order: with FOR UPDATE
// on the device that they refer to, nobody can add a row until the transaction is over, and who was about to has committed. The next statement's
// snapshot is younger than that lock. It reads the group again and locks its rows, and what is decided is decided on them alone. So it does not
// matter how old the look is that found the group, who else changes its rows, or whether another repair is at work: a group that has been resolved
// is seen to be. What the application writes after that is its own doing; a constraint is what keeps it right.
//
// A batch that waits too long for a lock, or is the victim of a deadlock, is done again in halves; a single group that cannot be had is left alone.
// An interrupted repair ends after the batch under way; a killed one leaves whole batches.
package repair
