package monitor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/check"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

func TestMistakes(t *testing.T) {
	t.Parallel()
	_, err := monitor.Open(monitor.Config{
		Watches: []monitor.Watch{{Name: "Bad Name", Changed: "x"}, watch(), watch()},
		Every:   -1, Share: 1.5, Groups: -1, Backoff: time.Microsecond,
	})
	for _, says := range []string{
		"no database", `"Bad Name" is not one`, "try giving it All", "nothing without Some", "another watch named taken-twice",
		"share 1.5", "groups -1", "every -1ns", "backoff 1µs",
	} {
		require.ErrorContains(t, err, says)
	}
	_, err = monitor.Open(monitor.Config{Database: servertest.Server(t).Config("", "")})
	require.ErrorContains(t, err, "nothing to watch")
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots)
	c := connect(t, db.Config("test"))
	query := func(name, sql string) monitor.Watch { return monitor.Watch{Invariant: "T", Name: name, All: sql} }
	m := open(t, monitor.Config{
		Database: db.Config("test"),
		Watches: []monitor.Watch{
			watch(), query("missing", `select * from nowhere`), query("writing", `with w as (delete from slots returning slot) select slot from w`),
			query("odd", `select 1`),
		},
	})
	require.Len(t, m.Watches(), 4)
	r := look(t, m, "taken-twice")
	require.Equal(t, history.Held, r.Verdict)
	require.Equal(t, uint64(1), r.Version)
	again := look(t, m, "taken-twice")
	require.Equal(t, uint64(1), again.Version, "nothing has changed")
	require.Equal(t, r.Checked, again.Changed, "and nothing since the first look")
	require.True(t, again.Checked.After(r.Checked))

	c.take(7, "A", "B")
	c.take(10, "C", "D", "E")
	r = look(t, m, "taken-twice")
	require.Equal(t, history.Violated, r.Verdict)
	require.Equal(t, uint64(2), r.Version)
	require.Equal(t, []string{"10", "7"}, keys(r.Groups), "in the order of their keys")
	require.Equal(t, 2, r.Total)
	require.Equal(t, 5, r.Members)
	require.JSONEq(t, `{"owners": ["C", "D", "E"]}`, string(r.Groups[0].Facts))
	require.Equal(t, time.Date(2025, 11, 10, 10, 0, 0, 0, time.UTC), *r.Groups[0].First)
	require.Equal(t, r.Checked, r.Groups[0].Since)
	require.Equal(t, r.Checked, r.Tried)
	require.Equal(t, r.Checked, r.Whole)

	c.take(7, "F")
	later := look(t, m, "taken-twice")
	require.Equal(t, uint64(3), later.Version)
	require.Equal(t, r.Checked, later.Groups[1].Since, "it is the same group still")
	require.Equal(t, 2, r.Groups[1].Members, "a result is not changed")
	_, err := json.Marshal(later)
	require.NoError(t, err)

	slow := open(t, monitor.Config{Database: db.Config("test"), StatementTimeout: 100 * time.Millisecond, Watches: []monitor.Watch{query("slow", `select pg_sleep(60)`)}})
	for name, says := range map[string]string{
		"missing": "does not have the schema", "slow": "after 100ms; try a longer statement timeout", "writing": "25006", "odd": "number of field",
	} {
		of := m
		if name == "slow" {
			of = slow
		}
		r := look(t, of, name)
		require.Equal(t, history.Unknown, r.Verdict)
		require.Contains(t, r.Why, says)
		require.Zero(t, r.Checked)
		require.NotZero(t, r.Tried)
	}
	require.True(t, m.Health().Connected)
	require.False(t, m.Health().Ready)
	require.Contains(t, m.Health().Why, "no look at missing has succeeded yet: ")

	_, err = m.Result(t.Context(), "nothing", 0)
	require.ErrorIs(t, err, monitor.ErrUnknownWatch)
}

