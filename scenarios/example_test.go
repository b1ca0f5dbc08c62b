package scenarios_test

import (
	"fmt"

	"github.com/interlock-pg/interlock/scenarios"
)

func ExampleWorkloads() {
	for _, w := range scenarios.Workloads(scenarios.Options{Clients: 3}) {
		if w.Name == "schedules" {
			fmt.Printf("%-34s%s\n", w.FullName(), w.Says)
		}
	}
	// Output:
	// schedules/none                    check, then insert, as production does
	// schedules/constraint              insert, map 23505 and 23P01
	// schedules/serializable            check, insert, retry on 40001
	// schedules/advisory                pg_advisory_xact_lock, then check
	// schedules/rowlock                 FOR UPDATE on the device, then check
	// schedules/repeatable-read         looks safe, is not
	// schedules/rowlock-repeatable-read lock after the snapshot: is not safe
}

func ExampleStateInvariants() {
	for _, inv := range scenarios.StateInvariants(scenarios.Window) {
		fmt.Printf("%s: %s\n", inv.Name, inv.Says)
	}
	// Output:
	// S1: at most one open session per device
	// S2: no two visits to one device less than 30 minutes apart
}
