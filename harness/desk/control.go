package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/internal/pause"
	"github.com/interlock-pg/interlock/harness/wire"
)

// How often it is asked who waits. What goes on is asked for less and less often: looking at who is in whose way stops the server's lock table.
const (
	often  = 20 * time.Millisecond
	seldom = time.Second
	// How long it is not asked after it could not be.
	afterFailure = 10 * time.Second
	// The longest that connecting, or asking, may take.
	askWithin = 5 * time.Second
)

// control is a connection of our own to the server. It is opened when it is needed.
type control struct {
	config *pgx.ConnConfig
	mu     sync.Mutex
	conn   *pgx.Conn
}

// do does something on the connection.
func (c *control) do(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, done := context.WithTimeoutCause(ctx, askWithin, fmt.Errorf("no answer within %v", askWithin))
	defer done()
	if c.conn == nil || c.conn.IsClosed() {
		conn, err := pgx.ConnectConfig(ctx, c.config)
		if err != nil {
			return err
		}
		c.conn = conn
	}
	return f(ctx, c.conn)
}

func (c *control) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil || c.conn.IsClosed() {
		return nil
	}
	ctx, done := context.WithTimeout(context.Background(), askWithin)
	defer done()
	return c.conn.Close(ctx)
}

// isolation returns the level that transactions have by default.
func (c *control) isolation(ctx context.Context) (level wire.Level, err error) {
	err = c.do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, wire.DefaultLevel).Scan(&level)
	})
	return level, err
}

// terminate ends a backend. It returns false if there is none.
func (c *control) terminate(ctx context.Context, pid uint32) (was bool, err error) {
	err = c.do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `select pg_terminate_backend($1)`, int32(pid)).Scan(&was)
	})
	return was, err
}

// wait is what a backend waits for.
type wait struct {
	lock string   // in words; empty: it waits for nothing that is known
	on   []uint32 // the backends that are in the way; 0 is a prepared transaction
}

func (w wait) same(other wait) bool { return w.lock == other.lock && slices.Equal(w.on, other.on) }

// waits returns what those of the backends wait for that do.
func (c *control) waits(ctx context.Context, pids []uint32) (map[uint32]wait, error) {
	ids := make([]int32, len(pids))
	for i, pid := range pids {
		ids[i] = int32(pid)
	}
	found := map[uint32]wait{}
	err := c.do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `
			select k.pid, pg_blocking_pids(k.pid), case
				when k.locktype = 'transactionid' then 'the end of a transaction'
				when k.locktype = 'advisory' then 'an advisory lock'
				when k.locktype = 'tuple' then 'a row of ' || r.name
				when k.locktype = 'relation' then replace(k.mode, 'Lock', '') || ' on ' || r.name
				else k.locktype end
			from pg_locks k, lateral (select case k.database when (select oid from pg_database where datname = current_database())
				then k.relation::regclass::text else 'a table of another database' end) r (name)
			where not k.granted and k.pid = any($1)`, ids)
		if err != nil {
			return err
		}
		var pid int32
		var on []int32
		var lock *string
		_, err = pgx.ForEachRow(rows, []any{&pid, &on, &lock}, func() error {
			w := wait{lock: "a lock"}
			if lock != nil {
				w.lock = *lock
			}
			for _, other := range on {
				w.on = append(w.on, uint32(other))
			}
			slices.Sort(w.on)
			w.on = slices.Compact(w.on)
			found[uint32(pid)] = w
			return nil
		})
		return err
	})
	return found, err
}

// reason returns why a connection failed, on one line, without what pgx quotes of how: a password that is not encoded as it must be may be in it.
func reason(err error) string {
	text := err.Error()
	if _, after, ok := strings.Cut(text, "`:"); ok {
		text = after
	}
	return printable(strings.Join(strings.Fields(text), " "))
}

// asking is when to ask about a session again.
type asking struct {
	about string // what it is at; it is asked for what it is still at after a while
	next  time.Time
	after time.Duration
}

// watch tells of sessions that wait, until the context ends.
func (d *Desk) watch(ctx context.Context) {
	fails := false
	for pause.For(ctx, often) == nil {
		err := d.look(ctx)
		if err != nil && !fails && ctx.Err() == nil {
			d.config.Trouble(fmt.Errorf("asking who waits for whom: %s; that is tried again", reason(err)))
		}
		if fails = err != nil; fails && pause.For(ctx, afterFailure) != nil {
			return
		}
	}
}

// look asks about the sessions whose turn it is.
func (d *Desk) look(ctx context.Context) error {
	now := time.Now()
	var pids []uint32
	of := map[uint32]*session{}
	at := map[uint32]int{}
	for _, s := range d.listed() {
		state := s.wire.State()
		if state.Phase != wire.Working {
			continue
		}
		about := fmt.Sprint(state.Steps, state.Answered, state.Step.Index)
		d.mu.Lock()
		if s.asked.about != about {
			s.asked = asking{about, now.Add(often), often}
		} else if !now.Before(s.asked.next) {
			s.asked.after = min(2*s.asked.after, seldom)
			s.asked.next = now.Add(s.asked.after)
			pids = append(pids, s.pid)
			of[s.pid], at[s.pid] = s, state.Step.Index
		}
		d.mu.Unlock()
	}
	if len(pids) == 0 {
		return nil
	}
	waits, err := d.control.waits(ctx, pids)
	if err != nil {
		return err
	}
	d.mu.Lock()
	for _, pid := range pids {
		s, w := of[pid], waits[pid]
		over := s.closed || at[pid] > 0 && (s.answered >= at[pid] || s.sent != at[pid])
		if over || w.same(s.wait) {
			continue
		}
		s.wait = w
		if w.lock != "" {
			d.tell(s, Event{
				Event: wire.Event{Session: s.wire.Name(), Kind: Waits, PID: pid, Step: wire.Step{Index: at[pid]}}, Lock: w.lock, WaitsFor: d.called(w.on),
			})
		}
	}
	d.mu.Unlock()
	d.gate.Poke()
	return nil
}

// called returns what backends are called. The caller holds mu.
func (d *Desk) called(pids []uint32) []string {
	names := make([]string, len(pids))
	for i, pid := range pids {
		switch names[i] = fmt.Sprintf("pid %d, which is no session of this proxy", pid); pid {
		case 0:
			names[i] = "a prepared transaction"
		default:
			for name, s := range d.sessions {
				if s.pid == pid {
					names[i] = name
				}
			}
		}
	}
	return names
}

// errNoControl means that there is no connection to do it on.
var errNoControl = errors.New("there is no connection to the server to do that on; try a user in the connection string who may connect")

func (w wait) words(names []string) string {
	if len(names) == 0 {
		return "waits for " + w.lock
	}
	return "waits for " + strings.Join(names, " and ") + ": " + w.lock
}
