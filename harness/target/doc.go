// Package target is an application and what its clients ask of it, as a file: how it is started, how it is put back, which requests are sent at
// once, which answers mean what, and what must never be.
//
// [Load] reads such a file, which docs/TARGET.md describes for those who write one. [File.Workload] makes a [race.Workload] of it, for any driver,
// and [File.System] is the application, as a [race.System].
//
// # What is in an input
//
// An input says what each client sends, in full: method, path, headers and body after the generators' values were put in. So a recorded
// counterexample can be read without the file. What only the running race knows, such as the id in an earlier answer, stays as {{name}}. The
// meaning of an answer (outcomes, row, retries) is looked up in the file, by the names of client and request.
//
// # What a client is
//
// A client's requests go one after another over the application's own transport. A connection that is lost, before or within an answer, is the
// outcome [race.Unknown]: whether the request was served is not known. The transport never sends a request twice of its own accord, as net/http
// would for a GET and for a request with an Idempotency-Key: that would hide the race between a lost answer and its retry. A client that tries
// again says so in the file, and its attempts are counted.
//
// # What is left behind
//
// Nothing. An application, and a command that is a client, runs in a session and a process group of its own, beside a small shell script that
// reads from a pipe. However Interlock ends, the other end of that pipe closes, and then the whole group is told to end, and killed if it does not.
package target
