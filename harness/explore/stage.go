package explore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/arena"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/wire"
)

// stage is a database with the gate before its clients. It is used by one goroutine.
type stage struct {
	template *server.Template
	arena    *arena.Arena
	gate     *wire.Gate
	locks    locks
	notices  bool                   // backends say that they wait
	stops    bool                   // backends can be stopped: they are processes of this machine, and ours
	hang     time.Duration          // how long nothing may happen
	holds    atomic.Bool            // steps of clients are held
	mine     map[*wire.Session]bool // those of the clients
	altered  bool                   // the schema may not be the template's any more
	truncate string                 // gives every table a new file
	exact    bool                   // the next run needs that: see layout
	layout   bool                   // where rows lie has shown since the stage was handed out
	traits   map[string]traits      // by text, of the statements seen
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

var (
	picks    = regexp.MustCompile(`(?i)\blimit\b|\bfetch\b`)
	gathers  = regexp.MustCompile(`(?i)_agg\b|\bdistinct\b|\barray\s*\(`)
	ordered  = regexp.MustCompile(`(?i)\border\s+by\b`)
	distinct = regexp.MustCompile(`(?i)\bis\s+(not\s+)?distinct\s+from\b`) // compares, and gathers nothing
)

// showsLayout: rows that come first in an order are not told by where they lie, unless several come first. Should they change the course of a run,
// it is made again with all rows where they were.
func showsLayout(sql string) bool {
	return picks.MatchString(sql) && !ordered.MatchString(sql) || gathers.MatchString(distinct.ReplaceAllString(sql, ""))
}

// keptRows is how many rows of a step are shown.
const keptRows = 3

func openStage(ctx context.Context, template *server.Template) (*stage, error) {
	srv := template.Server()
	st := &stage{template: template, notices: srv.Superuser, stops: srv.Owned && canStop(srv.Provider), mine: map[*wire.Session]bool{}, traits: map[string]traits{}}
	st.gate = wire.New(wire.Config{
		Split: true, Hide: wire.HideLog, Keep: keptRows, Hold: func(wire.Step) bool { return st.holds.Load() },
	})
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
	st.arena, st.locks, st.altered = a, newLocks(a.Watcher, st.template.Server().Version), false
	if _, err := a.Watcher.Exec(ctx, `set lock_timeout = '1ms'`); err != nil { // of a lock that is not released until we say so
		return errors.Join(err, st.Close(context.WithoutCancel(ctx)))
	}
	err = a.Control.QueryRow(ctx, `
		select coalesce('truncate ' || string_agg(format('%I.%I', n.nspname, c.relname), ', '), '')
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind = 'r' and c.relpersistence <> 't' and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'interlock_saved')
			and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')`).Scan(&st.truncate)
	if err != nil {
		return errors.Join(fmt.Errorf("listing tables: %w", err), st.Close(context.WithoutCancel(ctx)))
	}
	return nil
}

// prepare puts the starting rows in place, in a fresh database if the last scenario has altered this one.
func (st *stage) prepare(ctx context.Context, s race.Scenario) error {
	if st.altered {
		if err := errors.Join(st.Close(ctx), st.open(ctx)); err != nil {
			return err
		}
	}
	if st.exact { // rows that were deleted are still in the way of those that come
		if _, err := st.arena.Control.Exec(ctx, st.truncate); err != nil {
			return fmt.Errorf("emptying tables: %w", err)
		}
	}
	st.altered = s.AltersSchema
	return st.arena.Prepare(ctx, s)
}

// isLocked: 55P03, lock_not_available.
func isLocked(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "55P03"
}

// configure makes a connection one that can be led step by step.
func (st *stage) configure(config *pgx.ConnConfig) {
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	if st.notices {
		for name, value := range map[string]string{
			"client_min_messages": "log", "log_lock_waits": "on", "deadlock_timeout": "1ms", "lc_messages": "C",
		} {
			config.RuntimeParams[name] = value
		}
	}
	st.gate.Attach(&config.Config, config.RuntimeParams["application_name"])
}

// seat returns the clients of a scenario on their connections, prepared. From here on, their steps are held.
func (st *stage) seat(ctx context.Context, s race.Scenario) ([]*client, error) {
	st.holds.Store(false)
	if err := st.prepare(ctx, s); err != nil {
		return nil, err
	}
	conns, err := st.arena.Seats(ctx, s.Clients)
	if err != nil {
		return nil, err
	}
	if err := arena.Ready(ctx, s.Clients, conns); err != nil {
		return nil, err
	}
	maps.DeleteFunc(st.mine, func(session *wire.Session, _ bool) bool { return session.State().Phase == wire.Ended })
	clients := make([]*client, len(conns))
	for i, conn := range conns {
		session := wire.SessionOf(conn.PgConn())
		state := session.State()
		clients[i] = &client{Client: s.Clients[i], number: i, conn: conn, session: session, base: state.Steps, answered: state.Answered}
		st.mine[session] = true
	}
	st.holds.Store(true)
	return clients, nil
}

// Close drops the database.
func (st *stage) Close(ctx context.Context) error {
	err := st.arena.Close(ctx)
	return errors.Join(err, st.gate.Close(), st.arena.Database.Drop(ctx))
}

var errHangs = errors.New("nothing happened")

// wait waits until done, for as long as something happens at all.
func (st *stage) wait(ctx context.Context, done func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, st.hang, fmt.Errorf("%w for %v", errHangs, st.hang))
	defer cancel()
	return st.gate.Wait(ctx, done)
}
