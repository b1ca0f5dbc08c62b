// Package server is where a Postgres comes from, and fresh databases on it.
//
// A [Provider] gets a Postgres to run: each way is a package of its own below this one (dsn, local, docker, dockertest, embedded, and auto,
// which tries them in turn), so that a program links only the ways it names. What they all return is a [Server]. On it, a [Template] is a
// database in a prepared state, and a [Database] is a clone of one, in milliseconds; [Database.Reset] puts a clone back to that state in less.
//
// Interlock writes only to databases that it created itself, whose names begin with "interlock_".
package server
