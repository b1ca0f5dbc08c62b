// Package check looks at the invariants of a live database, and at the indexes that are meant to protect them, without writing to it: all in
// one read-only transaction, in one snapshot, with timeouts.
package check
