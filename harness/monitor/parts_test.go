package monitor_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// swept is a watch that has slots looked at by number.
func swept() monitor.Watch {
	w := watch()
	w.Some = twice(`slot = any ($1::text[]::int[])`)
	w.Next = `select number::text from numbers where $1::text is null or number > $1::text::int order by numbers.number limit $2::bigint`
	return w
}

// led is a watch that an index may tell what has changed.
func led() monitor.Watch {
	w := watch()
	w.Some = twice(`slot = any ($1::text[]::int[])`)
	w.Changed = `select slot::text from slots where updated_at >= $1::timestamptz`
	return w
}

// indexed is how the monitor connects to a database whose tables are too small for an index to be worth it.
func indexed(db *server.Database) *pgx.ConnConfig {
	config := db.Config("test")
	config.RuntimeParams["enable_seqscan"] = "off"
	return config
}

func TestSlices(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots+`; `+numbers(200)+`; create index on slots (slot)`)
	c := connect(t, db.Config("test"))
	c.take(199, "A", "B")
	m := open(t, monitor.Config{Database: db.Config("test"), Watches: []monitor.Watch{swept()}, Share: 0.0001, Now: ticking(60 * time.Millisecond).now})
	first := look(t, m, "taken-twice")
	require.False(t, first.Partial)
	require.Greater(t, first.Took, 100*time.Millisecond, "with the connecting")
	require.False(t, look(t, m, "taken-twice").Partial, "a look at everything whose query is cheap is made each time")

	m = open(t, monitor.Config{Database: db.Config("test"), Watches: []monitor.Watch{swept()}, Share: 0.0001, Now: ticking(time.Second).now})
	first = look(t, m, "taken-twice")
	require.False(t, first.Partial)
	require.Equal(t, []string{"199"}, keys(first.Groups))
	c.exec(`delete from slots where owner = 'A'`)
	c.take(1, "A", "B")
	c.take(200, "A", "B")
	r := look(t, m, "taken-twice")
	require.True(t, r.Partial)
	require.Equal(t, []string{"1"}, keys(r.Groups), "1 is in the first slice, 199 was known, and 200 is still to come")
	require.Equal(t, first.Whole, r.Whole)
	passed := r.Checked
	until(t, "the pass is over", func() bool { r = look(t, m, "taken-twice"); return len(r.Groups) == 2 })
	require.True(t, r.Partial)
	require.Equal(t, []string{"1", "200"}, keys(r.Groups))
	require.Equal(t, passed, r.Whole, "everything was looked at since the pass began")
}

// Where everything at once takes too long, slices come to a verdict all the same.
func TestTooLongAtOnce(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots+`; `+numbers(200)+`; create index on slots (slot)`)
	c := connect(t, db.Config("test"))
	w := swept()
	w.All = `select 'x', 1::bigint, null::timestamptz, null::timestamptz, null::jsonb from pg_sleep(60)`
	m := open(t, monitor.Config{
		Database: db.Config("test"), Watches: []monitor.Watch{w}, Share: 0.1, StatementTimeout: 150 * time.Millisecond, Every: 10 * time.Millisecond, Backoff: time.Millisecond,
	})
	changes, _ := m.Changes()
	run(t, m)
	change := <-changes
	require.Equal(t, history.Unknown, change.Result.Verdict)
	require.Contains(t, change.Result.Why, "57014")
	for change.Result.Verdict == history.Unknown {
		change = <-changes
	}
	require.Equal(t, history.Held, change.Result.Verdict)
	require.True(t, change.Result.Partial)
	require.NotZero(t, change.Result.Whole)
	c.take(150, "A", "B")
	for change.Result.Verdict != history.Violated {
		change = <-changes
	}
	require.Equal(t, []string{"150"}, keys(change.Broke))
}

// A look at everything that fails when it has taken long is not made over and over, whatever was in its way.
func TestLateWhateverTheReason(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots+`; `+numbers(100))
	c := connect(t, db.Config("test"))
	c.take(100, "A", "B")
	w := swept()
	w.All = `select (1 / (count(*) - 100))::text, 1::bigint, null::timestamptz, null::timestamptz, null::jsonb from numbers`
	m := open(t, monitor.Config{Database: db.Config("test"), Watches: []monitor.Watch{w}, Share: 0.0001, Backoff: time.Millisecond, Now: ticking(time.Second).now})
	r := look(t, m, "taken-twice")
	require.False(t, r.Partial)
	require.Equal(t, history.Unknown, r.Verdict)
	require.Contains(t, r.Why, "22012")
	r = look(t, m, "taken-twice")
	require.True(t, r.Partial)
	require.Equal(t, history.Unknown, r.Verdict)
	require.Contains(t, r.Why, "not everything could be looked at yet: division by zero (22012)")
	until(t, "the pass is over", func() bool { r = look(t, m, "taken-twice"); return r.Verdict == history.Violated })
	require.True(t, r.Partial)
	require.Equal(t, []string{"100"}, keys(r.Groups))

	// One that fails at once has cost nothing, and is made again.
	m = open(t, monitor.Config{
		Database: db.Config("test"), Watches: []monitor.Watch{w}, Share: 0.0001, Backoff: time.Millisecond, Now: ticking(time.Millisecond).now,
	})
	for range 3 {
		r = look(t, m, "taken-twice")
		require.False(t, r.Partial)
		require.Contains(t, r.Why, "22012")
	}
}

