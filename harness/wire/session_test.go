package wire_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server/servertest"

	"github.com/interlock-pg/interlock/harness/wire"
	"github.com/interlock-pg/interlock/harness/wire/wiretest"
)

func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return fmt.Sprint(err)
}

func noWatch(c *pgx.ConnConfig) { // a canceled context sends a request, and the connection is kept
	c.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: 10 * time.Second}
	}
}

// TestCancel: what a client cancels while it is held fails, and does not reach the server; a commit that is held cannot be canceled.
func TestCancel(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		for _, block := range []bool{false, true} {
			t.Run(fmt.Sprint(mode, " block ", block), func(t *testing.T) {
				b := newBench(t, `create table t (id int)`, wire.Config{Split: true, Keep: 1})
				conn, s := b.connect("client", noWatch, func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = mode })
				if block {
					_, err := conn.Exec(t.Context(), "begin")
					require.NoError(t, err)
					s.Open(true)
					_, err = conn.Exec(t.Context(), "select 1")
					require.NoError(t, err)
					s.Open(false)
				}
				ctx, cancel := context.WithCancel(t.Context())
				result := b.do(func() error { _, err := conn.Exec(ctx, `insert into t values ($1)`, 1); return err })
				held := b.held(s)
				cancel()
				require.Equal(t, "57014", code(<-result))
				require.False(t, s.Release(held.Index))
				state := b.wait(s, "it is quiet", func(s wire.State) bool { return s.Phase == wire.Quiet })
				require.True(t, state.Result.Canceled)
				require.Nil(t, state.Result.Values)
				require.Equal(t, held.Index, state.Last.Index)
				require.False(t, conn.IsClosed())
				s.Open(true)
				_, err := conn.Exec(t.Context(), `select 1`)
				if block {
					require.Equal(t, "25P02", code(err))
					_, err = conn.Exec(t.Context(), `rollback`)
				}
				require.NoError(t, err)
				s.Open(false)
				require.Equal(t, 0, b.count("t"))

				ctx, cancel = context.WithCancel(t.Context())
				result = b.do(func() error { _, err := conn.Exec(ctx, `insert into t values ($1)`, 1); return err })
				b.step(s, wire.Statement)
				b.held(s)
				cancel()
				b.wait(s, "the request has come", func(wire.State) bool {
					kinds := b.kinds("client")
					return kinds[len(kinds)-1] == wire.Canceled
				})
				require.Equal(t, "INSERT 0 1", s.State().Result.Tag)
				require.True(t, s.State().Canceled, "in vain")
				b.step(s, wire.Commit)
				require.NoError(t, <-result)
				require.Equal(t, 1, b.count("t"))
			})
		}
	}
}

// TestCancelWorking: a cancellation of what the server is at goes to the server.
func TestCancelWorking(t *testing.T) {
	b := newBench(t, "", wire.Config{Split: true})
	conn, s := b.connect("client", noWatch)
	ctx, cancel := context.WithCancel(t.Context())
	result := b.do(func() error { _, err := conn.Exec(ctx, `select pg_sleep(100)`); return err })
	require.True(t, s.Release(b.held(s).Index))
	for sleeping := false; !sleeping; { // the server ignores a request that comes before the statement
		require.NoError(t, b.control.QueryRow(t.Context(), `select exists (select from pg_stat_activity where wait_event = 'PgSleep' and pid = $1)`,
			int32(s.State().PID)).Scan(&sleeping))
	}
	cancel()
	require.Equal(t, "57014", code(<-result))
}

