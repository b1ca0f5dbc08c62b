package scenarios

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness"
)

// From which migration on the database itself keeps the rule.
const (
	sessionsKept  = 2
	schedulesKept = 3
)

// sound reports whether a defence keeps the rule with no help from the database: it is SERIALIZABLE, or it looks only after it holds a lock.
func (d Defence) sound() bool {
	return d.Isolation == pgx.Serializable || d.Lock != NoLock && d.Isolation != pgx.RepeatableRead
}

// expectSessions says what a defence makes of sessions at each migration.
func expectSessions(d Defence) func(int64) harness.Expectation {
	return func(version int64) harness.Expectation {
		return expect(d, "S1", names(SessionInvariants()), version >= sessionsKept)
	}
}

// expectSchedules says what a defence makes of schedules at each migration. Production refuses too much at every one of them (S6).
//
// A window other than the constraint's is a rule that the database does not keep, or keeps too well, so less is expected of migration 3.
func expectSchedules(d Defence, window time.Duration) func(int64) harness.Expectation {
	return func(version int64) harness.Expectation {
		kept := version >= schedulesKept
		if kept && window != Window {
			switch {
			case d.sound():
				return harness.Expectation{Hold: []string{"S2", "S3", "S5"}}
			case d.Insert:
				return harness.Expectation{Hold: []string{"S3", "S5"}}
			}
			return harness.Expectation{}
		}
		e := expect(d, "S2", names(ScheduleInvariants(window)), kept)
		if d.Naive {
			e.Break = append(e.Break, "S6")
		}
		return e
	}
}

// expect says what a defence makes of a rule that the database keeps or does not.
func expect(d Defence, rule string, all []string, kept bool) harness.Expectation {
	switch {
	case d.sound(), d.Insert && kept:
		return harness.Expectation{Hold: all}
	case kept: // the race is still there, and its loser gets a 500
		return harness.Expectation{Hold: []string{rule}, Break: []string{"S3"}}
	}
	return harness.Expectation{Break: []string{rule}}
}

func names(invariants []harness.Invariant) []string {
	var names []string
	for _, inv := range invariants {
		names = append(names, inv.Name)
	}
	return names
}
