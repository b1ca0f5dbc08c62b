// Package ddl says what the statements of a migration will do, before they run: which tables they lock and rewrite, and what is hazardous about
// them. It reads them with PostgreSQL's own grammar, needs no database, and knows of one only what it is told in [Facts].
//
// The grammar is that of PostgreSQL 17. What it refuses is reported as such, and the server has the last word.
package ddl
