// Package schema takes a snapshot of a database's schema from the catalog, as plain data, and compares two of them object by object.
//
// It works on PostgreSQL 13 to 18. Not in a snapshot: operators and their classes, casts, collations, conversions, languages, text search,
// foreign servers and user mappings, subscriptions, large objects, and the names of NOT NULL constraints.
package schema
