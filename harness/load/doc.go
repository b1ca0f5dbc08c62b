// Package load measures workloads under load, side by side: what each defence costs, and whether it holds at the rate that is expected.
//
// # Side by side
//
// What is compared takes turns. In each turn every lane (a workload with a defence at a migration, with so many clients) runs for one short slice, in
// shuffled order, each in a database of its own that began as the others'. So whatever the machine does beside hits all alike, and what is compared is
// the quotient within a turn, of which there are many: its median is given with the interval in which it lies with 95 % confidence.
//
// The yardstick takes turns with them: two clients who have the server make sums that no schema has a part in. The kinds of operations
// of an earlier run are compared with those of this one by what they were in the yardsticks of their own turns.
//
// # Closed and open
//
// In a closed loop, each client goes on as soon as it has its answer. In an open loop operations arrive at a rate, whether the earlier ones are done or
// not; their latency counts from the moment at which they should have begun, so that a stall shows in all that had to wait for it. What arrived and was
// not begun when its slice was over counts with the time it had waited by then.
//
// # What holds
//
// Invariants that read only tables are looked at in the middle of each slice and after it; those about what clients were told, when all is over, from
// a table of everything that they were told, which is filled between slices. An operation of which the answer was lost is told nothing.
package load
