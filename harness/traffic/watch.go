package traffic

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/internal/pause"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/sqltext"
)

// look is how long the watcher rests between two looks at the lock table.
const look = 2 * time.Millisecond

// rows is the mode of a lock on rows that the migration changed.
const rows = "rows"

// watcher looks at the lock table, over and over, on a connection of its own.
type watcher struct {
	conn      *pgx.Conn
	migration string // the application_name of its backends
	relations map[uint32]relation
	clients   map[int32]*client // by backend
	long      int32             // the backend of the long transaction; zero: there is none
	maxStall  time.Duration
	sql       string
	shown     int           // bytes of a query that pg_stat_activity shows
	ahead     time.Duration // of our clock, that of the server

	spans map[span]*seen
	past  []pastLock
	held  map[lockName]*Held
	waits map[int32]*wait // of clients, by backend

	other time.Duration // the longest that the migration waited for something that is no table's lock, as for transactions to end
	since map[int32]time.Time

	behind  time.Time // since when the migration waits for the long transaction; zero: it does not
	times   int       // it has waited for it before
	reached chan struct{}
}

// relation is a table or an index that was there before.
type relation struct {
	name  string
	table bool
}

// lockName tells locks apart in the report.
type lockName struct {
	table string
	mode  string
}

// span is one lock of one backend of the migration.
type span struct {
	pid      int32
	relation uint32
	mode     string
}

// seen is since when a lock was seen. Zero: it was not.
type seen struct {
	waiting, granted time.Time
	look             int    // the last that showed it
	statement        string // what the migration was at when it was first seen
}

// pastLock is a lock of the migration that is over.
type pastLock struct {
	span
	seen
	at time.Time
}

// wait is one wait of a client.
type wait struct {
	since time.Time
	exact bool // since is what the server says
	look  int
	on    lockName // what it was counted for; empty: nothing yet
}

// lockRow is a row of a look.
type lockRow struct {
	PID      int32
	Type     string
	Relation uint32
	Mode     string
	Granted  bool
	Since    *time.Time // the wait; nil: not known
	Blockers []int32
	Query    *string // nil: it is a client's
	Now      time.Time
}

func newWatcher(ctx context.Context, conn *pgx.Conn, migration string) (*watcher, error) {
	w := &watcher{
		conn: conn, migration: migration, relations: map[uint32]relation{}, clients: map[int32]*client{}, spans: map[span]*seen{},
		held: map[lockName]*Held{}, waits: map[int32]*wait{}, since: map[int32]time.Time{}, reached: make(chan struct{}),
	}
	var version int
	var now time.Time
	err := conn.QueryRow(ctx, `select current_setting('server_version_num')::int,
		pg_size_bytes(current_setting('track_activity_query_size'))::int, clock_timestamp()`).Scan(&version, &w.shown, &now)
	if err != nil {
		return nil, fmt.Errorf("asking for the version: %w", err)
	}
	w.ahead = time.Until(now)
	waitStart := "l.waitstart"
	if version < 140000 {
		waitStart = "null::timestamptz"
	}
	w.sql = `
		with migration as materialized (select pid, query from pg_stat_activity where datname = current_database() and application_name = $1),
			locks as materialized (select * from pg_locks where pid in (select pid from migration) or pid = any($2) and not granted)
		select l.pid, l.locktype, coalesce(l.relation, 0::oid), l.mode, l.granted, ` + waitStart + `,
			case when not l.granted then pg_blocking_pids(l.pid) end, m.query, clock_timestamp()
		from locks l left join migration m on m.pid = l.pid
		where not l.granted or l.locktype = 'relation'`
	found, err := conn.Query(ctx, `select c.oid, format('%I.%I', n.nspname, c.relname), c.relkind not in ('i', 'I')
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind in ('r', 'p', 'm', 'f', 'i', 'I') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`)
	if err != nil {
		return nil, fmt.Errorf("reading the catalog: %w", err)
	}
	var oid uint32
	var r relation
	if _, err = pgx.ForEachRow(found, []any{&oid, &r.name, &r.table}, func() error { w.relations[oid] = r; return nil }); err != nil {
		return nil, fmt.Errorf("reading the catalog: %w", err)
	}
	return w, nil
}

