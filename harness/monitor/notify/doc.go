// Package notify tells people when an invariant of a live database breaks, while it stays broken, and when it holds again: through Slack and through
// signed webhooks.
//
// # Incidents
//
// What is told follows from results, not from differences between them. [Notifier.Observe] compares the result of a look with what was told last,
// which is kept in an [Outbox]; so it does not matter what happened while nobody looked. A violated result opens an incident, where none is open: it
// is told as [Broke]. While it lasts, [Changed] is told when the groups are not those that were told last, and not oftener than Config.Update. Held
// results end it, once they span Config.HealFor in a row: it is told as [Healed]. So what comes and goes is one incident. An unknown result says nothing, and
// neither heals nor breaks nor interrupts a row of good looks. A result that is older than what was told last is left aside: another instance has seen more.
// So is the good news of a look at a part, and what it says of changes, where another instance has seen groups that this one may not know of.
//
// # Delivery
//
// The state of an incident and the messages about it, one for each destination, are written in one transaction, and sent after that. Each message has a
// delivery id, which is the same at each attempt: a receiver gets every message at least once, and knows by the id what it has. What a destination
// refuses with 408, 429 or 5xx, or what does not get through, is tried again, for ever, with growing pauses; messages of one destination stay in order,
// so one that is not taken holds up those behind it, and no other destination. Another 4xx, and a redirect, may be of a receiver that is being set up: it is
// tried again with pauses that grow to an hour, and once a destination has refused everything for a day, what it refuses is dead. 400, 410 and 413 are final at
// once. What follows a dead message that cannot have arrived is told in its place, as of one that waits. Dead messages are sent once more at each start,
// but for those that say that something is broken which was since told to be over. They are dropped after 30 days, and the oldest of more than 100 at once. So is what waits for a
// destination that is not there any more, once it is 30 days old; the log says so at each start.
//
// What waits is brought up to date rather than told late. A message that cannot have arrived (its destination could not be reached, or answered 429 or
// 503, or it was never tried) takes in what follows it: a waiting Broke tells the latest groups, and when the incident is over before it was told, the
// two are one message, [BrokeAndHealed]. A waiting Changed is dropped for a later one, or for Healed. A message that may have arrived (the answer was
// lost, or we were killed) is sent again as it was.
//
// # Several instances
//
// Any number may share one table, and must have the same destinations: each observes, the first to see something writes it, and one at a time sends to a
// destination. A state file belongs to one process: several that have one each tell each for itself. Results are compared by the clocks of the machines
// that looked; clocks that are apart by more than looks are make an instance's results count late, and a time more than a minute ahead is not believed.
//
// # A database that is read only
//
// An outbox may have both, tables and a file ([Store]): messages wait in the tables, and in the file for as long as those cannot be written. What was told
// and what waits moves to the file, where it is noted what was taken, and later back: what was sent from the file meanwhile is then dropped from the tables.
//
// # What is kept
//
// An outbox holds the keys of the groups that were told, 10,000 at most, also where messages hide them, and no URL and no secret. A state file can be read
// by its owner only.
//
// # Slack
//
// An incoming webhook can post a message and cannot edit one, so a change is a new short message. Editing would need a bot token and chat.update, which
// this package does not have.
package notify