func TestALockedTableIsUnknown(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots)
	c := connect(t, db.Config("test"))
	c.take(7, "A", "B")
	m := open(t, monitor.Config{Database: db.Config("test"), Watches: []monitor.Watch{watch()}, LockTimeout: 10 * time.Millisecond, Backoff: time.Millisecond})
	before := look(t, m, "taken-twice")
	tx, err := c.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `lock table slots in access exclusive mode`)
	require.NoError(t, err)
	r := look(t, m, "taken-twice")
	require.Equal(t, history.Unknown, r.Verdict)
	require.Contains(t, r.Why, "try again later")
	require.Equal(t, before.Groups, r.Groups, "they are those of the latest look that succeeded")
	require.Equal(t, before.Checked, r.Checked)
	require.True(t, r.Tried.After(before.Tried))
	require.True(t, m.Health().Connected)
	require.NoError(t, tx.Rollback(t.Context()))
	until(t, "it is looked at again", func() bool { return look(t, m, "taken-twice").Verdict == history.Violated })
	require.Equal(t, before.Groups, look(t, m, "taken-twice").Groups)
}

// A thousand who ask while a look is under way get one look more, together, and see nothing from before they asked.
func TestOneLookForAll(t *testing.T) {
	t.Parallel()
	const callers = 1000
	db := servertest.Database(t, slots)
	c := connect(t, db.Config("test"))
	var times atomic.Int64
	m := open(t, monitor.Config{
		Database: db.Config("test"), Watches: []monitor.Watch{blocked()}, LockTimeout: time.Minute,
		Now: func() time.Time { times.Add(1); return time.Now() },
	})
	c.exec(`select pg_advisory_lock(1)`)
	results := make(chan monitor.Result, callers+1)
	ask := func() {
		r, err := m.Result(t.Context(), "blocked", 0)
		if err != nil {
			t.Error(err)
		}
		results <- r
	}
	go ask()
	until(t, "a look is under way", func() bool { return c.backends(looking) == 1 })
	before := times.Load()
	for range callers {
		go ask()
	}
	until(t, "all have asked", func() bool { return times.Load() == before+callers })
	require.Equal(t, 1, c.backends(`true`))
	c.exec(`select pg_advisory_unlock(1)`)
	looks := map[time.Time]int{}
	for range callers + 1 {
		r := <-results
		require.Equal(t, history.Violated, r.Verdict, r.Why)
		looks[r.Tried]++
	}
	require.LessOrEqual(t, len(looks), 2, "%v", looks)
	require.Equal(t, 1, c.backends(`true`))

	times.Store(0)
	for range callers {
		_, err := m.Result(t.Context(), "blocked", time.Hour)
		require.NoError(t, err)
	}
	require.Equal(t, int64(callers), times.Load(), "the answers are from memory: each caller asks for the time, and no look does")
}

func TestACallersEndIsNotTheLooks(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots)
	c := connect(t, db.Config("test"))
	m := open(t, monitor.Config{Database: db.Config("test"), Watches: []monitor.Watch{blocked()}, LockTimeout: time.Minute})
	c.exec(`select pg_advisory_lock(1)`)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := m.Result(ctx, "blocked", 0)
		gone <- err
	}()
	stays := make(chan monitor.Result, 1)
	until(t, "a look is under way", func() bool { return c.backends(looking) == 1 })
	go func() {
		r, err := m.Result(t.Context(), "blocked", time.Hour)
		if err != nil {
			t.Error(err)
		}
		stays <- r
	}()
	cancel()
	require.ErrorIs(t, <-gone, context.Canceled)
	require.Equal(t, 1, c.backends(looking), "the look goes on")
	c.exec(`select pg_advisory_unlock(1)`)
	require.Equal(t, history.Violated, (<-stays).Verdict)
}

// The end of the monitor ends its looks on the server, too.
func TestClose(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots)
	c := connect(t, db.Config("test"))
	m := open(t, monitor.Config{Database: db.Config("test"), Watches: []monitor.Watch{watch(), blocked()}, LockTimeout: time.Minute})
	changes, _ := m.Changes()
	look(t, m, "taken-twice")
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
	m.Close()
	r := <-asked
	require.Equal(t, history.Unknown, r.Verdict)
	require.Equal(t, "nobody has looked yet", r.Why, "what was broken off is no look")
	until(t, "the connections have ended", func() bool { return c.backends(`true`) == 0 })
	require.Equal(t, history.Held, (<-changes).Result.Verdict)
	_, more := <-changes
	require.False(t, more)
	require.Equal(t, history.Held, look(t, m, "taken-twice").Verdict, "what was seen last can be read")
	after, stop := m.Changes()
	_, more = <-after
	require.False(t, more)
	stop()
	m.Close()
	require.ErrorContains(t, m.Run(t.Context()), "try opening another")
}