// run looks until done is closed, and once more: then the migration holds nothing any more.
func (w *watcher) run(ctx context.Context, done <-chan struct{}) error {
	pids := slices.Collect(maps.Keys(w.clients))
	for n := 1; ; n++ {
		last := false
		select {
		case <-done:
			last = true
		default:
		}
		found, err := w.conn.Query(ctx, w.sql, w.migration, pids)
		if err != nil {
			return fmt.Errorf("reading pg_locks: %w", err)
		}
		locks, err := pgx.CollectRows(found, pgx.RowToStructByPos[lockRow])
		if err != nil {
			return fmt.Errorf("reading pg_locks: %w", err)
		}
		now := time.Now().Add(w.ahead)
		if len(locks) > 0 {
			now = locks[0].Now
		}
		w.add(n, now, locks)
		if last { // a connection that was just closed may still hold something
			w.add(n+1, now, nil)
			return nil
		}
		if err := pause.For(ctx, look); err != nil {
			return err
		}
	}
}

// add takes a look into account.
func (w *watcher) add(n int, now time.Time, locks []lockRow) {
	var blocked bool // by the long transaction
	var migration []lockRow
	waitsElse := map[int32]bool{}
	for _, l := range locks {
		if l.Query == nil {
			continue
		}
		migration = append(migration, l)
		switch {
		case l.Type == "relation":
			w.lock(n, now, l)
		case !l.Granted:
			waitsElse[l.PID] = true
			if _, known := w.since[l.PID]; !known {
				w.since[l.PID] = now
			}
			w.other = max(w.other, now.Sub(w.since[l.PID]))
		}
		blocked = blocked || !l.Granted && slices.Contains(l.Blockers, w.long)
	}
	maps.DeleteFunc(w.since, func(pid int32, _ time.Time) bool { return !waitsElse[pid] })
	for id, s := range w.spans {
		if s.look == n {
			continue
		}
		if h := w.of(id.relation, id.mode); h != nil && !s.granted.IsZero() {
			h.Held = max(h.Held, now.Sub(s.granted))
		}
		w.past = append(w.past, pastLock{id, *s, now})
		delete(w.spans, id)
	}
	var longest time.Duration // of the clients that wait now
	for _, l := range locks {
		if l.Query == nil {
			longest = max(longest, w.client(n, now, l, migration))
		}
	}
	maps.DeleteFunc(w.waits, func(_ int32, c *wait) bool { return c.look != n })
	w.patience(now, blocked, longest)
}

// lock notes a lock of the migration on a table or an index.
func (w *watcher) lock(n int, now time.Time, l lockRow) {
	h := w.of(l.Relation, l.Mode)
	if h == nil {
		return
	}
	id := span{l.PID, l.Relation, l.Mode}
	s := w.spans[id]
	if s == nil {
		s = &seen{statement: w.statement(l)}
		w.spans[id] = s
	}
	if h.Longest == 0 {
		h.Statement = cmp.Or(h.Statement, s.statement)
	}
	s.look = n
	switch {
	case l.Granted && s.granted.IsZero():
		s.granted = now
	case !l.Granted && s.waiting.IsZero():
		s.waiting = now
	}
	if !l.Granted {
		if l.Since != nil {
			s.waiting = *l.Since
		}
		h.Waited = max(h.Waited, now.Sub(s.waiting))
	}
}

// of returns the entry of a lock; nil if the relation was not there before.
func (w *watcher) of(oid uint32, mode string) *Held {
	r, known := w.relations[oid]
	if !known {
		return nil
	}
	return w.entry(lockName{r.name, words(mode)})
}

func (w *watcher) entry(name lockName) *Held {
	if w.held[name] == nil {
		w.held[name] = &Held{Table: name.table, Mode: name.mode}
	}
	return w.held[name]
}

// client notes that a client waits, if it is the migration that it waits for, and returns for how long.
func (w *watcher) client(n int, now time.Time, l lockRow, migration []lockRow) time.Duration {
	on, by := w.blocker(l, migration)
	if by == nil {
		return 0
	}
	c := w.waits[l.PID]
	if c == nil || c.exact && l.Since != nil && !c.since.Equal(*l.Since) {
		c = &wait{since: now}
		w.waits[l.PID] = c
	}
	c.look = n
	if l.Since != nil {
		c.since, c.exact = *l.Since, true
	}
	h := w.entry(on)
	if c.on == (lockName{}) {
		c.on = on
		if w.clients[l.PID].writes {
			h.Writes++
		} else {
			h.Reads++
		}
	}
	took := now.Sub(c.since)
	if took > h.Longest {
		h.Longest = took
		if s := w.spans[span{by.PID, by.Relation, by.Mode}]; s != nil {
			h.Statement = s.statement
		}
	}
	for _, l := range migration {
		awaited := w.spans[span{l.PID, l.Relation, l.Mode}]
		if l.PID == by.PID && !l.Granted && awaited != nil {
			h := w.of(l.Relation, l.Mode)
			h.Behind = max(h.Behind, min(took, now.Sub(awaited.waiting)))
		}
	}
	return took
}

