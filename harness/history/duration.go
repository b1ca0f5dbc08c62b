package history

import (
	"fmt"
	"time"
)

// Duration is a time.Duration that is written as "1.25ms" in a file and is kept to the microsecond.
type Duration time.Duration

// Since returns the time since start, to the microsecond.
func Since(start time.Time) Duration {
	return Duration(time.Since(start).Truncate(time.Microsecond))
}

func (d Duration) String() string { return time.Duration(d).String() }

// Short returns the duration as people say it: three figures at the most, and no more than a tenth of a millisecond.
func (d Duration) Short() string {
	t := time.Duration(d)
	switch {
	case t < time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(t)/1e6)
	case t < time.Second:
		return fmt.Sprintf("%.3g ms", float64(t)/1e6)
	case t < 100*time.Second:
		return fmt.Sprintf("%.1f s", t.Seconds())
	}
	return t.Round(time.Second).String()
}

// MarshalText writes the duration as Go writes it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Duration) UnmarshalText(text []byte) error {
	t, err := time.ParseDuration(string(text))
	*d = Duration(t)
	return err
}
