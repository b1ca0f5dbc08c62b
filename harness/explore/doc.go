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
// Rows and sequences are put back before each run, and where it has shown where rows lie, the files of tables as well; where clients alter the
// schema ([race.Scenario].AltersSchema), each run is made in a fresh database, and the reduction is not used. Nothing runs that was not
// released, except for waiting clients that are set free. Where backends are processes of this machine and ours, those who wait are stopped (SIGSTOP)
// before each release, and let go one after another when all that it caused has happened: who ends a transaction lets go of its locks a moment
// before SERIALIZABLE knows that it has ended. So there is one wake order, which is counted ([history.Exploration].WakeOrders) and not varied.
// Clients use [pgx.QueryExecModeExec]: what they send does not depend on what they sent before.
//
// What differs all the same is what the scheduler does not control: clocks, random values, what clients share outside the database. If it
// changes the course of a run, the scheduler notices that the same choices gave something else, and the exploration says so.
//
// # Applications
//
// A client may ask an application instead ([race.Scenario].System). Then its statements come through a proxy, on connections of which it is not known
// whose they are. A session belongs to a client from the first step of a transaction until that is over: to the client whose mark ([race.Client].Mark) is
// in a comment of the statement or in the name of the session, else to the only one that can have made it. So operations begin one at a time; after
// each release, it is waited until the application has come to rest; and where two clients can have made a statement, the search ends and says so.
//
// An application is at rest when each client that waits for its answer is held or blocked. One for which it neither asks nor answers for a while
// ([race.Habits].Settle) is left to think: others go on, which is counted. Queries made for one client at the same time are strands, each with
// a number of its own for the scheduler. Since the search has to know from the start whether more of them may come, each client is rehearsed alone.
//
// # Faults
//
// A client that is held may meet a fault instead of being released, once in a run; see [history.Fault]. To the scheduler that is the step of another
// client, numbered by [history.Choice].
//
// # What a step touched
//
// The reduction needs to know that. What the plan of a statement names is locked when it is parsed, so it is the same whatever the rows: it is
// read off pg_locks, once for each text, in a database where nobody else is. What foreign keys, partitions, triggers and functions touch beside
// depends on the rows. Where there are such, pg_locks is asked each time that the statement has been answered; one that runs code of the user's
// own counts as having touched all that its transaction has. When it fails, no locks are left to be seen: then foreign keys are followed through
// the catalog, and code counts as having touched what its source names, or everything, where that does not tell.
package explore
