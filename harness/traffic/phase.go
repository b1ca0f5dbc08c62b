package traffic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/interlock-pg/interlock/harness/server"
)

// migrating is the actor that the migration's backends go by.
const migrating = "migration"

// lingers is how long clients may take for their last requests. They take longer only if the migration left a transaction open.
const lingers = time.Minute

// phase is one run of the clients, on a database of its own.
type phase struct {
	db       *server.Database
	tables   []table // all that count, used or not
	clients  []*client
	watcher  *watcher
	began    time.Time // since when it is measured
	reader   *pgx.Conn // of the long transaction
	conns    []*pgx.Conn
	measured atomic.Bool
	last     atomic.Bool
}

// phase has clients at work while something is done, with a long transaction open if so, and measures from its beginning until each of them has
// asked once more of each table. The locks that were seen meanwhile go to locks, unless it is nil.
func (t *trial) phase(ctx context.Context, long bool, do func(context.Context, *phase) error, locks *[]Held) (measured Latency, err error) {
	db, err := t.Database(ctx)
	if err != nil {
		return Latency{}, err
	}
	p := &phase{db: db}
	defer func() {
		ctx := context.WithoutCancel(ctx)
		for _, conn := range p.conns {
			err = errors.Join(err, conn.Close(ctx))
		}
		err = errors.Join(err, db.Drop(ctx))
	}()
	if err := p.prepare(ctx, t.Config); err != nil {
		return Latency{}, err
	}
	if long {
		if err := p.readAll(ctx); err != nil {
			return Latency{}, err
		}
	}
	err = p.run(ctx, do)
	if locks != nil {
		*locks = p.watcher.locks(p.tables)
		t.report.Beside = append(t.report.Beside, p.beside(long, *locks))
		t.other = p.watcher.other
	}
	t.collect(p, locks != nil)
	return p.latency(), err
}

// prepare connects everybody.
func (p *phase) prepare(ctx context.Context, config Config) error {
	watching, err := p.connect(ctx, "watcher")
	if err != nil {
		return err
	}
	if p.tables, err = namedTables(ctx, watching, config.Tables); err != nil {
		return err
	}
	used, err := driven(ctx, watching, p.tables, keysEach*config.Clients)
	if err != nil {
		return err
	}
	switch {
	case len(p.tables) == 0:
		return &skip{"it touches no table that was there before"}
	case !slices.ContainsFunc(used, table.keyed):
		return &skip{"none of the tables that it touches has a primary key and rows"}
	}
	if p.watcher, err = newWatcher(ctx, watching, p.db.Config(migrating).RuntimeParams["application_name"]); err != nil {
		return err
	}
	p.watcher.maxStall = config.MaxStall
	for i := range config.Clients {
		conn, err := p.connect(ctx, fmt.Sprintf("client %d", i+1))
		if err != nil {
			return err
		}
		c := newClient(conn, i, config.Clients, used, config.Seed)
		c.measured, c.last = &p.measured, &p.last
		p.clients = append(p.clients, c)
		p.watcher.clients[int32(conn.PgConn().PID())] = c
	}
	return nil
}

func (p *phase) connect(ctx context.Context, actor string) (*pgx.Conn, error) {
	conn, err := p.db.Connect(ctx, actor)
	if err == nil {
		p.conns = append(p.conns, conn)
	}
	return conn, err
}

// readAll opens a transaction with a snapshot that has read every table, and stays open.
func (p *phase) readAll(ctx context.Context) (err error) {
	if p.reader, err = p.connect(ctx, "reader"); err != nil {
		return err
	}
	p.watcher.long = int32(p.reader.PgConn().PID())
	_, err = p.reader.Exec(ctx, `begin isolation level repeatable read read only; set local idle_in_transaction_session_timeout = 0`)
	for _, t := range p.tables {
		if err == nil {
			_, err = p.reader.Exec(ctx, `select from `+t.name+` limit 1`)
		}
	}
	if err != nil {
		return fmt.Errorf("opening a long transaction: %w", err)
	}
	return nil
}

// run has everybody at work, and returns when all have ended.
func (p *phase) run(ctx context.Context, do func(context.Context, *phase) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range p.clients {
		group.Go(func() error { return c.run(ctx) })
	}
	err := p.between(ctx, group, do)
	if err != nil {
		cancel(err)
	}
	p.last.Store(true)
	linger := time.AfterFunc(lingers, func() {
		cancel(fmt.Errorf("clients still wait %v after the migration has ended; look for a connection that it left open", lingers))
	})
	defer linger.Stop()
	if ended := group.Wait(); err == nil {
		err = ended
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}

// between does what is to be measured, when the clients are warm, and has the lock table looked at meanwhile.
func (p *phase) between(ctx context.Context, group *errgroup.Group, do func(context.Context, *phase) error) error {
	for _, c := range p.clients {
		select {
		case <-c.warm:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	p.began = time.Now()
	p.measured.Store(true)
	done := make(chan struct{})
	defer close(done)
	group.Go(func() error { return p.watcher.run(ctx, done) })
	return do(ctx, p)
}

// trouble returns an error of the migration's that is none of its own: the environment's, or no answer of a server at all.
func (p *phase) trouble(err error) error {
	if err == nil || state(err) != "" && !server.IsTrouble(err) {
		return nil
	}
	return fmt.Errorf("applying the migration: %w", err)
}

// latency sums the requests of all clients up.
func (p *phase) latency() Latency {
	var all []time.Duration
	for _, c := range p.clients {
		for _, r := range c.requests {
			all = append(all, r.took)
		}
	}
	if len(all) == 0 {
		return Latency{}
	}
	slices.Sort(all)
	at := func(percent int) time.Duration { return all[min(len(all)-1, len(all)*percent/100)] }
	return Latency{Requests: len(all), P50: at(50), P99: at(99), Max: all[len(all)-1]}
}
