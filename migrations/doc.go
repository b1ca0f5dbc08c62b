// Package migrations holds Interlock's own schema, and reads and applies other people's migrations the way their own tools do.
//
// [Embedded] is the schema of the inspection service in three steps: without protection, with the partial unique index, with the window as an
// exclusion constraint. [Open] reads a directory in any known [Layout]. What both return is a [Set], plain data; [Set.Apply] brings a fresh
// database to a version of it.
//
// How a file is executed is part of what it does: sent as one message, a file whose last statement fails leaves nothing behind; sent
// statement by statement, it leaves all but the last. So Apply sends what the tool of the layout would send:
//
//	goose           by goose itself: a transaction a file, unless it says NO TRANSACTION; goose keeps its ledger
//	golang-migrate  the file as one message: an implicit transaction
//	flyway          statement by statement in a transaction a file, or without one if a statement of the file cannot run in one
//	prisma          the file as one message, like golang-migrate
//	plain           statement by statement, each committed at once, like psql -v ON_ERROR_STOP=1 -f
//
// (psql -f alone goes on after a failure, and exits with 0: use ON_ERROR_STOP.)
//
// The ledgers of golang-migrate, Flyway and Prisma are not written: databases made here are fresh, and thrown away. Flyway's placeholders and
// settings are not read; a Flyway file that mixes statements which can and which cannot run in a transaction is applied as with mixed=true.
//
// A statement that the database refuses is an [*Error], which points at its place in the file.
package migrations
