// Package race says what a race is: a [Scenario] of clients that run at the same time and of invariants that must hold whatever order the
// database gives them. It is plain data and ordinary client code; nothing here knows which driver (stress, explorer, load) runs it.
//
// Users meet these types through package harness, which re-exports every one of them.
package race