func TestRun(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots)
	c := connect(t, db.Config("test"))
	m := open(t, monitor.Config{Database: db.Config("test"), Watches: []monitor.Watch{watch()}, Every: time.Millisecond})
	require.False(t, m.Health().Ready)
	require.Contains(t, m.Health().Why, "not been asked yet")
	changes, stop := m.Changes()
	end := run(t, m)
	require.Equal(t, history.Held, (<-changes).Result.Verdict)
	until(t, "it is ready", func() bool { return m.Health().Ready })
	require.NotZero(t, m.Health().Success)
	require.Empty(t, m.Health().Why)
	c.take(7, "A", "B")
	change := <-changes
	require.Equal(t, []string{"7"}, keys(change.Broke))
	require.Equal(t, history.Violated, change.Result.Verdict)
	c.exec(`delete from slots where owner = 'B'`)
	change = <-changes
	require.Equal(t, []string{"7"}, keys(change.Healed))
	require.Empty(t, change.Broke)
	require.Equal(t, history.Held, change.Result.Verdict)
	require.ErrorContains(t, m.Run(t.Context()), "runs or has ended")
	stop()
	stop()
	end()
	until(t, "the connection has ended", func() bool { return c.backends(`true`) == 0 })
}

// Looks that take more than their share are made less often, and that is told.
func TestBackingOff(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots)
	m := open(t, monitor.Config{Database: db.Config("test"), Watches: []monitor.Watch{watch()}, Every: time.Millisecond, Share: 1e-9})
	run(t, m)
	until(t, "it is ready", func() bool { return m.Health().Ready })
	until(t, "it backs off", func() bool { return m.Health().BackingOff > time.Hour })
	require.True(t, m.Health().Ready)
}

func TestTooManyGroups(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots)
	c := connect(t, db.Config("test"))
	m := open(t, monitor.Config{Database: db.Config("test"), Watches: []monitor.Watch{watch()}, Groups: 3})
	changes, _ := m.Changes()
	for slot := 4; slot <= 8; slot++ {
		c.take(slot, "A", "B")
	}
	r := look(t, m, "taken-twice")
	require.Equal(t, []string{"4", "5", "6"}, keys(r.Groups))
	require.Equal(t, 5, r.Total)
	require.Equal(t, 10, r.Members)
	require.Len(t, (<-changes).Broke, 3)

	c.take(1, "A", "B")
	later := look(t, m, "taken-twice")
	require.Equal(t, []string{"4", "5", "6"}, keys(later.Groups), "those that are kept stay, and none seems to have healed")
	require.Equal(t, 6, later.Total)
	change := <-changes
	require.Empty(t, change.Broke)
	require.Empty(t, change.Healed)

	c.exec(`delete from slots where slot = 5`)
	later = look(t, m, "taken-twice")
	require.Equal(t, []string{"1", "4", "6"}, keys(later.Groups))
	require.Equal(t, r.Checked, later.Groups[1].Since)
	require.Equal(t, later.Checked, later.Groups[0].Since)
	change = <-changes
	require.Equal(t, []string{"1"}, keys(change.Broke))
	require.Equal(t, []string{"5"}, keys(change.Healed))
}

