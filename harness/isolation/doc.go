// Package isolation reads, prints and runs PostgreSQL's isolation specs.
//
// A spec ([Parse], [Spec.String]) names sessions, what each of them sends, and the orders in which to send it. [Tester.Run] runs these orders and
// writes the transcript that PostgreSQL's isolationtester writes, to the byte; [Spec.Scenario] makes a race of the sessions, for drivers that find
// the orders themselves.
//
// # How a run sees that a step waits
//
// isolationtester gives a step ten milliseconds to answer, and then asks the server whether it waits for a lock of another session. We ask after half
// a millisecond, or at once if the step was seen to wait before. What we may conclude so early was thought through, since a wait that is over before
// ten milliseconds have passed is not in isolationtester's transcript:
//
//   - Whom the step waits for may be at work, and about to let it go. So a step is said to wait only if every other session that has not answered waits
//     too, twice in a row where there is such a session: then nothing changes until a further step is sent.
//   - The wait may end by itself: at a lock_timeout or statement_timeout, or when deadlock_timeout has the backend look for a deadlock. Settings that
//     are not made by the spec are too long for that to matter. While a session is busy whose SQL sets one of them to little, nothing is concluded.
//
// Where nothing can be concluded, ten milliseconds are waited for, as isolationtester does.
//
// # What makes a run fast
//
// Beside that: steps of one session in a row are sent at once, and BEGIN is sent with what follows it; instead of the teardown and the next setup,
// tables are truncated and filled again; and permutations are shared out among databases. All of this is done only for a spec of which every
// statement is known to allow it: one that creates tables, changes rows and ends its transactions.
//
// Specs whose transactions are SERIALIZABLE are shared out among servers, not databases. What these transactions read is kept for a whole server, and
// for as long as an older transaction runs in any of its databases. We know of no transcript that this would change, and do not rely on it.
//
// A run does not go through the gate of package wire. There is nothing to hold: a spec says itself when each step is sent. And to see what a session
// has said so far, as isolationtester does when it is that session's turn, its connection is read without waiting, which the gate has no way to do.
package isolation
