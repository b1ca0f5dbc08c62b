package scenarios

import (
	"slices"
	"time"

	"github.com/leanovate/gopter"
)

// GenSchedules generates [SchedulesInput]. Most inputs are pure contention: some clients begin by planning visits to the same device at times
// that exclude each other. All times crowd the edges of the window.
func GenSchedules(o Options) gopter.Gen {
	o = o.resolve()
	return generator(func(d dice) SchedulesInput {
		in := SchedulesInput{Base: d.base(o.Window), Devices: d.devices(), Schedules: []StartSchedule{}}
		contended := d.percent(contention)
		onlyThat := contended && d.percent(pure)
		refused := contended && d.percent(falseRefusal)
		cancelled := d.percent(50)
		side := oneOf(d, 1, -1)

		for client, length := range d.clientsAndLengths(o.Clients) {
			c := SchedulesClient{Inspector: client, TimeZone: d.timeZone()}
			for n := range length {
				c.Operations = append(c.Operations, d.scheduleOperation(len(in.Devices), o.Window, n == 0))
			}
			if contended && (client < 2 || onlyThat || d.percent(rival)) {
				c.Operations[0] = ScheduleOperation{Kind: Create}
				if !refused {
					c.Operations[0].At = after(time.Duration(side) * d.within(o.Window))
				}
			}
			if onlyThat {
				c.Operations = c.Operations[:1]
			}
			in.Clients = append(in.Clients, c)
		}

		switch {
		case refused && cancelled: // production looks at it all the same
			in.Schedules = append(in.Schedules, StartSchedule{Status: "cancelled"})
		case refused: // exactly a window earlier, which production minds on this side only
			in.Schedules = append(in.Schedules, StartSchedule{At: after(-o.Window), Status: "scheduled"})
		}
		for range d.between(0, 2) {
			s := StartSchedule{
				Device: d.between(0, len(in.Devices)-1), Inspector: d.between(0, len(in.Clients)-1), At: d.when(o.Window),
				Status: oneOf(d, "scheduled", "scheduled", "in_progress", "completed", "cancelled"),
			}
			if d.percent(noDevice) {
				s.Device = -1
			}
			free := contended && s.Device == 0 && (s.live() || !refused)
			if !free && in.fits(s, o.Window) {
				in.Schedules = append(in.Schedules, s)
			}
		}
		return in
	}, func(in SchedulesInput) gopter.Shrink { return shrinkSchedules(in, o.Window) })
}

// fits reports whether a starting row keeps the rule beside those that are there.
func (in SchedulesInput) fits(s StartSchedule, window time.Duration) bool {
	return !s.live() || s.Device < 0 || !slices.ContainsFunc(in.Schedules, func(other StartSchedule) bool {
		return other.Device == s.Device && other.live() && !other.At.apart(s.At, window)
	})
}

// plainBaseTime is an ordinary time.
const plainBaseTime = "2025-11-10T10:00:00Z"

var oddBases = []string{
	"2025-11-10T00:00:00Z", // midnight in UTC, where the day changes that the seed's index is about
	"2025-11-09T15:00:00Z", // midnight in Seoul
	"2025-03-30T01:00:00Z", // an hour is skipped in Berlin
	"2025-10-26T01:00:00Z", // an hour comes twice in Berlin
	"2025-03-09T07:00:00Z", // an hour is skipped in New York
	"2025-11-02T06:00:00Z", // an hour comes twice in New York
	"0001-01-01T12:00:00Z",
	"9999-12-31T12:00:00Z",
}

// base draws a base time that no time of the input leaves the years 1 to 9999 from.
func (d dice) base(window time.Duration) string {
	if d.percent(plainBase) {
		return plainBaseTime
	}
	if window > 6*time.Hour {
		return oneOf(d, oddBases[:len(oddBases)-2]...)
	}
	return oneOf(d, oddBases...)
}

// within draws a distance less than the window, often by as little as there is.
func (d dice) within(window time.Duration) time.Duration {
	return oneOf(d, 0, 0, 0, min(time.Microsecond, window-time.Microsecond), window-time.Microsecond, d.sixths(5, window))
}

// sixths draws 1 to most sixths of the window: 5, 10, 15 … minutes of 30.
func (d dice) sixths(most int, window time.Duration) time.Duration {
	return (window * time.Duration(d.between(1, most)) / 6).Truncate(time.Microsecond)
}

// when draws a time at the edge of the window around the base, or an ordinary one near it, or none.
func (d dice) when(window time.Duration) When {
	if d.percent(specialTime) {
		return When{Special: oneOf(d, Null, Null, Infinity, Before)}
	}
	distance := oneOf(d, 0, time.Microsecond, window-time.Microsecond, window, window, window+time.Microsecond, d.sixths(8, window))
	return after(distance * time.Duration(oneOf(d, 1, -1)))
}

// scheduleOperation draws an operation on one of some devices; a client's first one is a creation more often than not.
func (d dice) scheduleOperation(devices int, window time.Duration, first bool) ScheduleOperation {
	op := ScheduleOperation{Kind: oneOf(d, Create, Create, Create, Reschedule, Reschedule, Cancel), Device: d.between(0, devices-1)}
	if first && d.percent(beginning) {
		op.Kind = Create
	}
	if d.percent(noDevice) {
		op.Device = -1
	}
	if op.Kind != Cancel {
		op.At = d.when(window)
	}
	return op
}
