package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/proxy"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire"
)

// asks makes a canceled context send a request, and keep the connection.
func asks(c *pgx.ConnConfig) {
	c.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: time.Minute}
	}
}

// simple makes a statement what pgx sends first.
func simple(c *pgx.ConnConfig) { c.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol }

// do runs f beside.
func do(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// TestCancel: a client's request to cancel is led to its session: to the gate, if a step is held, and else to the server.
func TestCancel(t *testing.T) {
	db := servertest.Database(t, `create table t (id int)`)
	for _, auth := range []proxy.Auth{proxy.Pass, proxy.Trust} {
		for _, network := range []string{"tcp", "unix"} {
			for _, split := range []bool{false, true} {
				t.Run(fmt.Sprint(auth, network, split), func(t *testing.T) {
					b := newBench(t, db.Config("proxy"), wire.Config{Split: split}, network, proxy.Config{Auth: auth})
					conn, err := pgx.ConnectConfig(t.Context(), parse(t, b.URL(), asks, simple))
					require.NoError(t, err)
					s := b.session()
					require.Equal(t, conn.PgConn().PID(), s.State().PID)
					if split {
						ctx, cancel := context.WithCancel(t.Context())
						result := do(func() error { _, err := conn.Exec(ctx, `insert into t values (1)`); return err })
						b.wait(s, func(s wire.State) bool { return s.Phase == wire.Holding })
						cancel()
						require.Contains(t, told(<-result), "57014")
						require.True(t, b.wait(s, func(s wire.State) bool { return s.Phase == wire.Quiet }).Result.Canceled)
						s.Open(true)
					}
					ctx, cancel := context.WithCancel(t.Context())
					result := do(func() error { _, err := conn.Exec(ctx, `select pg_sleep(1000)`); return err })
					for sleeping := false; !sleeping; { // the server ignores a request that comes before the statement
						require.NoError(t, b.control.QueryRow(t.Context(), `select exists (select from pg_stat_activity where wait_event = 'PgSleep' and pid = $1)`,
							int32(s.State().PID)).Scan(&sleeping))
					}
					cancel()
					require.Contains(t, told(<-result), "57014")
					_, err = conn.Exec(t.Context(), `select 1`)
					require.NoError(t, err)
					require.NoError(t, conn.Close(t.Context()))

					// A request for a session that is none of the gate's goes to the server.
					other, err := pgx.ConnectConfig(t.Context(), db.Config("other"))
					require.NoError(t, err)
					defer other.Close(t.Context())
					result = do(func() error { _, err := other.Exec(context.Background(), `select pg_sleep(1000)`); return err })
					for sleeping := false; !sleeping; {
						require.NoError(t, b.control.QueryRow(t.Context(), `select exists (select from pg_stat_activity where wait_event = 'PgSleep' and pid = $1)`,
							int32(other.PgConn().PID())).Scan(&sleeping))
					}
					raw, err := net.Dial(b.Addr().Network(), b.Addr().String())
					require.NoError(t, err)
					_, err = raw.Write(request(other.PgConn().PID(), other.PgConn().SecretKey()))
					require.NoError(t, err)
					_, err = raw.Read(make([]byte, 1))
					require.ErrorIs(t, err, io.EOF)
					require.NoError(t, raw.Close())
					require.Contains(t, told(<-result), "57014")
				})
			}
		}
	}
}

// TestTerminated: what a server says last reaches the client, held or not.
func TestTerminated(t *testing.T) {
	db := servertest.Database(t, `create table t (id int)`)
	for _, auth := range []proxy.Auth{proxy.Pass, proxy.Trust} {
		for _, gate := range []wire.Config{{}, {Split: true}} {
			b := newBench(t, db.Config("proxy"), gate, "tcp", proxy.Config{Auth: auth})
			conn, err := pgx.ConnectConfig(t.Context(), parse(t, b.URL(), simple))
			require.NoError(t, err)
			s := b.session()
			var result <-chan error
			if gate.Split {
				result = do(func() error { _, err := conn.Exec(t.Context(), `insert into t values (1)`); return err })
				b.step(s, wire.Statement)
				b.wait(s, func(s wire.State) bool { return s.Phase == wire.Holding })
			} else {
				result = do(func() error { _, err := conn.WaitForNotification(t.Context()); return err })
			}
			_, err = b.control.Exec(t.Context(), `select pg_terminate_backend($1)`, int32(s.State().PID))
			require.NoError(t, err)
			require.Contains(t, told(<-result), "57P01")
			<-s.Ended()
			require.True(t, conn.IsClosed())
			b.connections(0)
			conn, err = pgx.ConnectConfig(t.Context(), parse(t, b.URL()))
			require.NoError(t, err, "again")
			require.NoError(t, conn.Close(t.Context()))
		}
	}
	var n int
	b := newBench(t, db.Config("proxy"), wire.Config{}, "tcp", proxy.Config{})
	require.NoError(t, b.control.QueryRow(t.Context(), `select count(*) from t`).Scan(&n))
	require.Equal(t, 0, n)
}

// TestServerStops: with the server gone, clients are told, and so are those who come later.
func TestServerStops(t *testing.T) {
	srv := servertest.Own(t, nil)
	for _, auth := range []proxy.Auth{proxy.Pass, proxy.Trust} {
		gate := wire.New(wire.Config{Split: true})
		p, err := proxy.Listen(t.Context(), "tcp", "127.0.0.1:0", proxy.Config{Server: &srv.Config("", "proxy").Config, Gate: gate, Auth: auth})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, p.Close()) })
		if auth == proxy.Trust { // it has been stopped
			_, err = pgx.ConnectConfig(t.Context(), parse(t, p.URL()))
			require.Contains(t, told(err), "08001")
			continue
		}
		conn, err := pgx.ConnectConfig(t.Context(), parse(t, p.URL(), simple))
		require.NoError(t, err)
		result := do(func() error { _, err := conn.Exec(t.Context(), `select 1`); return err })
		require.NoError(t, gate.Wait(t.Context(), func() bool { return len(gate.Sessions()) == 1 && gate.Sessions()[0].State().Phase == wire.Holding }))
		require.NoError(t, srv.Stop(t.Context()))
		require.Error(t, <-result)
		require.True(t, conn.IsClosed())
		_, err = pgx.ConnectConfig(t.Context(), parse(t, p.URL()))
		require.Contains(t, told(err), "08001")
	}
}

