package traffic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/internal/pause"
	"github.com/interlock-pg/interlock/harness/server"
)

const (
	pace         = time.Millisecond // between two requests: clients are there to be held up, not to wear the machine out
	warmUp       = 10               // requests of a client before anything is measured, at the least
	keysEach     = 16               // of a table, for each client
	failsInARow  = 3                // of a statement, after which it is given up
	longestSense = 200              // characters of a statement that are shown
)

// client is a closed loop of requests.
type client struct {
	number int
	writes bool // it reads and writes; otherwise it only reads
	conn   *pgx.Conn
	turns  []*turn
	random *rand.Rand
	names  int // of prepared statements so far

	at       atomic.Pointer[string] // the table that it is at
	warm     chan struct{}          // closed when it has had some requests
	measured *atomic.Bool
	last     *atomic.Bool // one more request for each table, then it ends

	requests  []request // that ended while it was measured
	failures  map[failing]*Failure
	deadlocks []string // what the server said of each
	refused   []string // statements that do not work even without the migration
}

// request is when one began and how long it took.
type request struct {
	began time.Time
	took  time.Duration
}

// failing tells failures apart.
type failing struct{ table, state, statement string }

// turn is a client's use of one table.
type turn struct {
	table table
	keys  [][][]byte // of rows that it may read; if own is true, those that only it writes
	own   bool
	next  int
	read  *statement
	write *statement // nil: it is only read
}

// statement is prepared on first use: who has to wait for that waits for the migration too.
type statement struct {
	sql   string
	name  string // empty: not prepared yet
	fails int    // in a row
}

// newClient gives a client its rows: writers have theirs for themselves.
func newClient(conn *pgx.Conn, number, clients int, tables []table, seed int64) *client {
	c := &client{
		number: number, writes: number%2 == 0, conn: conn, random: rand.New(rand.NewPCG(uint64(seed), uint64(number))),
		warm: make(chan struct{}), failures: map[failing]*Failure{},
	}
	writers := (clients + 1) / 2
	for _, t := range tables {
		u := &turn{table: t, keys: t.keys}
		if c.writes {
			var own [][][]byte
			for i := number / 2; i < len(t.keys); i += writers {
				own = append(own, t.keys[i])
			}
			if len(own) > 0 {
				u.keys, u.own = own, true
			}
		}
		u.keys = slices.Clone(u.keys)
		c.random.Shuffle(len(u.keys), func(i, j int) { u.keys[i], u.keys[j] = u.keys[j], u.keys[i] })
		u.prepare()
		c.turns = append(c.turns, u)
	}
	return c
}

// prepare makes the statements for the table as it is.
func (u *turn) prepare() {
	if u.read == nil || u.read.sql != u.table.read() {
		u.read = &statement{sql: u.table.read()}
	} else {
		u.read.name = ""
	}
	sql := u.table.write()
	switch {
	case sql == "" || !u.own || u.write != nil && u.write.fails >= failsInARow:
		u.write, u.own = nil, false
	case u.write == nil || u.write.sql != sql:
		u.write = &statement{sql: sql}
	default:
		u.write.name = ""
	}
}

// run makes requests until it is told to end, and then one more for each table; or until nothing is left to ask for.
func (c *client) run(ctx context.Context) error {
	left := -1 // not told yet
	warm := false
	for n := 0; left != 0; n++ {
		if !warm && n >= warmUp && !slices.ContainsFunc(c.turns, (*turn).isNew) {
			warm = true
			close(c.warm)
		}
		if len(c.turns) == 0 {
			if !warm {
				close(c.warm)
			}
			return nil
		}
		switch {
		case left > 0:
			left--
		case c.last.Load():
			left = len(c.turns) - 1
		}
		u := c.turns[n%len(c.turns)]
		at := u.table.name
		c.at.Store(&at)
		began := time.Now()
		err := c.request(ctx, u)
		took := time.Since(began)
		if err != nil {
			return fmt.Errorf("client %d: %w", c.number, err)
		}
		if c.measured.Load() {
			c.requests = append(c.requests, request{began, took})
		}
		if !warm {
			continue
		}
		if err := pause.For(ctx, pace); err != nil {
			return err
		}
	}
	return nil
}

// isNew reports whether there are rows that the client has not asked for yet. What it writes it has to know: some rows may be for ever as they are.
func (u *turn) isNew() bool { return u.next == 0 || u.write != nil && u.next < len(u.keys) }

// request makes one transaction. What the server refuses is counted, and the statement is made anew.
func (c *client) request(ctx context.Context, u *turn) error {
	var key [][]byte
	if u.table.keyed() {
		key = u.keys[u.next%len(u.keys)]
	}
	u.next++
	if u.write == nil {
		return c.tell(ctx, u, u.read, c.exec(ctx, u.read, key))
	}
	if err := c.conn.PgConn().Exec(ctx, "begin").Close(); err != nil {
		return err
	}
	at := u.read
	err := c.exec(ctx, at, key)
	if err == nil {
		at = u.write
		err = c.exec(ctx, at, key)
	}
	end := "commit"
	if err != nil {
		end = "rollback"
	}
	if ended := c.conn.PgConn().Exec(ctx, end).Close(); ended != nil && err == nil {
		err = ended // a deferred constraint
	}
	return c.tell(ctx, u, at, err)
}

func (c *client) exec(ctx context.Context, s *statement, key [][]byte) error {
	if s.name == "" {
		c.names++
		name := fmt.Sprintf("traffic_%d", c.names)
		if _, err := c.conn.PgConn().Prepare(ctx, name, s.sql, nil); err != nil {
			return err
		}
		s.name = name
	}
	return c.conn.PgConn().ExecPrepared(ctx, s.name, key, nil, nil).Read().Err
}

// tell takes note of what came of a statement. It returns only what the client cannot go on after.
func (c *client) tell(ctx context.Context, u *turn, s *statement, err error) error {
	if err == nil {
		u.read.fails = 0
		if u.write != nil {
			u.write.fails = 0
		}
		return nil
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || server.IsTrouble(err) || c.conn.IsClosed() {
		return err
	}
	switch {
	case !c.measured.Load(): // the migration has nothing to do with it
		c.refused = append(c.refused, fmt.Sprintf("%s: %s (%s)", brief(s.sql), pg.Message, pg.Code))
		if s == u.write && len(u.keys) > 1 {
			u.next--
			i := u.next % len(u.keys)
			u.keys = slices.Delete(u.keys, i, i+1)
			return nil
		}
		s.fails = failsInARow
	case pg.Code == deadlockDetected:
		c.deadlocks = append(c.deadlocks, "a client was refused: "+pg.Detail)
		return nil
	default:
		id := failing{u.table.name, pg.Code, s.sql}
		if c.failures[id] == nil {
			c.failures[id] = &Failure{Table: u.table.name, Statement: s.sql, SQLState: pg.Code, Message: pg.Message}
		}
		c.failures[id].Count++
		s.fails++
	}
	return c.renew(ctx, u)
}

// renew looks at the table again, as a new version of the code would, and leaves out what keeps failing.
func (c *client) renew(ctx context.Context, u *turn) error {
	now, there, err := u.table.again(ctx, c.conn)
	if err != nil {
		return err
	}
	u.table = now
	if there && u.read.fails < failsInARow {
		u.prepare()
		return nil
	}
	c.turns = slices.DeleteFunc(c.turns, func(other *turn) bool { return other == u })
	return nil
}

// brief returns the beginning of a statement.
func brief(sql string) string {
	if all := []rune(sql); len(all) > longestSense {
		return string(all[:longestSense-1]) + "…"
	}
	return sql
}