// TestClientGone: a client that goes away while a commit is held has sent all that is needed for it.
func TestClientGone(t *testing.T) {
	for _, held := range []wire.Kind{wire.Statement, wire.Commit} {
		t.Run(string(held), func(t *testing.T) {
			b := newBench(t, `create table t (id int)`, wire.Config{Split: true})
			s := dial(t, b.db.Config("client"), b.gate).(*wire.Session) // pgx would send a request to cancel
			for _, line := range []string{"P - insert into t values (1)", "B - -", "E -", "S"} {
				_, err := s.Write(message(t, line))
				require.NoError(t, err)
			}
			if held == wire.Commit {
				b.step(s, wire.Statement)
			}
			b.held(s)
			require.NoError(t, s.Close())
			require.ErrorIs(t, s.Close(), net.ErrClosed)
			require.Equal(t, wire.Holding, s.State().Phase)
			require.True(t, s.State().Gone)
			if held == wire.Statement {
				b.step(s, wire.Statement)
			}
			b.step(s, wire.Commit)
			b.wait(s, "it has ended", func(s wire.State) bool { return s.Phase == wire.Ended })
			require.Equal(t, 1, b.count("t"))
		})
	}
}

// TestServerGone: a session that is ended while a commit is held tells its client why.
func TestServerGone(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			b := newBench(t, `create table t (id int)`, wire.Config{Split: true})
			conn, s := b.connect("client", func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = mode })
			result := b.do(func() error { _, err := conn.Exec(t.Context(), `insert into t values ($1)`, 1); return err })
			b.step(s, wire.Statement)
			step := b.held(s)
			_, err := b.control.Exec(t.Context(), `select pg_terminate_backend($1)`, int32(s.State().PID))
			require.NoError(t, err)
			state := b.wait(s, "it has ended", func(s wire.State) bool { return s.Phase == wire.Ended })
			require.Equal(t, step.Index, state.Last.Index)
			require.Equal(t, "57P01", state.Result.SQLState)
			require.Equal(t, wire.Unknown, state.Result.Status)
			require.False(t, s.Release(step.Index))
			require.Equal(t, "57P01", code(<-result))
			require.Equal(t, 0, b.count("t"))
		})
	}
}

// TestWaits: a backend that waits for a lock says so, the client is not told, and what passes can wait as well.
func TestWaits(t *testing.T) {
	b := newBench(t, `create table t (id int primary key); insert into t values (1)`, wire.Config{Split: true, Hide: wire.HideLog})
	logging := func(c *pgx.ConnConfig) {
		c.RuntimeParams["log_lock_waits"] = "on"
		c.RuntimeParams["deadlock_timeout"] = "1ms"
		c.RuntimeParams["client_min_messages"] = "log"
		c.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		c.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { t.Errorf("the client was told: %s", n.Message) }
	}
	one, first := b.connect("one", logging)
	two, second := b.connect("two", logging)
	waits := func(s wire.State) bool { return s.Phase == wire.Working && s.Waits > 0 }

	done := b.do(func() error {
		_, err := one.Exec(t.Context(), `begin; lock table t`)
		return err
	})
	b.step(first, wire.Whole)
	require.NoError(t, <-done)
	done2 := b.do(func() error { _, err := two.Exec(t.Context(), `select $1::int from t`, 1); return err })
	state := b.wait(second, "its Parse waits", waits)
	require.Equal(t, wire.Pass, state.Step.Kind)
	require.Equal(t, 0, state.Steps)

	done = b.do(func() error { _, err := one.Exec(t.Context(), `rollback`); return err })
	b.step(first, wire.Rollback)
	require.NoError(t, <-done)
	b.step(second, wire.Statement)
	b.step(second, wire.Commit)
	require.NoError(t, <-done2)

	done = b.do(func() error { _, err := one.Exec(t.Context(), `insert into t values ($1)`, 2); return err })
	b.step(first, wire.Statement)
	done2 = b.do(func() error { _, err := two.Exec(t.Context(), `insert into t values ($1)`, 2); return err })
	require.True(t, second.Release(b.held(second).Index))
	b.wait(second, "it waits", waits)
	b.step(first, wire.Commit)
	require.NoError(t, <-done)
	state = b.wait(second, "it has failed", func(s wire.State) bool { return s.Phase == wire.Quiet })
	require.Equal(t, "23505", state.Result.SQLState)
	require.Equal(t, wire.Statement, state.Last.Kind, "there is nothing to commit")
	require.Equal(t, "23505", code(<-done2))
	for _, e := range b.seen {
		if e.Kind == wire.Noticed {
			require.Equal(t, strings.Contains(e.Notice.Message, "still waiting"), e.Notice.Waits(), e.Notice.Message)
		}
	}
}

