// Package arena is where races are run: a database of our own, with a connection for each client, one that prepares, and one that judges.
// What the drivers have in common is here; how clients are let go is theirs.
package arena
