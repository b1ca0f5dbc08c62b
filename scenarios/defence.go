package scenarios

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness"
)

// Defence is what stands between two requests that must not both succeed. It is data: every defence runs the same transactions, which look here
// for how.
type Defence struct {
	Name string // as it is selected, as "advisory"
	Says string // one line for people

	Isolation pgx.TxIsoLevel // of every transaction; empty: the server's default
	Lock      Lock           // taken before checking
	LookFirst bool           // read the device before locking it, which fixes the snapshot of REPEATABLE READ too early
	Insert    bool           // do not check at all: insert, and leave refusing to the database
	Naive     bool           // what production does: a half-open window that ignores status, and changes by id whatever the status
	Polite    bool           // tell clients "conflict" when the database refuses for a reason that we know
	Attempts  int            // how often to try a transaction that lost to another one; 0: once
}

// Lock is what a creator locks so that no other creator on the same device gets past it.
type Lock string

// The locks.
const (
	NoLock   Lock = ""
	Advisory Lock = "advisory" // pg_advisory_xact_lock on a name made of the device
	Row      Lock = "row"      // FOR UPDATE on the device
)

// tries is how often a sound defence tries. Each time somebody else got through, so this many losses in a row take at least as many winners.
const tries = 10

// Defences returns all defences: production's, the sound ones, and those that look safe and are not.
func Defences() []Defence {
	return []Defence{
		{Name: "none", Says: "check, then insert, as production does", Isolation: pgx.ReadCommitted, Naive: true},
		{Name: "constraint", Says: "insert, map 23505 and 23P01", Isolation: pgx.ReadCommitted, Insert: true, Polite: true, Attempts: tries},
		{Name: "serializable", Says: "check, insert, retry on 40001", Isolation: pgx.Serializable, Polite: true, Attempts: tries},
		{Name: "advisory", Says: "pg_advisory_xact_lock, then check", Isolation: pgx.ReadCommitted, Lock: Advisory, Polite: true, Attempts: tries},
		{Name: "rowlock", Says: "FOR UPDATE on the device, then check", Isolation: pgx.ReadCommitted, Lock: Row, Polite: true, Attempts: tries},
		{Name: "repeatable-read", Says: "looks safe, is not", Isolation: pgx.RepeatableRead},
		{Name: "rowlock-repeatable-read", Says: "lock after the snapshot: is not safe", Isolation: pgx.RepeatableRead, Lock: Row, LookFirst: true},
	}
}

// The SQLSTATEs that mean "somebody else was first", and the one that means "no such device".
const (
	uniqueViolation      = "23505"
	exclusionViolation   = "23P01"
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	foreignKeyViolation  = "23503"
)

func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// lost reports whether a transaction failed only because another one was in its way, so that trying again can do better. When we looked before
// we leapt, a duplicate means that somebody leapt in between, and looking again tells who: under SERIALIZABLE Postgres may say 23505 or 23P01
// where it could have said 40001.
func (d Defence) lost(err error) bool {
	switch sqlState(err) {
	case serializationFailure, deadlockDetected:
		return true
	case uniqueViolation, exclusionViolation:
		return !d.Insert
	}
	return false
}

// device is what a creator contends for, and how it is named to a lock. The zero value is no device: there is nothing to lock.
type device struct {
	column string // of aed_data that identifies it
	value  any
	key    string // of its advisory lock
}

var errNoDevice = errors.New("no such device")

// enter locks the device.
func (d Defence) enter(ctx context.Context, tx pgx.Tx, on device) error {
	if on == (device{}) || d.Lock == NoLock {
		return nil
	}
	if d.Lock == Advisory { // a statement of its own: the next one's snapshot must be younger than the lock
		_, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended($1, 0))`, on.key)
		return err
	}
	find := `select from aedpics.aed_data where ` + pgx.Identifier{on.column}.Sanitize() + ` = $1`
	statements := []string{find + ` for update`}
	if d.LookFirst {
		statements = []string{find, find + ` for update`}
	}
	for _, sql := range statements {
		tag, err := tx.Exec(ctx, sql, on.value)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return errNoDevice
		}
	}
	return nil
}

// work is what one transaction does, after the device is locked. An error rolls it back.
type work func(ctx context.Context, tx pgx.Tx) (harness.Answer, error)

// transact runs work in a transaction, again while it loses and attempts are left, and turns what escapes into an answer.
func (d Defence) transact(ctx context.Context, conn *pgx.Conn, jitter *rand.Rand, on device, do work) harness.Answer {
	for attempt := 1; ; attempt++ {
		var answer harness.Answer
		err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: d.Isolation}, func(tx pgx.Tx) error {
			err := d.enter(ctx, tx, on)
			if err == nil {
				answer, err = do(ctx, tx)
			}
			return err
		})
		if err != nil {
			if attempt < d.Attempts && d.lost(err) && wait(ctx, jitter, attempt) {
				continue
			}
			answer = d.refuse(err)
			if ctx.Err() != nil || conn.IsClosed() && sqlState(err) == "" {
				answer.Outcome = harness.Unknown // the connection went away, perhaps with the answer to COMMIT
			}
		}
		answer.Attempts = attempt
		return answer
	}
}

// refuse says what a client is told when err is all there is to say.
func (d Defence) refuse(err error) harness.Answer {
	answer := harness.Answer{Outcome: harness.Failed, Err: err}
	switch sqlState(err) {
	case foreignKeyViolation:
		answer.Outcome = harness.NotFound
	case uniqueViolation, exclusionViolation, serializationFailure, deadlockDetected:
		if d.Polite {
			answer.Outcome = harness.Conflict
		}
	}
	if errors.Is(err, errNoDevice) {
		answer.Outcome = harness.NotFound
	}
	return answer
}

// wait lets the others go first, for a random time that grows with each attempt, up to 4 ms. It reports whether to go on.
func wait(ctx context.Context, jitter *rand.Rand, attempt int) bool {
	longest := min(100*time.Microsecond<<attempt, 4*time.Millisecond)
	timer := time.NewTimer(time.Duration(jitter.Int64N(int64(longest))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// newJitter returns the randomness of a client's waits: its own, and the same in every run.
func newJitter(client int) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(client), 0x1a7e110c))
}
