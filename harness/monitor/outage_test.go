//go:build unix

package monitor_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

func reach(t *testing.T, cluster *servertest.Cluster) *pgx.ConnConfig {
	t.Helper()
	config, err := pgx.ParseConfig(cluster.DSN())
	require.NoError(t, err)
	return config
}

// Whatever happens to the server: it is told, what was seen before is kept, and the monitor recovers by itself, without more connections than before.
func TestOutages(t *testing.T) {
	t.Parallel()
	cluster := servertest.NewCluster(t, "wal_level = replica", "max_wal_senders = 4")
	c := connect(t, reach(t, cluster))
	c.exec(slots)
	c.take(7, "A", "B")
	m := open(t, monitor.Config{
		Database: reach(t, cluster), Watches: []monitor.Watch{watch()}, Every: 5 * time.Millisecond, Backoff: time.Millisecond,
		ConnectTimeout: time.Second, StatementTimeout: time.Second, Renew: 50 * time.Millisecond,
	})
	end := run(t, m)
	until(t, "it is ready", func() bool { return m.Health().Ready })
	before, err := m.Result(t.Context(), "taken-twice", -1)
	require.NoError(t, err)

	for _, outage := range []struct {
		name       string
		begin, end func()
		says       string
		slow       bool
	}{
		{"restarted", func() { cluster.Stop(t, "fast") }, func() { cluster.Start(t) }, "try psql with the same DSN", false},
		{"crashed", func() { cluster.Stop(t, "immediate") }, func() { cluster.Start(t) }, "try psql with the same DSN", false},
		{"frozen", func() { cluster.Signal(t, syscall.SIGSTOP) }, func() { cluster.Signal(t, syscall.SIGCONT) }, "", true},
	} {
		t.Run(outage.name, func(t *testing.T) {
			if outage.slow {
				servertest.Slow(t)
			}
			outage.begin()
			until(t, "it is told", func() bool { return !m.Health().Connected })
			h := m.Health()
			require.False(t, h.Ready)
			until(t, "it says why", func() bool {
				r, err := m.Result(t.Context(), "taken-twice", -1)
				require.NoError(t, err)
				return r.Verdict == history.Unknown && r.Why != ""
			})
			r, err := m.Result(t.Context(), "taken-twice", -1)
			require.NoError(t, err)
			require.Equal(t, before.Groups, r.Groups)
			if outage.says != "" {
				until(t, "it is refused", func() bool {
					r, err := m.Result(t.Context(), "taken-twice", 0)
					require.NoError(t, err)
					return r.Verdict == history.Unknown && strings.Contains(m.Health().Why, outage.says)
				})
			}
			outage.end()
			until(t, "it is ready", func() bool { return m.Health().Ready })
			require.Empty(t, m.Health().Why)
			until(t, "what is broken is known", func() bool {
				r, err = m.Result(t.Context(), "taken-twice", -1)
				require.NoError(t, err)
				return r.Verdict == history.Violated
			})
			require.Equal(t, before.Groups, r.Groups, "seen since the same time")
			c := connect(t, reach(t, cluster))
			until(t, "one connection is left", func() bool { return c.backends(`true`) <= 1 })
			require.NoError(t, c.Close(t.Context()))
		})
	}
	end()
	c = connect(t, reach(t, cluster))
	until(t, "no connection is left", func() bool { return c.backends(`true`) == 0 })
}

// A replica is looked at like a primary, and tells how far behind it is. One that does not serve yet says so.
func TestReplica(t *testing.T) {
	t.Parallel()
	primary := servertest.NewCluster(t, "wal_level = replica", "max_wal_senders = 4")
	replica := primary.Replica(t, "hot_standby = off")
	c := connect(t, reach(t, primary))
	c.exec(slots + `; create index on slots (slot); create index on slots (updated_at)`)
	m := open(t, monitor.Config{Database: reach(t, replica), Watches: []monitor.Watch{led()}, Backoff: time.Millisecond})
	r := look(t, m, "taken-twice")
	require.Equal(t, history.Unknown, r.Verdict)
	require.Contains(t, r.Why, "57P03")
	require.Contains(t, m.Health().Why, "57P03")
	require.False(t, m.Health().Connected)

	replica.Stop(t, "fast")
	replica.Configure(t, "hot_standby = on")
	replica.Start(t)
	until(t, "it serves", func() bool { return look(t, m, "taken-twice").Verdict == history.Held })
	until(t, "it receives", func() bool { look(t, m, "taken-twice"); return m.Health().Lag == 0 })
	h := m.Health()
	require.True(t, h.Replica)
	require.True(t, h.ReadOnly)
	require.True(t, h.Ready)

	c.take(7, "A", "B")
	until(t, "the write is there", func() bool { return look(t, m, "taken-twice").Verdict == history.Violated })
	until(t, "all is replayed", func() bool { look(t, m, "taken-twice"); return m.Health().Lag == 0 })

	beside := connect(t, reach(t, replica))
	pause := func() {
		t.Helper()
		beside.exec(`select pg_wal_replay_pause()`)
		until(t, "it has paused", func() bool {
			var state string
			require.NoError(t, beside.QueryRow(t.Context(), `select pg_get_wal_replay_pause_state()`).Scan(&state))
			return state == "paused"
		})
	}
	pause()
	c.take(8, "A", "B")
	until(t, "it lags", func() bool { look(t, m, "taken-twice"); return m.Health().Lag > 0 })
	require.Equal(t, 1, look(t, m, "taken-twice").Total)
	beside.exec(`select pg_wal_replay_resume()`)
	until(t, "it is level", func() bool { return look(t, m, "taken-twice").Total == 2 })
	until(t, "it says so", func() bool { look(t, m, "taken-twice"); return m.Health().Lag == 0 })

	// What was written before a look and is replayed after it is seen by the next one, though it is in part.
	config := reach(t, replica)
	config.RuntimeParams["enable_seqscan"] = "off"
	parts := open(t, monitor.Config{
		Database: config, Watches: []monitor.Watch{led()}, Share: 0.0001, Full: 1000 * time.Hour, Overlap: time.Millisecond, Now: ticking(time.Second).now,
	})
	require.Equal(t, []string{"7", "8"}, keys(look(t, parts, "taken-twice").Groups))
	pause()
	c.take(9, "A", "B")
	for range 3 { // by the end, Overlap is long over
		r = look(t, parts, "taken-twice")
		require.True(t, r.Partial)
		require.Equal(t, []string{"7", "8"}, keys(r.Groups))
	}
	beside.exec(`select pg_wal_replay_resume()`)
	until(t, "all is replayed", func() bool { return look(t, m, "taken-twice").Total == 3 })
	r = look(t, parts, "taken-twice")
	require.True(t, r.Partial)
	require.Equal(t, []string{"7", "8", "9"}, keys(r.Groups))

	primary.Stop(t, "immediate")
	until(t, "it is cut off, and may be behind", func() bool {
		require.Equal(t, 3, look(t, m, "taken-twice").Total)
		return m.Health().Lag > 0
	})
}
