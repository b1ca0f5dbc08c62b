package agenda

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	in, err := time.LoadLocation(name)
	require.NoError(t, err)
	return in
}

// TestNext has times in RFC 3339, one after another.
func TestNext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ what, spec, zone, from, want string }{
		{"each day", "0 3 * * *", "", "2026-11-10T10:00:00Z", "2026-11-11T03:00:00Z 2026-11-12T03:00:00Z"},
		{"every ten minutes", "*/10 * * * *", "", "2026-11-10T10:55:30Z", "2026-11-10T11:00:00Z 2026-11-10T11:10:00Z"},
		{"on workdays", "30 8 * * MON-fri", "", "2026-11-13T09:00:00Z", "2026-11-16T08:30:00Z"},
		{"a day of either kind", "0 0 13 * 5", "", "2026-11-01T00:00:00Z", "2026-11-06T00:00:00Z 2026-11-13T00:00:00Z 2026-11-20T00:00:00Z 2026-11-27T00:00:00Z 2026-12-04T00:00:00Z"},
		{"in a leap year", "0 0 29 2 *", "", "2026-11-01T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"in Seoul", "CRON_TZ=Asia/Seoul 0 3 * * *", "Europe/Berlin", "2026-11-10T10:00:00Z", "2026-11-11T03:00:00+09:00"},
		{"in the zone of the job", "0 3 * * *", "Asia/Seoul", "2026-11-10T10:00:00Z", "2026-11-11T03:00:00+09:00"},
		{"in a zone off by half an hour", "15 3 * * *", "Asia/Kolkata", "2026-11-10T10:00:00Z", "2026-11-11T03:15:00+05:30"},
		{"hourly", "@hourly", "", "2026-11-10T10:00:00Z", "2026-11-10T11:00:00Z"},
		{"every so often", "@every 90m", "", "2026-11-10T10:00:20Z", "2026-11-10T11:30:20Z"},
		{"put forward: no 02:30 on that day", "30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", "2026-03-28T02:30:00+01:00 2026-03-30T02:30:00+02:00"},
		{"put forward: hourly goes on", "30 * * * *", "Europe/Berlin", "2026-03-29T00:45:00Z", "2026-03-29T03:30:00+02:00"},
		{"put back: 02:30 twice", "30 2 * * *", "Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T02:30:00+02:00 2026-10-25T02:30:00+01:00 2026-10-26T02:30:00+01:00"},
		{"put back: 03:00 once", "0 3 * * *", "Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T03:00:00+01:00 2026-10-26T03:00:00+01:00"},
		{"put forward at midnight", "30 1 * * *", "America/Asuncion", "2023-09-30T12:00:00Z", "2023-10-01T01:30:00-03:00 2023-10-02T01:30:00-03:00"},
	} {
		t.Run(c.what, func(t *testing.T) {
			now, err := time.Parse(time.RFC3339, c.from)
			require.NoError(t, err)
			var in *time.Location
			if c.zone != "" {
				in = zone(t, c.zone)
			}
			s, err := parse(c.spec, in, now)
			require.NoError(t, err)
			var got []string
			for range strings.Fields(c.want) {
				now = s.Next(now)
				got = append(got, now.Format(time.RFC3339))
			}
			require.Equal(t, c.want, strings.Join(got, " "))
		})
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 10, 10, 0, 0, 0, time.UTC)
	for spec, want := range map[string]string{
		"":                                "0 fields, and needs 5",
		"* * * *":                         "4 fields, and needs 5: minute, hour,",
		"0 0 3 * * *":                     "6 fields",
		"60 * * * *":                      `the minute of the schedule "60 * * * *" is "60", and takes 0 to 59; try`,
		"0 25 * * *":                      `the hour of the schedule "0 25 * * *" is "25", and takes 0 to 23; try 0 3 * * *`,
		"0 3 0 * *":                       `the day of the month`,
		"0 3 * foo *":                     `the month`,
		"0 3 * * 7":                       `the day of the week of the schedule "0 3 * * 7" is "7", and takes 0 (Sunday) to 6`,
		"*/0 * * * *":                     "the minute",
		"5-1 * * * *":                     "the minute",
		"1-2-3 * * * *":                   "the minute",
		"-1 * * * *":                      "the minute",
		", * * * *":                       "the minute",
		"0 3,,4 * * *":                    "the hour",
		"0 0 30 2 *":                      "never comes",
		"@never":                          "there is no schedule",
		"@every":                          "try @every 90m",
		"@every 10":                       "try @every 90m",
		"@every 1ms":                      "try @every 90m",
		"@every -1h":                      "try @every 90m",
		"CRON_TZ=":                        "there is no time zone",
		"CRON_TZ=Asia/Seoul":              "0 fields",
		"CRON_TZ=Mars/Olympus 0 3 * * *":  `there is no time zone "Mars/Olympus"; try CRON_TZ=Asia/Seoul`,
		"TZ=../../etc/passwd 0 3 * * *":   "there is no time zone",
		"CRON_TZ=Asia/Seoul TZ=UTC 0 3 *": "4 fields",
	} {
		_, err := parse(spec, nil, now)
		require.ErrorContains(t, err, want, "%q", spec)
	}
	_, err := New(Config{Jobs: []Job{{Name: "a", Spec: "x"}, {Spec: "@daily"}, {Name: "b", Spec: "@daily"}, {Name: "b", Spec: "@daily"}, {Name: "c", Spec: "0 24 * * *"}}})
	for _, want := range []string{"job a: ", `the job at "@daily" has no name`, "job b has nothing to do", "two jobs are named b", "job c: the hour"} {
		require.ErrorContains(t, err, want)
	}
}

// FuzzParse reads schedules.
func FuzzParse(f *testing.F) {
	for _, spec := range []string{
		"0 3 * * *", "*/5 1-3,7 ? jan sun", "@every 1h", "@daily", "CRON_TZ=UTC @hourly", "CRON_TZ=", "TZ=UTC", "CRON_TZ=UTC TZ=", "0 0 31 2 *", "* * * * * *",
		"1/99999999999 * * * *", "*-1 * * * *", "@every 9999999h", "CRON_TZ=Local 0 3 * * *", "18446744073709551615 * * * *",
	} {
		f.Add(spec)
	}
	now := time.Date(2026, 3, 29, 0, 59, 59, 999, time.UTC)
	f.Fuzz(func(t *testing.T, spec string) {
		s, err := parse(spec, nil, now)
		if err != nil {
			require.Contains(t, err.Error(), "try ")
			return
		}
		next := s.Next(now)
		require.True(t, next.After(now), "%q: %v", spec, next)
	})
}