// blocker returns the migration's lock that a client waits for: the strongest of those on the same table that conflict with what it wants. Rows
// that the migration changed are waited for as well, by its transaction.
func (w *watcher) blocker(client lockRow, migration []lockRow) (on lockName, by *lockRow) {
	wanted, _ := sched.ParseMode(client.Mode)
	var strongest sched.Modes
	for i, l := range migration {
		if !slices.Contains(client.Blockers, l.PID) {
			continue
		}
		mode, err := sched.ParseMode(l.Mode)
		if client.Type == "transactionid" || client.Type == "tuple" {
			table := *w.clients[client.PID].at.Load() // it has asked before: it is warm
			if by == nil || w.relations[l.Relation].name == table {
				on, by = lockName{table, rows}, &migration[i]
			}
			continue
		}
		r, known := w.relations[l.Relation]
		if err == nil && known && l.Type == "relation" && client.Type == "relation" && l.Relation == client.Relation && mode.Conflict(wanted) && mode > strongest {
			strongest, on, by = mode, lockName{r.name, words(l.Mode)}, &migration[i]
		}
	}
	return on, by
}

// patience closes reached when the long transaction has been waited for long enough to tell: for more than a fifth over the longest stall that is
// allowed, by the migration and by clients behind it, if there are any; or so often that it is tried again and again.
func (w *watcher) patience(now time.Time, blocked bool, client time.Duration) {
	if w.long == 0 {
		return
	}
	const often = 10
	switch {
	case !blocked && !w.behind.IsZero():
		w.behind = time.Time{}
		w.times++
	case blocked && w.behind.IsZero():
		w.behind = now
	}
	enough := w.maxStall + w.maxStall/5
	if w.times >= often || blocked && now.Sub(w.behind) >= enough && (client == 0 || client >= enough) {
		w.long = 0
		close(w.reached)
	}
}

// statement returns what the migration was at; empty if it is one of several that were sent together, or is not shown whole.
func (w *watcher) statement(l lockRow) string {
	if l.Query == nil || len(*l.Query) >= w.shown-1 || len(sqltext.Message(*l.Query)) != 1 {
		return ""
	}
	return strings.TrimSpace(*l.Query)
}

// locks returns what was seen, what blocked clients longest first. Locks that block nobody's reads and writes are left out unless they are on one
// of the tables, and so are those on indexes that nobody waited for.
func (w *watcher) locks(tables []table) (all []Held) {
	named, indexes := map[string]bool{}, map[string]bool{}
	for _, t := range tables {
		named[t.name] = true
	}
	for _, r := range w.relations {
		indexes[r.name] = !r.table
	}
	for _, h := range w.held {
		waits := h.Reads+h.Writes > 0
		if waits || !indexes[h.Table] && (named[h.Table] || strength(h.Mode) >= sched.Share) {
			all = append(all, *h)
		}
	}
	slices.SortFunc(all, func(a, b Held) int {
		return cmp.Or(cmp.Compare(b.Longest, a.Longest), cmp.Compare(strength(b.Mode), strength(a.Mode)), cmp.Compare(b.Held, a.Held),
			cmp.Compare(a.Table, b.Table))
	})
	return all
}

// modeWords are the lock modes as people write them.
var modeWords = map[sched.Modes]string{
	sched.AccessShare: "ACCESS SHARE", sched.RowShare: "ROW SHARE", sched.RowExclusive: "ROW EXCLUSIVE",
	sched.ShareUpdateExclusive: "SHARE UPDATE EXCLUSIVE", sched.Share: "SHARE", sched.ShareRowExclusive: "SHARE ROW EXCLUSIVE",
	sched.Exclusive: "EXCLUSIVE", sched.AccessExclusive: "ACCESS EXCLUSIVE",
}

// words returns a mode of pg_locks as people write it.
func words(mode string) string {
	m, err := sched.ParseMode(mode)
	if err != nil {
		return mode
	}
	return modeWords[m]
}

// strength returns a mode that words has written; zero for any other.
func strength(mode string) sched.Modes {
	for m, text := range modeWords {
		if text == mode {
			return m
		}
	}
	return 0
}