// TestSerializationFailure: write skew is found when the second of two commits, in whatever way it was sent.
func TestSerializationFailure(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			b := newBench(t, `create table t (id int)`, wire.Config{Split: true})
			strict := func(c *pgx.ConnConfig) {
				c.DefaultQueryExecMode = mode
				c.RuntimeParams["default_transaction_isolation"] = "serializable"
			}
			one, first := b.connect("one", strict)
			two, second := b.connect("two", strict)
			exec := func(conn *pgx.Conn) func() error {
				return func() error {
					_, err := conn.Exec(t.Context(), `insert into t select count(*) + $1 from t`, 1)
					return err
				}
			}
			done := b.do(exec(one))
			done2 := b.do(exec(two))
			b.step(first, wire.Statement)
			b.step(second, wire.Statement)
			require.Empty(t, b.step(first, wire.Commit).SQLState)
			require.Equal(t, wire.Result{
				SQLState: "40001", Severity: "ERROR", Status: wire.Idle,
				Message: "could not serialize access due to read/write dependencies among transactions",
			}, b.step(second, wire.Commit))
			require.NoError(t, <-done)
			require.Equal(t, "40001", code(<-done2))
			require.Equal(t, 1, b.count("t"))
		})
	}
}

// TestPrepareIsAStep: under REPEATABLE READ, to prepare is to take the snapshot, and the first to do so is held.
func TestPrepareIsAStep(t *testing.T) {
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead} {
		t.Run(string(level), func(t *testing.T) {
			b := newBench(t, `create table t (id int)`, wire.Config{Split: true})
			conn, s := b.connect("client")
			seen := -1
			done := b.do(func() error {
				tx, err := conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: level})
				if err != nil {
					return err
				}
				if err := tx.QueryRow(t.Context(), `select count(*) from t where id > $1`, 0).Scan(&seen); err != nil {
					return err
				}
				return tx.Commit(t.Context())
			})
			if level == pgx.RepeatableRead {
				b.step(s, wire.Prepare)
			} else {
				b.held(s)
			}
			_, err := b.control.Exec(t.Context(), `insert into t values (1)`)
			require.NoError(t, err)
			b.step(s, wire.Statement)
			b.step(s, wire.Commit)
			require.NoError(t, <-done)
			require.Equal(t, map[pgx.TxIsoLevel]int{pgx.ReadCommitted: 1, pgx.RepeatableRead: 0}[level], seen)
		})
	}
}

// TestSlowReader: a step is seen to end although its client does not read.
func TestSlowReader(t *testing.T) {
	b := newBench(t, "", wire.Config{Split: true})
	conn, s := b.connect("client", func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = pgx.QueryExecModeExec })
	rows, read := make(chan pgx.Rows, 1), make(chan struct{})
	done := b.do(func() error {
		r, err := conn.Query(t.Context(), `select repeat('x', 1000) from generate_series(1, 4000)`)
		rows <- r
		<-read
		return err
	})
	require.EqualValues(t, 4000, b.step(s, wire.Statement).Rows)
	b.held(s)
	close(read)
	require.NoError(t, <-done)
	s.Open(true)
	r := <-rows
	n := 0
	for r.Next() {
		n++
	}
	require.NoError(t, r.Err())
	require.Equal(t, 4000, n)
}

