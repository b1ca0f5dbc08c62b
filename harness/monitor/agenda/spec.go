package agenda

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/interlock-pg/interlock/harness/internal/strict"
)

// fields are those of a schedule, in order.
var fields = []struct{ name, takes, example string }{
	{"minute", "0 to 59", "*/10 * * * *"},
	{"hour", "0 to 23", "0 3 * * *"},
	{"day of the month", "1 to 31", "0 3 1 * *"},
	{"month", "1 to 12, or jan to dec", "0 3 1 jan *"},
	{"day of the week", "0 (Sunday) to 6, or sun to sat", "0 3 * * mon-fri"},
}

// schedule says when.
type schedule struct {
	cron.Schedule
	zone *time.Location
}

// Next returns the first time after t; zero: there is none within five years.
func (s schedule) Next(t time.Time) time.Time { return s.Schedule.Next(t.In(s.zone)) }

// Check says what is wrong with a schedule that is read in a zone; nil: UTC.
func Check(spec string, zone *time.Location) error {
	_, err := parse(spec, zone, time.Now())
	return err
}

// parse reads a schedule. What is wrong is said of the field that it is wrong with, as a [strict.Problem].
func parse(spec string, zone *time.Location, now time.Time) (schedule, error) {
	if zone == nil {
		zone = time.UTC
	}
	when := strings.TrimSpace(spec)
	for _, prefix := range []string{"CRON_TZ=", "TZ="} {
		if name, is := strings.CutPrefix(when, prefix); is {
			name, rest, _ := strings.Cut(name, " ")
			in, err := time.LoadLocation(name)
			if err != nil || name == "" {
				return schedule{}, wrong("CRON_TZ=Asia/Seoul 0 3 * * *", "there is no time zone %q", name)
			}
			when, zone = strings.TrimSpace(rest), in
			break
		}
	}
	if every, is := strings.CutPrefix(when, "@every"); is {
		d, err := time.ParseDuration(strings.TrimSpace(every))
		if err != nil || d < time.Second {
			return schedule{}, wrong("@every 90m", "%q is not how often something can be done", strings.TrimSpace(every))
		}
		return schedule{cron.Every(d), zone}, nil
	}
	if strings.HasPrefix(when, "@") {
		parsed, err := cron.ParseStandard(when)
		if err != nil {
			return schedule{}, wrong("@hourly, @daily, @weekly, @monthly, @yearly or @every 90m", "there is no schedule %q", when)
		}
		return schedule{parsed, zone}, nil
	}
	parts := strings.Fields(when)
	if len(parts) != len(fields) {
		return schedule{}, wrong("0 3 * * * for 03:00 each day",
			"the schedule %q has %d fields, and needs 5: minute, hour, day of the month, month, day of the week", when, len(parts))
	}
	for i, part := range parts {
		alone := []string{"*", "*", "*", "*", "*"}
		alone[i] = part
		if _, err := cron.ParseStandard(strings.Join(alone, " ")); err != nil || strings.Trim(part, ",") != part || strings.Contains(part, ",,") {
			return schedule{}, wrong(fields[i].example, "the %s of the schedule %q is %q, and takes %s", fields[i].name, when, part, fields[i].takes)
		}
	}
	parsed, err := cron.ParseStandard(strings.Join(parts, " "))
	if err != nil {
		return schedule{}, wrong("0 3 * * *", "the schedule %q: %v", when, err)
	}
	s := schedule{parsed, zone}
	if s.Next(now).IsZero() {
		return schedule{}, wrong("0 3 1 * *", "the schedule %q never comes: no month that it names has day %s", when, parts[2])
	}
	return s, nil
}

func wrong(try, format string, args ...any) error {
	return strict.Problem{What: fmt.Sprintf(format, args...), Try: try}
}
