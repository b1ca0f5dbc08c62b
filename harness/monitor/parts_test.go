package monitor_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// ticking is a clock in whose time everything takes a second.
func ticking() func() time.Time {
	var mu sync.Mutex
	at := time.Date(2025, 11, 10, 10, 0, 0, 0, time.UTC)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		at = at.Add(time.Second)
		return at
	}
}

// swept is a watch that has slots looked at by number.
func swept() monitor.Watch {
	w := watch()
	w.Some = twice(`slot = any ($1::text[]::int[])`)
	w.Next = `select number::text from numbers where $1::text is null or number > $1::text::int order by numbers.number limit $2::bigint`
	return w
}

func TestSlices(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots+`; `+numbers(200)+`; create index on slots (slot)`)
	c := connect(t, db.Config("test"))
	c.take(199, "A", "B")
	m := open(t, monitor.Config{Database: db.Config("test"), Watches: []monitor.Watch{swept()}, Share: 0.0001})
	first := look(t, m, "taken-twice")
	require.False(t, first.Partial)
	require.False(t, look(t, m, "taken-twice").Partial, "a look at everything that is cheap is made each time")

	m = open(t, monitor.Config{Database: db.Config("test"), Watches: []monitor.Watch{swept()}, Share: 0.0001, Now: ticking()})
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
		Database: db.Config("test"), Watches: []monitor.Watch{w}, StatementTimeout: 150 * time.Millisecond, Every: 10 * time.Millisecond, Backoff: time.Millisecond,
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

// What was written by a transaction that was under way at the look before is seen when it commits, though its rows say that they are older.
func TestOldTransaction(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, slots+`; create index on slots (slot); create index on slots (updated_at)`)
	c := connect(t, db.Config("test"))
	w := watch()
	w.Some = twice(`slot = any ($1::text[]::int[])`)
	w.Changed = `select slot::text from slots where updated_at >= $1::timestamptz`
	config := db.Config("test")
	config.RuntimeParams["enable_seqscan"] = "off" // the table is too small for an index to be worth it
	m := open(t, monitor.Config{Database: config, Watches: []monitor.Watch{w}, Share: 0.0001, Full: 1000 * time.Hour, Overlap: time.Millisecond, Now: ticking()})

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
	w := watch()
	w.Some, w.Changed = twice(`slot = any ($1::text[]::int[])`), `select slot::text from slots where updated_at >= $1::timestamptz`
	m := open(t, monitor.Config{Database: db.Config("test"), Watches: []monitor.Watch{w}, Share: 0.0001, Now: ticking()})
	require.False(t, look(t, m, "taken-twice").Partial)
	c.take(1, "A", "B")
	r := look(t, m, "taken-twice")
	require.True(t, r.Partial)
	require.Empty(t, r.Groups)
}