// TestClientGone: of a client that vanishes, nothing is left in the server, once what it had sent has been released.
func TestClientGone(t *testing.T) {
	db := servertest.Database(t, `create table t (id int)`)
	for _, auth := range []proxy.Auth{proxy.Pass, proxy.Trust} {
		for _, gate := range []wire.Config{{}, {Split: true, Hold: func(s wire.Step) bool { return s.SQL == `insert into t values (1)` }}} {
			b := newBench(t, db.Config("proxy"), gate, "tcp", proxy.Config{Auth: auth})
			var vanished []*pgx.Conn
			for range 3 {
				conn, err := pgx.ConnectConfig(t.Context(), parse(t, b.URL(), simple))
				require.NoError(t, err)
				_, err = conn.Exec(t.Context(), `begin; insert into t values (0)`)
				require.NoError(t, err)
				vanished = append(vanished, conn)
			}
			last, err := pgx.ConnectConfig(t.Context(), parse(t, b.URL(), simple))
			require.NoError(t, err)
			all := b.gate.Sessions()
			s := all[len(all)-1]
			if gate.Split {
				p, err := (&pgproto3.Query{String: `insert into t values (1)`}).Encode(nil)
				require.NoError(t, err)
				_, err = last.PgConn().Conn().Write(p) // pgx would send a request to cancel
				require.NoError(t, err)
				b.wait(s, func(s wire.State) bool { return s.Phase == wire.Holding })
			}
			for _, conn := range append(vanished, last) {
				tcp := conn.PgConn().Conn().(*net.TCPConn)
				require.NoError(t, tcp.SetLinger(0)) // as when a process is killed with something unread
				require.NoError(t, tcp.Close())
			}
			if gate.Split {
				b.wait(s, func(s wire.State) bool { return s.Gone })
				b.connections(1)
				b.step(s, wire.Statement)
				b.step(s, wire.Commit)
			}
			b.connections(0)
			var n int
			require.NoError(t, b.control.QueryRow(t.Context(), `select count(*) from t where id = 0`).Scan(&n))
			require.Equal(t, 0, n)
		}
	}
}

// TestHalfClosed: a client that says no more has left, although it has not read what it asked for.
func TestHalfClosed(t *testing.T) {
	db := servertest.Database(t, "")
	for _, gate := range gates {
		b := newBench(t, db.Config("proxy"), gate, "tcp", proxy.Config{})
		conn, err := pgx.ConnectConfig(t.Context(), parse(t, b.URL()))
		require.NoError(t, err)
		s := b.session()
		p, err := (&pgproto3.Query{String: `select repeat('x', 1000000) from generate_series(1, 100)`}).Encode(nil)
		require.NoError(t, err)
		tcp := conn.PgConn().Conn().(*net.TCPConn)
		defer tcp.Close()
		_, err = tcp.Write(p)
		require.NoError(t, err)
		for full := false; !full; { // then the server waits for its client to read
			require.NoError(t, b.control.QueryRow(t.Context(), `select exists (select from pg_stat_activity where wait_event = 'ClientWrite' and pid = $1)`,
				int32(conn.PgConn().PID())).Scan(&full))
		}
		require.NoError(t, tcp.CloseWrite())
		<-s.Ended()
		b.connections(0)
		require.NoError(t, b.gate.Wait(t.Context(), func() bool { return len(b.gate.Sessions()) == 0 }))
		_, err = io.Copy(io.Discard, tcp) // which the proxy has closed too
		require.True(t, err == nil || isReset(err), err)
	}
}

