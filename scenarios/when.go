package scenarios

import (
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/interlock-pg/interlock/harness/history"
)

// When is the time of a visit, seen from the base time of the input. The zero value is the base itself.
type When struct {
	Offset  history.Duration `json:"offset"`            // from the base, to the microsecond
	Special Special          `json:"special,omitempty"` // in place of a time
}

// Special is what a timestamptz can be besides a time.
type Special string

// The special values.
const (
	Null     Special = "null"
	Infinity Special = "infinity"
	Before   Special = "-infinity"
)

// after returns d after the base.
func after(d time.Duration) When { return When{Offset: history.Duration(d)} }

// apart reports whether two times are at least the window apart, or can never conflict.
func (w When) apart(other When, window time.Duration) bool {
	return w.Special != "" || other.Special != "" || time.Duration(w.Offset-other.Offset).Abs() >= window
}

// value returns the time as a parameter of a query, moved by the given duration. Neither NULL nor the infinities move.
func (w When) value(base string, move time.Duration) pgtype.Timestamptz {
	switch w.Special {
	case Null:
		return pgtype.Timestamptz{}
	case Infinity:
		return pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}
	case Before:
		return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
	}
	return pgtype.Timestamptz{Time: w.in(base).Add(move), Valid: true}
}

// text returns the time as Postgres reads it, in any session's time zone; nil stands for NULL.
func (w When) text(base string) *string {
	text := string(w.Special)
	switch w.Special {
	case Null:
		return nil
	case "":
		text = w.in(base).Format(time.RFC3339Nano)
	}
	return &text
}

func (w When) in(base string) time.Time {
	t, err := time.Parse(time.RFC3339, base)
	if err != nil {
		panic(fmt.Sprintf("scenarios: the base of an input must be an RFC 3339 time: %v", err)) // inputs are checked where they are made
	}
	return t.UTC().Add(time.Duration(w.Offset))
}
