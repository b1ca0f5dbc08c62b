package traffic

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server"
)

// Config says what to try, and under which traffic.
type Config struct {
	// Database returns a fresh database with rows, in the state before the migration. [Try] asks for three and drops them.
	Database func(context.Context) (*server.Database, error)

	// Apply applies the migration as its tool would, on connections of its own, and closes them. Their application_name must be the config's.
	// It is called again where lock_timeout refused it.
	Apply func(context.Context, *pgx.ConnConfig) error

	Tables   []string      // that the migration touches and that were there before: quoted where they must be, with their schema; empty: all
	Clients  int           // default 4
	MaxStall time.Duration // the longest that a client may be held up; default 500 ms
	File     string        // for findings
	Seed     int64         // decides which rows are taken in which order
}

// Resolve returns the configuration with its defaults filled in.
func (c Config) Resolve() Config {
	if c.Clients <= 0 {
		c.Clients = 4
	}
	if c.MaxStall <= 0 {
		c.MaxStall = 500 * time.Millisecond
	}
	return c
}

// Report is what was measured.
type Report struct {
	Baseline Latency `json:"baseline"` // without the migration
	During   Latency `json:"during"`   // while it was applied
	Queue    Latency `json:"queue"`    // while it was applied with a long transaction open that has read every table

	Applied time.Duration `json:"applied_ns"` // how long it took while clients were at work
	Locks   []Held        `json:"locks"`      // that it took on tables meanwhile, what blocked clients longest first
	Queued  []Held        `json:"queued"`     // the same with the long transaction open

	Deadlocks  int       `json:"deadlocks"`  // in which a client or the migration was refused
	Deadlocked []string  `json:"deadlocked"` // who was, each time, and the server's DETAIL
	Errors     int       `json:"errors"`     // other statements of clients that failed
	Failures   []Failure `json:"failures"`   // the same by statement and SQLSTATE
	Refused    int       `json:"refused"`    // how often a timeout refused the migration, and it was applied again

	Beside []history.Beside `json:"beside"` // the course of each time that it was applied
}

// Latency is how long requests took, of those that ended while it was measured.
type Latency struct {
	Requests int           `json:"requests"`
	P50      time.Duration `json:"p50_ns"`
	P99      time.Duration `json:"p99_ns"`
	Max      time.Duration `json:"max_ns"`
}

// Held is a lock that the migration took on a table that was there before. Times are of the longest where it was taken more than once.
type Held struct {
	Table string `json:"table"`
	Mode  string `json:"mode"` // as "ACCESS EXCLUSIVE"; "rows": of rows that it changed

	Held   time.Duration `json:"held_ns"`   // from the first look that showed it to the first that did not
	Waited time.Duration `json:"waited_ns"` // before it was granted, as far as that was seen

	Reads   int           `json:"reads"`      // how often a client that only reads was seen waiting for it
	Writes  int           `json:"writes"`     // how often one that writes was
	Longest time.Duration `json:"longest_ns"` // of these waits

	// Behind is the longest that a client was seen waiting for any lock of the migration while that waited for this one.
	Behind time.Duration `json:"behind_ns"`

	// Statement is what the migration was at when the lock was first seen, the time that a client waited longest for it. Empty: it is one of
	// several that were sent together.
	Statement string `json:"statement,omitempty"`
}

// Failure is a statement of the clients that worked before the migration and fails with it.
type Failure struct {
	Table     string `json:"table"`
	Statement string `json:"statement"`
	SQLState  string `json:"sqlstate"`
	Message   string `json:"message"`
	Count     int    `json:"count"`
}

// Try applies the migration three times at most, each time to a database of its own: while clients are at work, and again while a transaction
// is open that has read every table; in between, the clients work as long without it. The trial fails if a finding is of level error. It is
// skipped where no table has a primary key and rows, and unknown when the environment fails. An error means that it could not be made at all.
func Try(ctx context.Context, config Config) (history.Trial, []history.Finding, Report, error) {
	began := time.Now()
	t := &trial{Config: config.Resolve()}
	err := t.run(ctx)
	trial, findings := t.judge()
	switch skipped := (*skip)(nil); {
	case err == nil:
	case ctx.Err() != nil:
		return history.Trial{}, nil, t.report, err
	case errors.As(err, &skipped):
		trial.State, trial.Says = history.TrialSkipped, skipped.why
	case server.IsTrouble(err):
		trial, findings = history.Trial{Name: history.TrialLive, State: history.TrialUnknown, Says: err.Error()}, nil
	default:
		return history.Trial{}, nil, t.report, err
	}
	trial.Elapsed = history.Since(began)
	return trial, findings, t.report, nil
}

// skip is the reason for which there is nothing to try.
type skip struct{ why string }

func (s *skip) Error() string { return s.why }

// state returns the SQLSTATE of an error; empty if the server did not send it.
func state(err error) string {
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// The SQLSTATEs that are told apart.
const (
	cachedPlan       = "0A000" // of a prepared statement: its plan must not change the type of its result
	deadlockDetected = "40P01"
	lockNotAvailable = "55P03"
	queryCanceled    = "57014" // by statement_timeout
)