// TestLargeMessages: neither side waits for the other to read, however much there is to write.
func TestLargeMessages(t *testing.T) {
	servertest.Slow(t)
	for _, split := range []bool{false, true} {
		b := newBench(t, `create table t (v text)`, wire.Config{Split: split, Hold: func(wire.Step) bool { return false }})
		conn, _ := b.connect("client")
		big := strings.Repeat("x", 4<<20)
		batch := &pgx.Batch{}
		for range 8 {
			batch.Queue(`select $1::text`, big).Query(func(rows pgx.Rows) error {
				for rows.Next() {
					require.Len(t, rows.RawValues()[0], len(big))
				}
				return rows.Err()
			})
		}
		require.NoError(t, conn.SendBatch(t.Context(), batch).Close())
		n, err := conn.PgConn().CopyFrom(t.Context(), io.LimitReader(endless{}, 40<<20), `copy t from stdin`)
		require.NoError(t, err)
		require.EqualValues(t, 40<<20/64, n.RowsAffected())
		var out counter
		_, err = conn.PgConn().CopyTo(t.Context(), &out, `copy t to stdout`)
		require.NoError(t, err)
		require.EqualValues(t, 40<<20, out)
	}
}

// TestPieces: a message that is larger than what is buffered is waited for, with nothing before it, behind a step that is held, and behind one that
// is under way.
func TestPieces(t *testing.T) {
	b := newBench(t, "", wire.Config{Split: true})
	s := dial(t, b.db.Config("client"), b.gate).(*wire.Session)
	large := strings.Repeat("x", 3<<20)
	write := func(lines ...string) func() error {
		var p []byte
		for _, line := range lines {
			p = append(p, message(t, line)...)
		}
		return func() error {
			for len(p) > 0 {
				n := min(len(p), 10000)
				if _, err := s.Write(p[:n]); err != nil {
					return err
				}
				p = p[n:]
			}
			return nil
		}
	}
	first := b.do(write("P - select length($1)", "B - - "+large, "E -", "S"))
	b.step(s, wire.Statement)
	require.NoError(t, <-first)
	second := b.do(write("P - select length($1), 2", "B - - "+large, "P - select 3", "B - -", "E -", "S", "Q select '"+large+"'"))
	b.step(s, wire.Commit)
	b.step(s, wire.Statement)
	b.step(s, wire.Commit)
	b.step(s, wire.Statement)
	require.NoError(t, <-second)
	b.step(s, wire.Commit)
	require.NoError(t, s.Close())
}

// endless is lines of 64 bytes.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	n := len(p) / 64 * 64
	for i := range n {
		p[i] = 'y'
		if i%64 == 63 {
			p[i] = '\n'
		}
	}
	return n, nil
}

// TestConn: what net.Conn promises, of a client that waits for a step.
func TestConn(t *testing.T) {
	b := newBench(t, "", wire.Config{Split: true})
	s := dial(t, b.db.Config("client"), b.gate).(*wire.Session)
	var c net.Conn = s
	require.NotNil(t, c.LocalAddr())
	require.Equal(t, "unix", c.RemoteAddr().Network())
	p := make([]byte, 10)

	require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
	_, err := c.Read(p)
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetReadDeadline(time.Time{}))

	unblocked := make(chan error, 1)
	go func() { _, err := c.Read(p); unblocked <- err }()
	time.Sleep(5 * time.Millisecond) // that Read has begun to wait; otherwise less is tested, and nothing fails
	require.NoError(t, c.SetDeadline(time.Now().Add(-time.Second)))
	require.ErrorIs(t, <-unblocked, os.ErrDeadlineExceeded)
	_, err = c.Write(message(t, "Q select 1"))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))

	_, err = c.Write(message(t, "Q select 1"))
	require.NoError(t, err)
	b.step(s, wire.Statement)
	b.step(s, wire.Commit)
	n, err := c.Read(p)
	require.NoError(t, err)
	require.Equal(t, byte('T'), p[0])
	require.Equal(t, 10, n)
	_, err = c.Write(message(t, "Q select 2"))
	require.NoError(t, err)
	b.held(s)
	go func() {
		_, err := io.Copy(io.Discard, c)
		unblocked <- err
	}()
	require.NoError(t, c.Close())
	require.ErrorIs(t, <-unblocked, net.ErrClosed)
	_, err = c.Write(p)
	require.ErrorIs(t, err, net.ErrClosed)
	require.ErrorIs(t, c.SetDeadline(time.Time{}), net.ErrClosed)
	require.NoError(t, b.gate.Close())
	require.Equal(t, wire.Ended, s.State().Phase)
	require.True(t, s.State().Result.Lost)
}

