package monitor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// looker makes looks of one kind: one at a time, whoever asks for it, on a connection of its own.
type looker struct {
	monitor *Monitor
	keep    bool // the connection, for the next look

	// prepare asks what has to be asked before the snapshot is taken, in a transaction of its own; nil: nothing.
	prepare func(ctx context.Context, tx pgx.Tx) error
	// look looks at what it is about, in the look's transaction.
	look func(ctx context.Context, tx pgx.Tx, began time.Time) error
	// done takes in what the look came to, and returns how long to wait for the next one: at set times, and at least, whoever asks. It is called with mu
	// held.
	done func(began time.Time, took time.Duration, err error) (pause, least time.Duration)

	mu       sync.Mutex
	under    chan struct{} // closed when the look under way is over; nil: there is none
	tried    time.Time     // when the latest look that is over began; zero: there was none
	next     time.Time     // when the next look at set times is due
	interval time.Duration // from the beginning of the latest look that succeeded to what was next then
	failures int           // in a row, up to the latest look
	again    time.Time     // nobody makes a look before: the latest one failed, or it cost a lot and so will the next one

	// These are the look's that is under way.
	conn      *pgx.Conn
	connected time.Time
	closing   *pgconn.PgConn // a connection that was broken off, and may not have ended yet
}

// ask returns when there is a look that began no longer than fresh before the call, or when no look is made for now. Less than 0: any look will do.
// Whoever asks while a look is under way that is too old waits for it and then, together with all others, for the next one.
func (l *looker) ask(ctx context.Context, fresh time.Duration) error {
	asked := l.monitor.config.Now()
	for {
		l.mu.Lock()
		if l.settles(asked, fresh) {
			l.mu.Unlock()
			return nil
		}
		over := l.begin()
		l.mu.Unlock()
		if over == nil {
			return nil
		}
		select {
		case <-over:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (l *looker) settles(asked time.Time, fresh time.Duration) bool {
	switch {
	case l.tried.IsZero():
		return false
	case fresh < 0 || !l.tried.Before(asked.Add(-fresh)):
		return true
	}
	return l.monitor.config.Now().Before(l.again)
}

// begin returns what is closed when the look under way is over. It begins one, if there is none; nil: the monitor has ended. The caller holds mu.
func (l *looker) begin() <-chan struct{} {
	if l.under == nil {
		under := make(chan struct{})
		if !l.monitor.start(func() { l.run(under) }) {
			return nil
		}
		l.under = under
	}
	return l.under
}

// run makes one look.
func (l *looker) run(over chan struct{}) {
	config := &l.monitor.config
	ctx, cancel := context.WithTimeoutCause(l.monitor.ctx, config.patience(),
		fmt.Errorf("%w for %v; try asking the server with psql whether it answers at all", errNoAnswer, config.patience()))
	began := config.Now()
	err := l.attempt(ctx, began)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	cancel()
	err = l.judged(err)
	l.monitor.reached(err)
	if err != nil || !l.keep {
		l.disconnect()
	}
	ended := config.Now()

	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil || l.monitor.ctx.Err() == nil { // a look that the end of the monitor broke off was none
		l.tried = began
		l.failures++
		if err == nil {
			l.failures = 0
		}
		pause, least := l.done(began, ended.Sub(began), err)
		if l.failures > 0 {
			wait := config.backoff(l.failures)
			pause, least = max(wait, pause), max(wait, least)
		}
		l.next, l.again = ended.Add(max(pause, 0)), ended.Add(least)
		if err == nil {
			l.interval = l.next.Sub(began)
		}
	}
	l.under = nil
	close(over)
}

// attempt makes one look, on the connection that there is. Where that has ended since the look before, it makes it on another.
func (l *looker) attempt(ctx context.Context, began time.Time) error {
	m := l.monitor
	if l.conn != nil && m.config.Now().Sub(l.connected) >= m.config.Renew {
		l.disconnect()
	}
	reused := l.conn != nil
	tx, err := l.open(ctx)
	if err != nil && reused && ctx.Err() == nil && isLost(l.judged(err)) {
		l.disconnect()
		tx, err = l.open(ctx)
	}
	if err != nil {
		return err
	}
	m.reached(nil) // the look itself may take long
	if err := l.look(ctx, tx, began); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// open begins a look's transaction, on the connection or, if there is none, on a new one.
func (l *looker) open(ctx context.Context) (pgx.Tx, error) {
	config := &l.monitor.config
	if l.conn == nil {
		if err := l.settle(ctx); err != nil { // there is one connection of a kind at a time
			return nil, err
		}
		conn, err := pgx.ConnectConfig(ctx, config.Database)
		if err != nil {
			return nil, fmt.Errorf("connecting to %s:%d: %w; try psql with the same DSN", config.Database.Host, config.Database.Port, err)
		}
		l.conn, l.connected = conn, config.Now()
	}
	if l.prepare != nil {
		tx, err := l.begun(ctx, pgx.ReadCommitted)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(l.prepare(ctx, tx), tx.Commit(ctx)); err != nil {
			return nil, err
		}
	}
	tx, err := l.begun(ctx, pgx.RepeatableRead)
	if err != nil {
		return nil, err
	}
	return tx, l.monitor.learn(ctx, tx)
}

// begun begins a transaction. Its settings are its own: behind a pooler, the connection is others' too.
func (l *looker) begun(ctx context.Context, level pgx.TxIsoLevel) (pgx.Tx, error) {
	config := &l.monitor.config
	tx, err := l.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: level, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	limits := fmt.Sprintf(`set local statement_timeout = %d; set local lock_timeout = %d; set local idle_in_transaction_session_timeout = %d; `,
		config.StatementTimeout.Milliseconds(), config.LockTimeout.Milliseconds(), config.patience().Milliseconds())
	_, err = tx.Exec(ctx, limits+settings, pgx.QueryExecModeSimpleProtocol)
	return tx, err
}

// settings of a look's transaction: what times look like, one process of the server and no more, and plans for the very keys that are asked for.
const settings = `set local timezone = 'UTC'; set local datestyle = 'ISO'; set local intervalstyle = 'postgres';
	set local work_mem = '64MB'; set local jit = off; set local max_parallel_workers_per_gather = 0; set local plan_cache_mode = force_custom_plan`

// disconnect ends the connection. One with a query under way is ended behind our back, once the server was told to cancel the query.
func (l *looker) disconnect() {
	if l.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	l.conn.Close(ctx) // it is given up, whatever the server says to that
	l.closing, l.conn = l.conn.PgConn(), nil
}

// settle waits for the end of a connection that was broken off.
func (l *looker) settle(ctx context.Context) error {
	if l.closing == nil {
		return nil
	}
	select {
	case <-l.closing.CleanupDone():
		l.closing = nil
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var errNoAnswer = errors.New("no answer")

// lostError is an error of the connection, and not the server's answer to what was asked.
type lostError struct{ error }

func (e lostError) Unwrap() error { return e.error }

// judged tells errors that came with the end of the connection, or before there was one, from others.
func (l *looker) judged(err error) error {
	var refused *pgconn.PgError
	fatal := errors.As(err, &refused) && refused.SeverityUnlocalized == "FATAL"
	if err != nil && (l.conn == nil || l.conn.IsClosed() || fatal) {
		return lostError{err}
	}
	return err
}

func isLost(err error) bool { return errors.As(err, new(lostError)) }

// every makes looks at set times, until ctx ends.
func (l *looker) every(ctx context.Context) {
	for ctx.Err() == nil {
		l.mu.Lock()
		var over <-chan struct{}
		wait := l.next.Sub(l.monitor.config.Now())
		if wait <= 0 {
			over = l.begin()
		}
		l.mu.Unlock()
		if over != nil {
			<-over // the end of the monitor ends it
			continue
		}
		timer := time.NewTimer(max(wait, 0))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}
