// Package history is what happened, as plain data: the run file that every report, replay and re-check starts from, offline.
//
// It imports the standard library only. Durations and times within a round are microseconds since the round's clients were released; their
// order is given by sequence numbers, never by clocks.
package history
