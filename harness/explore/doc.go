// Package explore runs a scenario under a scheduler that decides the order of every step, so that a race is found always and not by luck, and
// is repeated at will. Where the scheduler has been through all orders, or through one of each class that Postgres can tell apart (see package
// sched), and nothing broke, the invariants are proven for that scenario.
//
// # One run
//
// Every client is ordinary code in a goroutine of its own, on a connection with the gate of package wire on it. A run begins from the same rows
// and goes from release to release:
//
//  1. Wait until each client is held at its next step, waits for a lock, or is done.
//  2. Ask the scheduler which of the held ones goes.
//  3. Release it, and see it answer or wait.
//  4. If others waited, see who of them was set free: each goes on, one at a time in the order in which they began to wait, until it answers
//     or waits anew.
//  5. After a commit, look at the invariants. They are looked at again when all clients are done.
//
// # How a wait is seen
//
// A backend that runs as superuser is asked to say so itself: with log_lock_waits and client_min_messages = log it sends a notice when it has
// waited for deadlock_timeout, one millisecond, and has found no cycle. That is a proof of both, so whoever closes a cycle is its victim, each
// time. Elsewhere pg_locks is asked until it says that the backend waits, and a cycle is left to be resolved by Postgres when its
// deadlock_timeout is over.
//
// # What makes a run repeatable
//
// Rows and sequences are put back before each run. Nothing runs that was not released, except for waiting clients that are set free. When that
// can happen to several at once, and the backends are processes of this machine and ours, they are stopped (SIGSTOP) before the release and let
// go one after another; so there is one wake order, which is counted ([history.Exploration].WakeOrders) and not varied. Clients use
// [pgx.QueryExecModeExec]: what they send does not depend on what they sent before.
//
// What differs all the same is what the scheduler does not control: clocks, random values, what clients share outside the database. If it
// changes the course of a run, the scheduler notices that the same choices gave something else, and the exploration says so.
//
// # What a step touched
//
// The reduction needs to know that. It is read off pg_locks, once for each text of a statement: the statement is executed alone, in a
// transaction of its own, in a database where the client's earlier statements have been executed and committed; what a run shows on top of that
// is added. Where that is not the whole truth, because the statement cannot be executed there, or writes a table with triggers, or calls a
// function that is not Postgres' own, it counts as having touched all that its transaction has.
package explore
