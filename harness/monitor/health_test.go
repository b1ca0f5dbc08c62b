package monitor_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// A look at everything that takes as long as such looks do is nothing to worry about while it is under way. One that takes much longer is.
func TestReadyWhileALookIsUnderWay(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots)
	c := connect(t, db.Config("test"))
	w := blocked()
	w.Some = `select k, 1::bigint, null::timestamptz, null::timestamptz, null::jsonb from unnest($1::text[]) k`
	clock := ticking(time.Millisecond)
	m := open(t, monitor.Config{Database: db.Config("test"), Watches: []monitor.Watch{w}, LockTimeout: time.Minute, Share: 1, Now: clock.now})
	// during makes a look at everything, in which something happens.
	during := func(happens func()) {
		t.Helper()
		c.exec(`select pg_advisory_lock(1)`)
		asked := make(chan monitor.Result, 1)
		go func() {
			r, err := m.Result(t.Context(), "blocked", 0)
			if err != nil {
				t.Error(err)
			}
			asked <- r
		}()
		until(t, "a look is under way", func() bool { return c.backends(looking) == 1 })
		happens()
		c.exec(`select pg_advisory_unlock(1)`)
		r := <-asked
		require.Equal(t, history.Violated, r.Verdict, r.Why)
		require.False(t, r.Partial)
		require.True(t, m.Health().Ready, m.Health().Why)
	}
	during(func() {
		require.False(t, m.Health().Ready, "none has succeeded yet")
		clock.skip(25 * time.Second)
	})
	require.True(t, look(t, m, "blocked").Partial)
	clock.skip(29 * time.Second)
	require.True(t, m.Health().Ready, m.Health().Why)
	during(func() {
		clock.skip(25 * time.Second)
		require.True(t, m.Health().Ready, m.Health().Why)
		clock.skip(50 * time.Second)
		require.False(t, m.Health().Ready)
		require.Contains(t, m.Health().Why, "no look at blocked has succeeded since 2025-11-10T10:00:25Z")
	})
}

// Where looks are made every few minutes, because they take long, one that fails does not make the one before it too old.
func TestReadyAfterALookThatFails(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots)
	c := connect(t, db.Config("test"))
	clock := ticking(time.Second)
	m := open(t, monitor.Config{
		Database: db.Config("test"), Watches: []monitor.Watch{watch()}, LockTimeout: 10 * time.Millisecond, Backoff: time.Millisecond, Share: 0.001, Now: clock.now,
	})
	require.Equal(t, history.Held, look(t, m, "taken-twice").Verdict)
	clock.skip(20 * time.Minute)
	require.True(t, m.Health().Ready)
	tx, err := c.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `lock table slots in access exclusive mode`)
	require.NoError(t, err)
	require.Equal(t, history.Unknown, look(t, m, "taken-twice").Verdict)
	require.True(t, m.Health().Ready, m.Health().Why)
	require.NoError(t, tx.Rollback(t.Context()))
	clock.skip(time.Hour)
	require.False(t, m.Health().Ready)
}
