// Package scenarios is the domain of Interlock: inspectors who open sessions on devices and plan visits to them, what must hold whatever order
// the database gives their requests, and the defences that make it hold, or only look as if they did.
//
// [Workloads] returns one workload per scenario and defence. A defence is data ([Defence]); all of them run the same few transactions, so that
// what differs between two workloads is what their names say. The rules of the domain are invariants in SQL ([SessionInvariants],
// [ScheduleInvariants]); two of them ([StateInvariants]) need nothing but the tables and can be asked of any live database.
//
// To be measured, a workload goes on without an end (its Stream): the same actors, who ask for one thing after another among the rows of [Fill].
package scenarios