// TestCallback: an event may be answered at once, from within.
func TestCallback(t *testing.T) {
	sessions := map[string]*wire.Session{}
	var mu sync.Mutex
	gate := wire.New(wire.Config{Split: true, Events: func(e wire.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == wire.Held {
			sessions[e.Session].Release(e.Step.Index)
		}
	}})
	b := newBench(t, `create table t (id int)`, wire.Config{})
	b.gate = gate
	conn, s := b.connect("client")
	mu.Lock()
	sessions["client"] = s
	mu.Unlock()
	for i := range 50 {
		_, err := conn.Exec(t.Context(), `insert into t values ($1)`, i)
		require.NoError(t, err)
	}
	require.Equal(t, 100, s.State().Answered)
}

// written is a connection that counts what is written to it.
type written struct {
	net.Conn
	bytes *atomic.Int64
}

func (w written) Write(p []byte) (int, error) {
	w.bytes.Add(int64(len(p)))
	return w.Conn.Write(p)
}

// TestToldBeforeSent: that a step was released is told before the server gets it, so that nothing which comes of it is told before.
func TestToldBeforeSent(t *testing.T) {
	var sent atomic.Int64
	var told []int64 // how much had been sent when a step was held, and when it was released
	b := newBench(t, `create table t (id int)`, wire.Config{})
	b.gate = wire.New(wire.Config{Split: true, Events: func(e wire.Event) {
		if e.Kind == wire.Held || e.Kind == wire.Released {
			told = append(told, sent.Load())
		}
	}})
	conn, s := b.connect("client", func(c *pgx.ConnConfig) {
		dial := c.DialFunc
		c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return written{conn, &sent}, err
		}
	})
	done := b.do(func() error { _, err := conn.Exec(t.Context(), `insert into t values (1)`); return err })
	b.step(s, wire.Statement)
	b.step(s, wire.Commit)
	require.NoError(t, <-done)
	require.Len(t, told, 4)
	require.Equal(t, told[0], told[1])
	require.Less(t, told[1], told[2])
	require.Equal(t, told[2], told[3])
}

// TestTurns: who reads from the server changes whenever a client stays away for a moment. No answer is lost on the way, and none waits for another.
func TestTurns(t *testing.T) {
	gate := wire.New(wire.Config{Split: true, Hold: func(s wire.Step) bool { return s.Index%3 == 0 }})
	b := newBench(t, "", wire.Config{})
	b.gate = gate
	stop := wiretest.ReleaseAll(gate)
	defer stop()
	var clients sync.WaitGroup
	for i := range 4 {
		conn := dial(t, b.db.Config("client"), gate)
		random := rand.New(rand.NewPCG(uint64(i), 1))
		clients.Go(func() {
			defer conn.Close()
			for range 300 {
				for _, turn := range [][]string{{"P - select 1", "D S -", "H", "T"}, {"B - -", "E -", "S", "Z"}, {"Q select 1", "Z"}} {
					var out []byte
					for _, line := range turn[:len(turn)-1] {
						out = append(out, message(t, line)...)
					}
					time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond / 2) // away, or not: see patience
					if err := converse(conn, out, turn[len(turn)-1][0]); err != nil {
						t.Errorf("%v: %v: %+v", turn, err, conn.(*wire.Session).State())
						return
					}
				}
			}
		})
	}
	clients.Wait()
	require.NoError(t, gate.Wait(t.Context(), func() bool { return len(gate.Sessions()) == 0 }))
}

