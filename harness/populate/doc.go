// Package populate fills a schema with generated rows, which it makes up from the catalog alone.
//
// Candidates are generated in SQL, a set at a time, into a temporary table; the table's own CHECK constraints are evaluated there, and what passes
// is inserted. The constraints are not understood: their literals are tried as values, and so are strings that match their patterns, which is
// enough for most. What the generated rows are is decided by the seed, and by the schema.
package populate
