// Package sched decides which step goes next. It is pure: no database, no clock. A driver executes what it picks and tells it what happened.
//
// A [Search] hands out runs. For each [Run] the driver asks, whenever every client is held, waiting or at its end, which of the held ones to
// release ([Run.Pick]), says what the release caused ([Run.Observe]), and ends the run ([Run.End]):
//
//	for run := search.Next(); run != nil; run = search.Next() {
//		for held := driver.Held(); len(held) > 0; held = driver.Held() {
//			client, ok := run.Pick(held)
//			if !ok {
//				break // what is left has been seen in another run: get rid of the clients
//			}
//			if err := run.Observe(driver.Release(client)); err != nil {
//				break
//			}
//		}
//		run.End(driver.Judge())
//	}
//
// Several workers do just the same, each in a goroutine of its own. What they find does not depend on how many they are: [Config.Settled]
// is told of runs in one fixed order, that in which a single worker would make them, and a search that is ended from there has settled the
// same runs whoever made them. Runs that were made ahead of their turn by then count for nothing.
//
// # What a transaction can notice
//
// Two steps of different clients are independent if from every state in which both can be released either order gives both the same
// results, leads to the same state, and neither keeps the other from going on. Orders that differ only by swapping neighbours which are
// independent cannot be told apart by anyone, so [Reduced] makes one run of each class of them. It has to know which steps are dependent, and
// errs on the side of dependent. Under MVCC surprisingly few are:
//
//   - A plain read notices another transaction at its COMMIT, and at no other time.
//   - Work that is not committed shows itself through locks: somebody waits, or somebody looks at locks without waiting.
//   - A ROLLBACK shows nothing but that locks are gone.
//   - What a step touched can be read off the server (pg_locks), by relation and mode. Nothing is parsed.
//
// Below, a step reads a relation with AccessShare, locks rows with RowShare, and writes with RowExclusive and everything above; it works on
// it when it locks or writes. It observes when it works on it, unless by a blind insert ([Step.Blind]). A footprint joins what all runs
// have shown ([Part].Touched): of relations for every statement with the same text, of advisory keys for this very one.
//
// A. An event is what one release caused: the step, and whatever waiting steps it set free then did, ended or not. Two events are dependent
// if a part of one and a part of the other are. A failing statement is a ROLLBACK as well, since its locks go at the error, not at the
// ROLLBACK that the client sends later; with a savepoint, both are. ROLLBACK TO is a ROLLBACK. A COMMIT that checks deferred constraints, or runs
// deferred triggers, is a statement as well, and shows at once what that has done. An event precedes the next release of every client that has
// a part in it: there is no other order, hence no race.
//
// B. Two statements are dependent if
//   - both work on one relation and one of them observes it, or they lock a table in modes that conflict, or use an advisory key in common:
//     one could wait for the other. With [Rules].SeenWaiting only if one has been seen to, in some run;
//   - they closed a cycle of waits together, whatever they touch: the order decides who is the victim;
//   - one can look without waiting ([Step.Looks]), or writes a relation with a deferred unique constraint (which notes whether another row is in
//     the way, and does not wait), and they overlap as above: it notices what nobody is ever seen to wait for;
//   - both are SERIALIZABLE and one reads what the other writes; or, when a SERIALIZABLE transaction has committed before, if they are of one
//     conflict component: who has to die depends on which dependency comes second.
//
// C. A statement and a COMMIT are dependent if the statement observes what the transaction worked on (it waited or would have; it fails with
// 40001), or would conflict with its table locks (a reader's count too), or uses a key of it; if the statement takes a snapshot (any at READ
// COMMITTED, the first of a transaction otherwise, not counting those that are [Step].Bare) and reads what was written; if it takes the snapshot
// of its whole transaction, and that reads, later, what was written; or if both are SERIALIZABLE and of one conflict component, since a COMMIT
// dooms others, and the doomed fail at their next statement, whatever that touches. Conflict components are the closure of "touch a relation
// that one of the two writes".
//
// D. A statement and a ROLLBACK: as C, but for what concerns snapshots.
//
// E. Two ends are dependent if both are SERIALIZABLE and of one component, if both wrote a relation with a deferred unique constraint, or if
// an invariant that is looked at after every commit reads what both wrote ([Config.Watch]). Who has locked such a relation against readers keeps
// that look waiting until it ends: statement and end are dependent with a COMMIT that wrote what the invariant reads.
//
// F. The end of a transaction that has failed, without a savepoint, is independent of everything: its locks went with the error.
//
// G. A blind insert looks at nobody's rows, so two of them are independent, and so are an insert and the COMMIT of another writer.
//
// H. A statement that failed leaves no locks to be seen. Its footprint is what its text touched elsewhere and what it locks before it is executed
// (which the driver finds out on its own, and shows with the failure), closed over the foreign keys of the [Catalog]. A statement with advisory
// functions of which no key was ever seen may use any key.
//
// Each rule has a program in the tests that comes to something which is lost without it; and for thousands of random programs, run on a toy
// Postgres, what all orders come to is compared with what the reduced ones do.
//
// # How the search goes
//
// It is dynamic partial-order reduction with source sets and sleep sets (Abdulla, Aronis, Jonsson and Sagonas, POPL 2014): run, look for pairs
// of dependent events that nothing in between keeps in order, see to it that the reverse is run, and let those sleep whose turn has been
// covered. Races are looked for when a run is over, as only then it is known what a waiting step or a first statement's transaction
// touches. What is learned about statements holds in all runs; when something is learned about those that have been compared before, the
// search begins anew, and takes the runs it has seen from the tree of all runs, without executing them. The tree is kept in memory: some
// hundred bytes for each step that no earlier run had been through.
//
// The search proper is one walk over that tree, which stops where it needs a run that nobody has made. Workers are given that run, or those
// that the walk will need next further up its stack, which are determined already. So there is one order, whoever works.
//
// [All] takes the orders by their preemptions, those without any first, so the first counterexample is one with the fewest. [Reduced] does
// not, but prefers to let a client go on. [Random] and [PCT] draw each run from the seed and the run's place in line. [Replay] repeats.
//
// # What it does not see
//
// The order in which several waiters that one event sets free go on is the driver's (one fixed order): other wake orders are not tried. Nor
// are there classes for what shows only in the physical order of rows (LIMIT without ORDER BY, and the order in which an UPDATE of many
// rows locks them, hence who deadlocks), in the values that sequences hand out, in clocks, random numbers, planner choices, autovacuum,
// LISTEN and NOTIFY, session-level advisory locks, DDL, READ ONLY DEFERRABLE, or in anything that clients share outside the database.
// Triggers and functions are seen by the locks they take, but one that ran only in a statement that failed is not: a driver that knows of
// such must show it with the failure. A pass through the search is as good as the footprints: what nobody ever saw being touched is thought untouched.
package sched
