package proxy_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/proxy"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire"
)

// TestHosts: of several hosts, the first that can be reached and is as it should be is taken. What it is asked for that is not held, and a request to
// cancel finds the same.
func TestHosts(t *testing.T) {
	db := servertest.Database(t, "")
	direct := db.Config("proxy")
	config, err := pgx.ParseConfig(fmt.Sprintf("host=%s,%s port=%d user=%s dbname=%s sslmode=disable target_session_attrs=primary",
		t.TempDir(), direct.Host, direct.Port, direct.User, direct.Database))
	require.NoError(t, err)
	for _, auth := range []proxy.Auth{proxy.Pass, proxy.Trust} {
		gate := wire.New(wire.Config{Split: true, Hold: func(s wire.Step) bool { return s.SQL != `select pg_sleep(1000)` }})
		p, err := proxy.Listen(t.Context(), "tcp", "127.0.0.1:0", proxy.Config{Server: &config.Config, Gate: gate, Auth: auth})
		require.NoError(t, err)
		conn, err := pgx.ConnectConfig(t.Context(), parse(t, p.URL(), asks, simple))
		require.NoError(t, err)
		control, err := pgx.ConnectConfig(t.Context(), direct)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		result := do(func() error { _, err := conn.Exec(ctx, `select pg_sleep(1000)`); return err })
		for sleeping := false; !sleeping; {
			require.NoError(t, control.QueryRow(t.Context(), `select exists (select from pg_stat_activity where wait_event = 'PgSleep' and pid = $1)`,
				int32(conn.PgConn().PID())).Scan(&sleeping))
		}
		cancel()
		require.Contains(t, told(<-result), "57014")
		require.NoError(t, conn.Close(t.Context()))
		require.NoError(t, control.Close(t.Context()))
		require.NoError(t, p.Close())
	}
}

// TestVersions: a client that would speak a later protocol is told which one it gets, by the server or by us, and extensions that it offers are
// declined.
func TestVersions(t *testing.T) {
	db := servertest.Database(t, "")
	for _, auth := range []proxy.Auth{proxy.Pass, proxy.Trust} {
		b := newBench(t, db.Config("proxy"), wire.Config{}, "tcp", proxy.Config{Auth: auth})
		conn, err := pgx.ConnectConfig(t.Context(), parse(t, b.URL(), asks, func(c *pgx.ConnConfig) {
			c.MaxProtocolVersion = "3.2"
			c.RuntimeParams["_pq_.interlock"] = "x"
		}))
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), `select 1`)
		require.NoError(t, err)
		require.Equal(t, conn.PgConn().PID(), b.session().State().PID)
		require.NoError(t, conn.PgConn().CancelRequest(t.Context()), "with the key of that version")
		require.NoError(t, conn.Close(t.Context()))
	}
}

// TestReplication: a replication connection passes unseen.
func TestReplication(t *testing.T) {
	srv := servertest.Own(t, map[string]string{"wal_level": "replica", "max_wal_senders": "4"})
	for _, auth := range []proxy.Auth{proxy.Pass, proxy.Trust} {
		b := newBench(t, srv.Config("", "proxy"), wire.Config{Split: true}, "tcp", proxy.Config{Auth: auth})
		conn, err := pgconn.Connect(t.Context(), b.URL()+"&replication=database")
		require.NoError(t, err)
		results, err := conn.Exec(t.Context(), "IDENTIFY_SYSTEM").ReadAll()
		require.NoError(t, err)
		require.Len(t, results[0].Rows, 1)
		require.Equal(t, wire.Opaque, b.gate.Sessions()[0].State().Phase)
		require.NoError(t, conn.Close(t.Context()))
		version, err := exec.CommandContext(t.Context(), "pg_basebackup", "--version").Output()
		if err == nil && strings.Contains(string(version), fmt.Sprintf(" %d.", srv.Version/10000)) { // it talks to its own version
			out, err := exec.CommandContext(t.Context(), "pg_basebackup", "-D", t.TempDir(), "-X", "fetch", "-c", "fast", "-d", b.URL()).CombinedOutput()
			require.NoError(t, err, string(out))
		}
	}
}

// slow is a connection of which every write takes long enough for pgx to read the answer beside it.
type slow struct{ net.Conn }

func (s slow) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	time.Sleep(30 * time.Millisecond) // twice what pgx waits
	return n, err
}

// TestSlowWrites: a connection to the server on which writes took long gives the client all its answers.
func TestSlowWrites(t *testing.T) {
	server := servertest.Database(t, "").Config("server")
	dial := server.DialFunc
	server.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return slow{conn}, err
	}
	for _, split := range []bool{false, true} {
		b := newBench(t, server, wire.Config{Split: split, Hold: func(wire.Step) bool { return false }}, "tcp", proxy.Config{Auth: proxy.Trust})
		conn, err := pgx.ConnectConfig(t.Context(), parse(t, b.URL(), simple))
		require.NoError(t, err)
		defer conn.Close(t.Context())
		for i := range 3 {
			var n int
			require.NoError(t, conn.QueryRow(t.Context(), fmt.Sprintf(`select %d`, i)).Scan(&n))
			require.Equal(t, i, n)
		}
	}
}