// TestClose: to close the proxy ends what comes through it, held or under way, and nothing else of its gate.
func TestClose(t *testing.T) {
	db := servertest.Database(t, `create table t (id int)`)
	for _, auth := range []proxy.Auth{proxy.Pass, proxy.Trust, proxy.SCRAM} {
		config := proxy.Config{Auth: auth}
		if auth == proxy.SCRAM {
			config.Password = "secret"
		}
		b := newBench(t, db.Config("proxy"), wire.Config{Split: true}, "tcp", config)
		theirs := db.Config("theirs")
		b.gate.Attach(&theirs.Config, "theirs")
		other, err := pgx.ConnectConfig(t.Context(), theirs)
		require.NoError(t, err)
		conn, err := pgx.ConnectConfig(t.Context(), parse(t, b.URL(), simple))
		require.NoError(t, err)
		s := b.gate.Sessions()[1]
		result := do(func() error { _, err := conn.Exec(t.Context(), `insert into t values (1)`); return err })
		b.step(s, wire.Statement)
		b.wait(s, func(s wire.State) bool { return s.Phase == wire.Holding })
		silent, err := net.Dial("tcp", b.Addr().String()) // says nothing
		require.NoError(t, err)
		defer silent.Close()
		half, err := net.Dial("tcp", b.Addr().String()) // no more than the beginning
		require.NoError(t, err)
		defer half.Close()
		_, err = half.Write(request(1, []byte("four"))[:5])
		require.NoError(t, err)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		require.Error(t, <-result)
		require.True(t, s.State().Result.Lost)
		_, err = net.Dial("tcp", b.Addr().String())
		require.Error(t, err)
		require.Equal(t, []*wire.Session{wire.SessionOf(other.PgConn())}, b.gate.Sessions())
		require.NoError(t, b.gate.Close())
		require.NoError(t, other.Close(t.Context()))
		b.connections(0)
		require.Empty(t, b.lost)
	}
}

// TestVanish: whatever a client does before it is one, it is let go, and others are served.
func TestVanish(t *testing.T) {
	db := servertest.Database(t, "")
	certificate, err := proxy.SelfSigned("127.0.0.1")
	require.NoError(t, err)
	b := newBench(t, db.Config("proxy"), wire.Config{Split: true, Hold: func(wire.Step) bool { return false }}, "tcp",
		proxy.Config{Auth: proxy.SCRAM, Password: "secret", TLS: certificate})
	const asked = "\x00\x00\x00\x10\x00\x03\x00\x00user\x00u\x00\x00" // for a password, after that
	for _, c := range []struct{ says, told string }{
		{"", ""},
		{"\x00\x00", "startup packet: unexpected EOF; try"},
		{"GET / HTTP/1.1\r\n\r\n", "invalid length of startup packet; try"},
		{"\x00\x00\x00\x08\x00\x02\x00\x00", "unsupported frontend protocol 2.0"},
		{"\x00\x00\x00\x09\x00\x03\x00\x00\x00", "no PostgreSQL user name"},
		{"\x00\x00\x00\x0b\x00\x03\x00\x00usr", "expected terminator"},
		{"\x00\x00\x00\x20\x00\x03\x00\x00usr", "startup packet of 32 bytes: unexpected EOF; try"},
		{"\x00\x00\x00\x08\x04\xd2\x16\x30\x00\x00\x00\x08\x04\xd2\x16\x30\x00\x00\x00\x08\x04\xd2\x16\x30", "too many questions"},
		{"\x00\x00\x00\x08\x04\xd2\x16\x2fnot TLS", "TLS: "},
		{"\x16\x03\x01\x00", "TLS: "},
		{asked + "Q\x00\x00\x00\x04", "expected password response, got message type 'Q'"},
		{asked + "p\x00\x00\x00\x01", "invalid message length; try"},
		{asked + "p\x00\x00", "password: unexpected EOF; try"},
		{asked, ""}, // psql, which asks its user now; pg_isready, which knows enough
		{asked + "X\x00\x00\x00\x04", ""},
	} {
		conn, err := net.Dial("tcp", b.Addr().String())
		require.NoError(t, err)
		_, err = conn.Write([]byte(c.says))
		require.NoError(t, err)
		_ = conn.(*net.TCPConn).CloseWrite() // it may have been refused by now
		if _, err := io.Copy(io.Discard, conn); err != nil && !isReset(err) {
			require.NoError(t, err)
		}
		require.NoError(t, conn.Close())
		if c.told != "" {
			b.refused(c.told)
		}
		b.mu.Lock()
		require.Empty(t, b.lost)
		b.mu.Unlock()
	}
	_, _, err = connect(t, parse(t, b.URL()))
	require.NoError(t, err)
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}