// converse sends something and reads up to a message of type last.
func converse(conn net.Conn, out []byte, last byte) error {
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write(out); err != nil {
		return err
	}
	for {
		var header [5]byte
		if _, err := io.ReadFull(conn, header[:]); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(header[1:]))-4); err != nil {
			return err
		}
		if header[0] == last {
			return nil
		}
	}
}

// TestVanish: at whatever moment a client, its connection or its server process goes away, its session ends, and nobody waits for it for ever.
func TestVanish(t *testing.T) {
	b := newBench(t, `create table t (id int)`, wire.Config{Split: true})
	conversation := []string{
		"Q insert into t values (1)", "P - insert into t values ($1)", "B - - 2", "D P -", "E -", "S", "Q begin", "Q select repeat('x', 100000)",
		"Q copy t from stdin", `d "3\n"`, "c", "P - select pg_sleep(0.001)", "B - -", "E -", "H", "S", "Q insert into t values (1); insert into t values (2)", "Q rollback",
	}
	var all []byte
	for _, line := range conversation {
		all = append(all, message(t, line)...)
	}
	stop := wiretest.ReleaseAll(b.gate)
	defer stop()
	var clients sync.WaitGroup
	var killing sync.Mutex
	for i := range 4 {
		random := rand.New(rand.NewPCG(uint64(i), 2))
		clients.Go(func() {
			for n := range 60 {
				s := dial(t, b.db.Config("client"), b.gate).(*wire.Session)
				var reads sync.WaitGroup
				if random.IntN(3) > 0 {
					reads.Go(func() { _, _ = io.Copy(io.Discard, s) })
				}
				for sent, until := 0, random.IntN(len(all)); sent < until; {
					size := min(1+random.IntN(200), until-sent)
					if _, err := s.Write(all[sent : sent+size]); err != nil {
						break
					}
					sent += size
				}
				time.Sleep(time.Duration(random.IntN(2000)) * time.Microsecond)
				switch n % 3 {
				case 0:
					_ = s.Close()
				case 1:
					_ = s.Abort()
				case 2:
					killing.Lock()
					_, err := b.control.Exec(t.Context(), `select pg_terminate_backend($1)`, int32(s.State().PID))
					killing.Unlock()
					assert.NoError(t, err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				err := b.gate.Wait(ctx, func() bool { return s.State().Phase == wire.Ended })
				cancel()
				assert.NoError(t, err, "%+v", s.State())
				_ = s.Close()
				reads.Wait()
			}
		})
	}
	clients.Wait()
	require.NoError(t, b.gate.Wait(t.Context(), func() bool { return len(b.gate.Sessions()) == 0 }))
}

// TestFull: a session of which too much is buffered for a client that does not read can be ended like any other.
func TestFull(t *testing.T) {
	b := newBench(t, "", wire.Config{Split: true, Hold: func(wire.Step) bool { return false }})
	for _, end := range []func(*wire.Session) error{(*wire.Session).Abort, (*wire.Session).Close} {
		s := dial(t, b.db.Config("client"), b.gate).(*wire.Session)
		_, err := s.Write(message(t, "Q select repeat('x', 1000000) from generate_series(1, 100)"))
		require.NoError(t, err)
		for full := false; !full; { // then the server waits for its client to read
			require.NoError(t, b.control.QueryRow(t.Context(), `select exists (select from pg_stat_activity where wait_event = 'ClientWrite' and pid = $1)`,
				int32(s.State().PID)).Scan(&full))
		}
		require.NoError(t, end(s))
		b.wait(s, "it has ended", func(s wire.State) bool { return s.Phase == wire.Ended })
	}
}
