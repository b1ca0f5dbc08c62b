// Package traffic tries a migration live: it is applied while clients read and write the tables that it touches, and what they feel is measured.
//
// The clients are closed loops, each on a connection of its own. Half of them read a row by its primary key, the others read and write one in a
// short transaction, and no two write the same row: what makes a client wait is the migration. Whom it blocks is taken from the lock table,
// which is looked at every two milliseconds or so. A shorter lock may be missed.
package traffic
