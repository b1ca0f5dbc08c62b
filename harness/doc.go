// Package harness runs races against a real Postgres: it clones a database per migration, has the clients of a [Scenario] run at the same
// time, looks at the invariants while they run and when they are done, makes what it finds as small as it will go, and returns all of it as
// a [history.Run].
package harness
