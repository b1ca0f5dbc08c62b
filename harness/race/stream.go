package race

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Shape says what a stream is to be like.
type Shape struct {
	Clients int     // how many there will be
	Devices int     // over how many things, such as devices, the operations spread
	Zipf    float64 // exponent of their popularity: 0 spreads evenly, 1: the n-th is asked for 1/n as often as the first
	Rows    int     // in each table before it begins
	Seed    int64
}

// Stream is a workload without an end: clients that go on, one operation after another, among rows that are there already.
type Stream struct {
	// Fill puts the rows in place that are there before. It runs alone, once, on a database as the migrations left it; what it filled is vacuumed and
	// analysed then.
	Fill func(ctx context.Context, conn *pgx.Conn) error

	// System is the application that the clients ask; nil: they ask Postgres itself.
	System System

	// Client returns what the n-th client does next, and next; n counts from 0. Each client's operations come from one goroutine. The same shape gives
	// the same operations, as far as they do not depend on what the clients were told. A client remembers what it was told, so call Client once for
	// each client of a database. An operation that is not run has not happened.
	Client func(n int) (next func() Operation)

	// Invariants must hold all the time; those with Outcomes set are judged in the end, from all that clients were told.
	Invariants []Invariant
}
