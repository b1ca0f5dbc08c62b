package explore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/arena"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/wire"
)

// stage is a database with the gate before its clients. It is used by one goroutine.
type stage struct {
	template    *server.Template
	arena       *arena.Arena
	gate        *wire.Gate
	locks       locks
	notices     bool                   // backends say that they wait
	stops       bool                   // backends can be stopped: they are processes of this machine, and ours
	hang        time.Duration          // how long nothing may happen
	holds       atomic.Bool            // steps of clients are held
	mine        map[*wire.Session]bool // those of the clients
	application *application           // nil: clients ask Postgres itself
	parallel    map[race.System]bool   // see [Explorer]
	altered     bool                   // the schema may not be the template's any more
	crashed     bool                   // connections of the last run are dead, and may not know it
	layer       layer                  // where rows lie
	exact       bool                   // the next run needs that: see layout
	layout      bool                   // where rows lie has shown since the stage was handed out
	traits      map[string]traits      // by text, of the statements seen
}

// traits are what the text of a statement tells.
type traits struct {
	looks    bool // it may notice locks without waiting for them
	advisory bool // it may use advisory locks
	bare     bool // it takes no snapshot
	layout   bool // a single row that it returns may depend on where several lie
}

func (st *stage) traitsOf(sql string) traits {
	known, ok := st.traits[sql]
	if !ok {
		known = traits{looks.MatchString(sql), advisory.MatchString(sql), bare.MatchString(sql), showsLayout(sql)}
		if len(st.traits) == mostTexts {
			clear(st.traits)
		}
		st.traits[sql] = known
	}
	return known
}

// keptRows is how many rows of a step are shown.
const keptRows = 3

func openStage(ctx context.Context, template *server.Template) (*stage, error) {
	srv := template.Server()
	st := &stage{template: template, hang: defaultHang, notices: srv.Superuser, stops: srv.Owned && canStop(srv.Provider), mine: map[*wire.Session]bool{}, traits: map[string]traits{}}
	return st, st.open(ctx)
}

// open gives the stage a fresh database.
func (st *stage) open(ctx context.Context) error {
	db, err := st.template.Database(ctx)
	if err != nil {
		return err
	}
	a, err := arena.Open(ctx, db, st.configure)
	if err != nil {
		return errors.Join(err, db.Drop(context.WithoutCancel(ctx)))
	}
	st.arena, st.altered = a, false
	config := wire.Config{Split: true, Hide: wire.HideLog, Keep: keptRows, Hold: func(wire.Step) bool { return st.holds.Load() }}
	err = a.Control.QueryRow(ctx, wire.DefaultLevel).Scan(&config.Isolation)
	st.gate = wire.New(config)
	if err != nil {
		return errors.Join(fmt.Errorf("reading default_transaction_isolation: %w", err), st.Close(context.WithoutCancel(ctx)))
	}
	if err := st.watch(ctx); err != nil {
		return errors.Join(err, st.Close(context.WithoutCancel(ctx)))
	}
	if st.layer, err = newLayer(ctx, a.Control, st.template.Server().Superuser); err != nil {
		return errors.Join(err, st.Close(context.WithoutCancel(ctx)))
	}
	return nil
}

// watch makes the arena's watcher look on.
func (st *stage) watch(ctx context.Context) error {
	st.locks = newLocks(st.arena.Watcher, st.template.Server().Version)
	_, err := st.arena.Watcher.Exec(ctx, `set lock_timeout = '1ms'`) // of a lock that is not released until we say so
	return err
}

// prepare puts the starting rows in place, in a fresh database if the last scenario has altered this one.
func (st *stage) prepare(ctx context.Context, s race.Scenario) error {
	if st.altered {
		if err := errors.Join(st.Close(ctx), st.open(ctx)); err != nil {
			return err
		}
	}
	st.altered = s.AltersSchema
	if !st.exact {
		return st.arena.Prepare(ctx, s)
	}
	if err := st.layer.flatten(ctx, st.arena); err != nil {
		return err
	}
	return st.arena.Start(ctx, s)
}

// configure makes a connection one that can be led step by step.
func (st *stage) configure(config *pgx.ConnConfig) {
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	maps.Copy(config.RuntimeParams, st.outspoken())
	st.gate.Attach(&config.Config, config.RuntimeParams["application_name"])
}

// outspoken are the settings with which backends say that they wait, where they may have them.
func (st *stage) outspoken() map[string]string {
	if !st.notices {
		return nil
	}
	return map[string]string{"client_min_messages": "log", "log_lock_waits": "on", "deadlock_timeout": "1ms", "lc_messages": "C"}
}

// seat makes the clients of the scenario, prepared. From here on, their steps are held.
func (r *run) seat(ctx context.Context) error {
	r.holds.Store(false)
	if r.crashed {
		r.crashed = false
		if err := errors.Join(r.unhost(ctx), r.arena.Unseat(ctx)); err != nil {
			return err
		}
	}
	if err := r.prepare(ctx, r.scenario); err != nil {
		return err
	}
	if err := r.host(ctx, r.scenario); err != nil {
		return err
	}
	seat := r.connect
	if r.application != nil {
		seat, r.application.played = r.cast, true
	}
	if err := seat(ctx); err != nil {
		return err
	}
	r.holds.Store(true)
	return nil
}

// connect makes clients that ask Postgres, each on a connection of its own.
func (r *run) connect(ctx context.Context) error {
	conns, err := r.arena.Seats(ctx, r.scenario.Clients)
	if err != nil {
		return err
	}
	if err := arena.Ready(ctx, r.scenario.Clients, conns); err != nil {
		return err
	}
	maps.DeleteFunc(r.mine, func(session *wire.Session, _ bool) bool { return session.State().Phase == wire.Ended })
	for i, conn := range conns {
		c := r.client(i)
		c.Conn = conn
		s := r.strand(c)
		s.session = wire.SessionOf(conn.PgConn())
		s.answered = s.session.State().Answered
		r.mine[s.session] = true
	}
	return nil
}

// cast makes clients that ask the application.
func (r *run) cast(ctx context.Context) error {
	if err := r.application.Reset(ctx, r.hang); err != nil {
		return err
	}
	r.owners = owners{of: map[*wire.Session]*strand{}, pending: map[*wire.Session]*claims{}, frozen: map[*wire.Session]int{}, others: map[*wire.Session]race.Background{}}
	for i := range r.scenario.Clients {
		c := r.client(i)
		c.Instance, c.permits = r.application.Instance, make(chan struct{}, 1)
		r.strand(c)
	}
	return r.idle(ctx, func(*wire.Session, wire.Step) {})
}

func (r *run) client(n int) *client {
	c := &client{Client: r.scenario.Clients[n], number: n, last: -1}
	r.clients = append(r.clients, c)
	return c
}

// Close drops the database.
func (st *stage) Close(ctx context.Context) error {
	return errors.Join(st.vacate(ctx), st.arena.Database.Drop(ctx))
}

// vacate disconnects everybody from the database, and leaves it as it is.
func (st *stage) vacate(ctx context.Context) error {
	return errors.Join(st.unhost(ctx), st.arena.Close(ctx), st.gate.Close())
}

var errHangs = errors.New("nothing happened")

// wait waits until done, for as long as something happens at all.
func (st *stage) wait(ctx context.Context, done func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, st.hang, fmt.Errorf("%w for %v", errHangs, st.hang))
	defer cancel()
	return st.gate.Wait(ctx, done)
}
