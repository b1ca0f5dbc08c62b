package scenarios

import (
	"time"

	"github.com/interlock-pg/interlock/harness"
)

// Window is how far apart two visits to one device must be, and the width that migration 3 enforces.
const Window = 30 * time.Minute

// Options bound what [Workloads] generates. The zero value is a good default.
type Options struct {
	// Clients is the most clients in one scenario. 0: 4. A race takes two, so 1 counts as 2.
	Clients int

	// Window is how far apart two visits to one device must be. 0: [Window]. The constraint of migration 3 enforces that width and no other,
	// so with another one fewer cells have an expectation there.
	Window time.Duration
}

func (o Options) resolve() Options {
	if o.Clients <= 0 {
		o.Clients = 4
	}
	o.Clients = max(o.Clients, 2)
	if o.Window <= 0 {
		o.Window = Window
	}
	o.Window = max(o.Window.Truncate(time.Microsecond), time.Microsecond) // Postgres counts microseconds
	return o
}

// Workloads returns the scenarios "sessions" and "schedules", each with every defence, in the order of [Defences]. For one seed, all defences of
// a scenario get the same input.
func Workloads(o Options) []harness.Workload {
	o = o.resolve()
	var all []harness.Workload
	for _, d := range Defences() {
		w := harness.Define("sessions", GenSessions(o), func(in SessionsInput) harness.Scenario { return sessionsScenario(d, in) })
		w.Variant, w.Says, w.Expect = d.Name, d.Says, expectSessions(d)
		w.Contending = func(clients int) any { return contendingSessions(clients) }
		w.Stream = func(shape harness.Shape) harness.Stream { return sessionsStream(d, shape) }
		all = append(all, w)
	}
	for _, d := range Defences() {
		w := harness.Define("schedules", GenSchedules(o), func(in SchedulesInput) harness.Scenario { return schedulesScenario(d, in, o.Window) })
		w.Variant, w.Says, w.Expect = d.Name, d.Says, expectSchedules(d, o.Window)
		w.Contending = func(clients int) any { return contendingSchedules(clients, o.Window) }
		w.Stream = func(shape harness.Shape) harness.Stream { return schedulesStream(d, shape, o.Window) }
		all = append(all, w)
	}
	return all
}
