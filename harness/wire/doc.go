// Package wire is a gate on the Postgres protocol: it stands between a client and the server, cuts what the client sends into steps, holds each
// until it is released, and says how the server answered.
//
// # What a step is
//
// A step is what other sessions could notice the place of: a statement that executes, or the end of a transaction. What takes neither a snapshot
// nor a lock passes at once, being no choice: BEGIN, SET, SHOW, SAVEPOINT, Parse. The exceptions were measured: under REPEATABLE READ, a Parse or
// Describe takes the transaction's snapshot, and so, in a block, do DEALLOCATE, CLOSE, DISCARD and PREPARE; a SELECT has its snapshot from Bind
// on; ROLLBACK releases locks; DISCARD ALL drops them. Those are steps. What passes can still wait for a lock, as Parse does behind LOCK TABLE:
// [State] shows it as working, on a unit of kind [Pass].
//
// # Why a statement outside a block is two steps
//
// It executes, then it commits, and what others do in between decides races: two times INSERT … WHERE NOT EXISTS, each of them atomic, insert
// twice if both execute before either commits. A scheduler for which a statement is one step never sees that.
//
// The split needs nothing to be injected. PostgreSQL commits a batch of the extended protocol not at Execute but at Sync, so the gate treats the
// stream as if the client had sent Flush after every Execute, and makes Sync a step of its own:
//
//	client  Parse Bind Describe Execute Sync
//	gate    Parse Bind Describe Execute Flush   step "statement"; the gate gets the answers
//	        Sync                                step "commit"; answered by ReadyForQuery, or by an error before it
//
// A client that has sent its Sync gets all answers when that is answered, as a server alone sends them; only a result of more than 8 kB begins to
// flow before.
//
// The session is in its own implicit transaction, as it would be without the gate. So VACUUM, CREATE INDEX CONCURRENTLY, CALL and DO with COMMIT
// in them run as they always do, LOCK outside a block fails as it always does, and the unnamed statement lives as long as it always did. Sync is
// the commit step only if an Execute outside a block was answered since the last one; what began or ended a block is read from command tags.
//
// A simple Query commits within one message, so it is converted: Parse, Bind, Describe, Execute, Flush; then Close and Sync. The answers that the
// client did not ask for are hidden. Its CommandComplete is kept until Sync is answered, and dropped if that is an error, for this is how a
// simple Query reports a commit that failed. Where a Query cannot be converted (several statements in a string, $1, FETCH, a FunctionCall), BEGIN
// and COMMIT are put around it, and [Step].Injected says so. A string that contains transaction control is one step, of kind [Whole].
//
// # What the client can see of it
//
// The bytes are those of a direct connection; the conformance test compares them for every script in testdata. What does differ:
//   - the transaction, its locks and its snapshot live as long as the step is held, which is the point;
//   - of a converted Query, now() = statement_timestamp() is false, pg_cursors shows the unnamed portal, and rows that a rule adds to a statement
//     (DO ALSO SELECT) are not sent, as the extended protocol does not;
//   - an injected transaction shows as such in pg_stat_activity and in the server's log;
//   - answers to what precedes a Terminate in one batch arrive, where a server alone would take them to its grave;
//   - statement_timeout runs while a batch of which the Parse was flushed is held before its Execute.
//
// # Limits
//
// The level of a transaction is followed through startup packets, BEGIN, SET, RESET and set_config; a role's or database's own default has to be
// given in [Config].Isolation. A level that is not a literal is taken for [Serializable]. One that a function sets is not seen, nor that ROLLBACK TO
// undoes a SET. A savepoint counts as open until it is released by name; one made within a string of several statements, until the end of the
// transaction.
//
// What [Result] shows of a row in the binary format is of a built-in type, or hexadecimal; a numeric zero is shown without its scale.
//
// Replication connections, and encrypted ones, pass unseen. Strings are taken to be standard-conforming.
//
// # Its parts
//
// [Core] is all of this without input or output. [Session] puts it on a connection, for one client in this process; [Gate] is several of those,
// for a scheduler. The usual use is [Gate.Attach], [Gate.Wait] and [Session.Release].
package wire
