// Package agenda does things at set times: checks, and, where somebody asked for it, repairs.
//
// # Times
//
// A schedule is written as for cron: minute, hour, day of the month, month, day of the week (0 is Sunday, 6 is Saturday), each a number, a range, a list or
// *, with /n for every nth; or @hourly, @daily, @weekly, @monthly, @yearly, or "@every 90m". A day fits if the day of the month or the day of the week
// does, where neither is *. It is read in the time zone of the job, UTC where it has none, or in the one that the schedule begins with:
// "CRON_TZ=Asia/Seoul 0 3 * * *".
//
// Where clocks are put forward, a time that there is not on that day is left out: a job for 02:30 is not done then. Where they are put back, a time that
// there is twice is kept twice. A job that must be done once a day is best at an hour at which clocks are not changed, or in UTC. "@every" counts from
// the start of the agenda, and from one run to the next.
//
// # What is not done
//
// A job that is still at work when its time comes again is not begun a second time. What was missed, because the machine slept or the process was not there,
// is not caught up. Both are counted, and told in the log.
//
// # Repairs
//
// [Repair] is a job that resolves what breaks invariants. However many instances have it, one at a time does it: the one that has the advisory lock. That a
// repair is safe beside the application, and beside another repair, does not hang on that lock: see package repair.
package agenda
