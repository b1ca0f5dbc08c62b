// Package gate judges migrations by running them: on an empty database and on a full one, on rows that a new constraint must refuse, among clients
// that read and write, cut off in the middle, twice, down and up again. Each trial has a database of its own, cloned from the state before.
//
// What reading the file predicts (package ddl) is held against what the run showed; where both speak of the same thing, the run has the word.
package gate
