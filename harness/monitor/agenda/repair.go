package agenda

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/repair"
)

// Mode says how far a scheduled repair goes.
type Mode string

// The modes of a repair.
const (
	DryRun Mode = "dry-run" // it says what it would do
	Apply  Mode = "apply"   // it does it
)

// Repair resolves what breaks invariants, unattended: one instance at a time, and not more rows than it may. Its Do is that of a [Job].
//
// A dry run is [repair.Find]. Where it applies, only what is exactly as found is resolved; what changed meanwhile is left for the next time.
type Repair struct {
	Database *pgx.ConnConfig
	Config   repair.Config // of its MaxRead, 0 is 20,000: an instance has little memory
	Mode     Mode
	MaxRows  int // that it may cancel: of more, it cancels none; 0: 1,000; negative: any number

	// Done takes each run, also one of a dry run, one that found nothing, one that is refused because it would be too much, and one that was cut
	// short. The head of the run is for it to fill in. Nil: nobody wants it.
	Done func(history.Run) error
}

// ErrRefused is wrapped by the errors of a repair that must not be done unattended.
var ErrRefused = errors.New("the repair is refused")

// Check says what is wrong with a repair before its time comes.
func (r Repair) Check() error {
	switch {
	case r.Mode != DryRun && r.Mode != Apply:
		return fmt.Errorf("there is no repair %q; try %s or %s", r.Mode, DryRun, Apply)
	case r.Database == nil:
		return errors.New("a repair needs a database; try --postgres postgres://user@host/database")
	case len(r.Config.Rules) == 0:
		return errors.New("a repair needs rules; give it those of the scenarios")
	}
	return nil
}

// Do repairs once.
func (r Repair) Do(ctx context.Context) (err error) {
	if err := r.Check(); err != nil {
		return err
	}
	lock, err := take(ctx, r.Database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release(ctx)) }()
	if r.Mode == Apply && lock.readOnly {
		return fmt.Errorf("%w: %s is read only; try the address of the primary, or --repair=%s", ErrRefused, lock.where, DryRun)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	config := r.Config
	config.MaxRead = cmp.Or(config.MaxRead, 20_000)
	config.Progress = func(done, total int, what string) {
		if r.Config.Progress != nil {
			r.Config.Progress(done, total, what)
		}
		if err := lock.held(ctx); err != nil {
			cancel(err)
		}
	}

	unwatch := lock.watch(ctx, cancel) // the search may be long, and has no batches between which to ask
	plan, err := repair.Find(ctx, config, r.Database)
	unwatch()
	if errors.Is(err, repair.ErrTooMany) {
		err = fmt.Errorf("%w: %w", ErrRefused, err)
	} else if err != nil && context.Cause(ctx) != nil {
		err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	}
	if err != nil || r.Mode == DryRun || len(plan.Repair.Groups) == 0 {
		return errors.Join(err, r.done(plan))
	}
	rows := 0
	for _, g := range plan.Repair.Groups {
		rows += len(g.Cancel)
	}
	most := r.MaxRows
	if most == 0 {
		most = 1000
	}
	if most > 0 && rows > most {
		err := fmt.Errorf("%w: it would cancel %d rows, and may cancel %d; look at them with: interlock repair --dry-run, then: interlock repair --apply", ErrRefused, rows, most)
		return errors.Join(err, r.done(plan))
	}
	if err := lock.held(ctx); err != nil {
		return errors.Join(err, r.done(plan))
	}
	run, err := repair.Apply(ctx, config, *plan.Repair, true, r.Database)
	return errors.Join(err, r.done(run))
}

func (r Repair) done(run history.Run) error {
	if r.Done == nil || run.Repair == nil {
		return nil
	}
	return r.Done(run)
}

// LockName is what the advisory lock of repairs is derived from: pg_try_advisory_lock(hashtextextended(LockName, 0)). Such a lock is one of its database.
const LockName = "interlock repair"

// lock is the right to repair a database. It ends with its connection.
type lock struct {
	conn     *pgx.Conn
	where    string
	readOnly bool
	got      bool
}

// lockTimeout is how long asking about the lock may take.
const lockTimeout = 10 * time.Second

// take takes the lock. If somebody has it, the error is [ErrSkipped].
func take(ctx context.Context, database *pgx.ConnConfig) (_ *lock, err error) {
	ctx, stop := context.WithTimeout(ctx, lockTimeout)
	defer stop()
	database = database.Copy()
	database.RuntimeParams["application_name"] = "interlock repair lock"
	l := &lock{where: fmt.Sprintf("%s on %s:%d", database.Database, database.Host, database.Port)}
	if l.conn, err = pgx.ConnectConfig(ctx, database); err != nil {
		return nil, fmt.Errorf("connecting to %s:%d: %w; try psql with the same DSN", database.Host, database.Port, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.release(ctx))
		}
	}()
	var pid uint32
	err = l.conn.QueryRow(ctx, `select pg_backend_pid(), pg_is_in_recovery() or current_setting('transaction_read_only')::bool`).Scan(&pid, &l.readOnly)
	if err != nil {
		return nil, fmt.Errorf("locking the repair of %s: %w", l.where, err)
	}
	if pid != l.conn.PgConn().PID() { // the session is one of others too: nothing in it is ours to change
		return nil, fmt.Errorf("%w: between us and %s is a pooler, through which a lock cannot be kept; try the address of the server itself", ErrRefused, l.where)
	}
	var idle int
	err = l.conn.QueryRow(ctx, `select pg_try_advisory_lock(hashtextextended($1, 0)),
		(select count(set_config(name, '0', false)) from pg_settings where name = 'idle_session_timeout')`, LockName).Scan(&l.got, &idle)
	if err != nil {
		return nil, fmt.Errorf("locking the repair of %s: %w", l.where, err)
	}
	if !l.got {
		return nil, fmt.Errorf("%w: another instance repairs %s", ErrSkipped, l.where)
	}
	return l, nil
}

// held asks the server whether the lock is still ours.
func (l *lock) held(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	asking, stop := context.WithTimeout(ctx, lockTimeout)
	defer stop()
	var ours bool
	err := l.conn.QueryRow(asking, `select exists (select from pg_locks, hashtextextended($1, 0) key
		where locktype = 'advisory' and pid = pg_backend_pid() and granted and objsubid = 1 and (classid::bigint << 32 | objid::bigint) = key)`, LockName).Scan(&ours)
	if err != nil {
		return l.lost(err)
	}
	if !ours {
		return fmt.Errorf("the repair of %s ended early: somebody took its lock away; the next one goes on", l.where)
	}
	return nil
}

// watch cancels as soon as the connection of the lock ends, until the function that it returns is called.
func (l *lock) watch(ctx context.Context, cancel context.CancelCauseFunc) (stop func()) {
	ctx, end := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if _, err := l.conn.WaitForNotification(ctx); err != nil && ctx.Err() == nil {
				cancel(l.lost(err))
				return
			}
		}
	}()
	return func() {
		end()
		<-ended
	}
}

func (l *lock) lost(err error) error {
	return fmt.Errorf("the repair of %s ended early: its lock is lost: %w; the next one goes on", l.where, err)
}

// release gives the lock back.
func (l *lock) release(ctx context.Context) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), lockTimeout)
	defer stop()
	if l.conn.IsClosed() {
		return nil // and so is the lock
	}
	var err error
	if l.got {
		_, err = l.conn.Exec(ctx, `select pg_advisory_unlock(hashtextextended($1, 0))`, LockName) // before the server notices that we are gone
	}
	if l.conn.IsClosed() {
		return nil
	}
	return errors.Join(err, l.conn.Close(ctx))
}
