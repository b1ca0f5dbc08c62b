// Package anomalies holds the ten classical anomalies of transaction isolation, each as a spec and a query that finds what it leaves behind: G0, G1a,
// G1b, G1c, G-single, G2-item and G2 are Adya's (Weak Consistency, 1999), OTV and PMP are called so by Bailis and by Adya, P4 by Berenson; the list is
// that of Martin Kleppmann's Hermitage. Explored at every isolation level, they say what a server permits: every order of their steps is tried.
//
// A query returns a row if and only if the committed transactions of its spec have made that anomaly. So what a transaction reads it writes down
// itself, as the value that it has read: in a transaction that does not commit, it has read nothing.
package anomalies