func TestIndexes(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots)
	c := connect(t, db.Config("test"))
	m := open(t, monitor.Config{
		Database: db.Config("test"), Watches: []monitor.Watch{watch()},
		Indexes:     []check.Index{{Schema: "public", Table: "slots", Name: "free", Protects: "T1"}},
		LockTimeout: 100 * time.Millisecond, Backoff: time.Millisecond,
	})
	found, at, err := m.Indexes(t.Context(), 0)
	require.NoError(t, err)
	require.NotZero(t, at)
	require.Equal(t, "missing", found[0].Why)
	c.exec(`create unique index free on slots (slot)`)
	again, _, err := m.Indexes(t.Context(), time.Hour)
	require.NoError(t, err)
	require.Equal(t, found, again, "from memory")
	found, _, err = m.Indexes(t.Context(), 0)
	require.NoError(t, err)
	require.True(t, found[0].Enforcing)
	until(t, "the connection has ended", func() bool { return c.backends(`true`) == 0 })

	// Where a look does not succeed, or somebody does not wait for it, what was seen before is there all the same.
	c.exec(`begin; reindex index free`)
	again, before, err := m.Indexes(t.Context(), 0)
	require.ErrorContains(t, err, "try again later")
	require.Equal(t, found, again)
	require.NotZero(t, before)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	until(t, "a look is begun", func() bool { again, at, err = m.Indexes(ctx, 0); return errors.Is(err, context.Canceled) })
	require.Equal(t, found, again)
	require.Equal(t, before, at)
	c.exec(`rollback`)
}

// Nothing that is said about a database that cannot be reached has its password, and nobody waits for it again at once.
func TestNoServer(t *testing.T) {
	t.Parallel()
	config := servertest.Server(t).Config("", "")
	config.Host, config.Port, config.Password = "127.0.0.1", 1, "hunter2"
	m := open(t, monitor.Config{Database: config, Watches: []monitor.Watch{watch()}, Backoff: time.Hour, Random: func() float64 { return 0 }})
	r := look(t, m, "taken-twice")
	require.Equal(t, history.Unknown, r.Verdict)
	require.Contains(t, r.Why, "connecting to 127.0.0.1:1")
	require.NotContains(t, r.Why, "hunter2")
	require.Equal(t, r.Tried, look(t, m, "taken-twice").Tried, "it is not tried again yet")
	h := m.Health()
	require.False(t, h.Ready)
	require.False(t, h.Connected)
	require.Equal(t, r.Why, h.Why)
	require.Positive(t, h.BackingOff)
	require.LessOrEqual(t, h.BackingOff, 30*time.Minute)
	_, _, err := m.Indexes(t.Context(), 0)
	require.ErrorContains(t, err, "connecting to 127.0.0.1:1")
}

// A session that was ended between two looks is no reason for anybody not to know.
func TestEndedWhileIdle(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots)
	c := connect(t, db.Config("test"))
	m := open(t, monitor.Config{Database: db.Config("test"), Watches: []monitor.Watch{watch(), blocked()}, LockTimeout: time.Minute, Backoff: time.Millisecond})
	look(t, m, "taken-twice")
	c.exec(`select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'interlock serve' and datname = current_database()`)
	r := look(t, m, "taken-twice")
	require.Equal(t, history.Held, r.Verdict, r.Why)
	require.Equal(t, uint64(1), r.Version)

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
	c.exec(`select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'interlock serve' and datname = current_database() and ` + looking)
	r = <-asked
	require.Equal(t, history.Unknown, r.Verdict)
	require.Contains(t, r.Why, "57P01")
	require.False(t, m.Health().Connected)
	c.exec(`select pg_advisory_unlock(1)`)
	until(t, "it has recovered", func() bool { return look(t, m, "blocked").Verdict == history.Violated })
	require.True(t, m.Health().Connected)
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots)
	c := connect(t, db.Config("test"))
	m := open(t, monitor.Config{Database: db.Config("test"), Watches: []monitor.Watch{watch()}, Renew: time.Millisecond})
	for _, readOnly := range []bool{false, true, false} {
		c.exec(`do $$ begin execute format('alter database %I set default_transaction_read_only = %L', current_database(), '` + fmt.Sprint(readOnly) + `'); end $$`)
		until(t, fmt.Sprint("read only: ", readOnly), func() bool {
			require.Equal(t, history.Held, look(t, m, "taken-twice").Verdict)
			return m.Health().ReadOnly == readOnly
		})
		require.False(t, m.Health().Replica)
	}
}