// A look that somebody cancels is not said to have taken too long, and is made again.
func TestCancelled(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots)
	c := connect(t, db.Config("test"))
	w := blocked()
	w.Some, w.Next = twice(`slot = any ($1::text[]::int[])`), swept().Next
	m := open(t, monitor.Config{
		Database: db.Config("test"), Watches: []monitor.Watch{w}, LockTimeout: time.Minute, Backoff: time.Millisecond, Now: ticking(time.Millisecond).now,
	})
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
	c.exec(`select pg_cancel_backend(pid) from pg_stat_activity where application_name = 'interlock serve' and datname = current_database() and ` + looking)
	r := <-asked
	require.Equal(t, history.Unknown, r.Verdict)
	require.Contains(t, r.Why, "somebody cancelled the look; it is tried again")
	require.NotContains(t, r.Why, "longer statement timeout")
	c.exec(`select pg_advisory_unlock(1)`)
	r = look(t, m, "blocked")
	require.Equal(t, history.Violated, r.Verdict, r.Why)
	require.False(t, r.Partial)
}

// Where each look must be at everything, and that takes long, who asks gets what is known until the next one is due.
func TestWhoAsksForWhatTakesLong(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots)
	clock := ticking(time.Second)
	m := open(t, monitor.Config{Database: db.Config("test"), Watches: []monitor.Watch{watch()}, Share: 0.001, Now: clock.now})
	first := look(t, m, "taken-twice")
	require.Equal(t, history.Held, first.Verdict, first.Why)
	require.Equal(t, first.Tried, look(t, m, "taken-twice").Tried)
	clock.skip(time.Hour)
	require.True(t, look(t, m, "taken-twice").Tried.After(first.Tried))
}

// Where more has changed than is worth looking at key by key, looks stay in part, as long as the share of time says so.
func TestTooMuchHasChanged(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots+`; create index on slots (slot); create index on slots (updated_at)`)
	c := connect(t, db.Config("test"))
	clock := ticking(time.Second)
	m := open(t, monitor.Config{
		Database: indexed(db), Watches: []monitor.Watch{led()}, Groups: 3, Share: 0.0001, Full: 1000 * time.Hour, Overlap: time.Millisecond, Now: clock.now,
	})
	old := connect(t, db.Config("old"))
	old.exec(`begin; select pg_current_xact_id()`)
	c.take(1, "A", "B")
	r := look(t, m, "taken-twice")
	require.False(t, r.Partial)
	require.Equal(t, []string{"1"}, keys(r.Groups))
	for slot := 11; slot <= 20; slot++ {
		c.take(slot, "A")
	}
	c.take(20, "B")
	c.exec(`delete from slots where slot = 1 and owner = 'B'`)
	for range 5 {
		r = look(t, m, "taken-twice")
		require.True(t, r.Partial)
		require.Empty(t, r.Groups, "what was known is looked at, and what has changed is not")
	}
	old.exec(`commit`)
	require.True(t, look(t, m, "taken-twice").Partial)
	clock.skip(24 * time.Hour) // much less than Full
	r = look(t, m, "taken-twice")
	require.False(t, r.Partial, "what has changed is owed as soon as the share allows")
	require.Equal(t, []string{"20"}, keys(r.Groups))
	c.take(11, "B")
	r = look(t, m, "taken-twice")
	require.True(t, r.Partial)
	require.Equal(t, []string{"11", "20"}, keys(r.Groups), "and an index tells of it again")
}

// What was written by a transaction that was under way at the look before is seen when it commits, though its rows say that they are older.
func TestOldTransaction(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots+`; create index on slots (slot); create index on slots (updated_at)`)
	c := connect(t, db.Config("test"))
	m := open(t, monitor.Config{Database: indexed(db), Watches: []monitor.Watch{led()}, Share: 0.0001, Full: 1000 * time.Hour, Overlap: time.Millisecond, Now: ticking(time.Second).now})

	old := connect(t, db.Config("old"))
	old.exec(`begin`)
	old.take(7, "A", "B")
	require.False(t, look(t, m, "taken-twice").Partial)
	c.take(1, "A", "B")
	for range 3 {
		r := look(t, m, "taken-twice")
		require.True(t, r.Partial)
		require.Equal(t, []string{"1"}, keys(r.Groups))
	}
	old.exec(`commit`)
	require.Equal(t, []string{"1", "7"}, keys(look(t, m, "taken-twice").Groups))
	require.Equal(t, []string{"1", "7"}, keys(look(t, m, "taken-twice").Groups))

	// Of what no index tells, a look in part knows nothing.
	c.exec(`insert into slots (slot, owner, updated_at) values (9, 'A', '2000-01-01'), (9, 'B', '2000-01-01')`)
	require.Equal(t, []string{"1", "7"}, keys(look(t, m, "taken-twice").Groups))
}

// A table without the index is not read for what has changed.
func TestNoIndexForChanges(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots)
	c := connect(t, db.Config("test"))
	m := open(t, monitor.Config{Database: db.Config("test"), Watches: []monitor.Watch{led()}, Share: 0.0001, Now: ticking(time.Second).now})
	require.False(t, look(t, m, "taken-twice").Partial)
	c.take(1, "A", "B")
	r := look(t, m, "taken-twice")
	require.True(t, r.Partial)
	require.Empty(t, r.Groups)
}
