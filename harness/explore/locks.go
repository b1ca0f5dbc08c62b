package explore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/sched"
)

// locks asks the server's lock table, on a connection of its own.
type locks struct {
	conn    *pgx.Conn
	started string // the column that tells one wait from the next; before PostgreSQL 14 there is none
}

func newLocks(conn *pgx.Conn, version int) locks {
	started := "waitstart"
	if version < 140000 {
		started = "null::timestamptz"
	}
	return locks{conn, started}
}

// held returns what the transaction of a backend has locked: tables and views, except for the system's, and advisory keys.
func (l locks) held(ctx context.Context, pid uint32) (sched.Footprint, error) {
	rows, err := l.conn.Query(ctx, `
		select n.nspname || '.' || c.relname, k.mode, null
		from pg_locks k join pg_class c on c.oid = k.relation join pg_namespace n on n.oid = c.relnamespace
		where k.pid = $1 and k.locktype = 'relation' and k.granted and k.mode <> 'SIReadLock' and c.relkind in ('r', 'p', 'v', 'm', 'f')
			and k.database = (select oid from pg_database where datname = current_database()) and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
		union all
		select null, null, format('%s:%s:%s', classid, objid, objsubid) from pg_locks where pid = $1 and locktype = 'advisory' and granted`, int32(pid))
	if err != nil {
		return sched.Footprint{}, fmt.Errorf("reading pg_locks: %w", err)
	}
	print := sched.Footprint{}
	var relation, mode, key *string
	_, err = pgx.ForEachRow(rows, []any{&relation, &mode, &key}, func() error {
		if key != nil {
			print.Keys = append(print.Keys, *key)
			return nil
		}
		m, err := sched.ParseMode(*mode)
		if err != nil {
			return err
		}
		if print.Relations == nil {
			print.Relations = map[string]sched.Modes{}
		}
		print.Relations[*relation] |= m
		return nil
	})
	if err != nil {
		return sched.Footprint{}, fmt.Errorf("reading pg_locks: %w", err)
	}
	slices.Sort(print.Keys)
	return print, nil
}

// waiting is a wait that the lock table shows.
type waiting struct {
	pid     uint32
	since   time.Time // tells this wait from the next; zero: not known
	lock    string    // in words
	blocker []uint32  // the backends that are in the way
}

// same reports whether both are one wait. One of which the start is not known is taken for a new one.
func (w waiting) same(other waiting) bool { return !w.since.IsZero() && w.since.Equal(other.since) }

// waits returns which of the backends wait.
func (l locks) waits(ctx context.Context, pids []uint32) ([]waiting, error) {
	ids := make([]int32, len(pids))
	for i, pid := range pids {
		ids[i] = int32(pid)
	}
	rows, err := l.conn.Query(ctx, `
		select k.pid, k.`+l.started+`, pg_blocking_pids(k.pid), case k.locktype
			when 'transactionid' then coalesce((select format('a row of %s', t.relation::regclass)
				from pg_locks t where t.pid = k.pid and t.locktype = 'tuple' and t.granted limit 1), 'the end of a transaction')
			when 'tuple' then format('a row of %s', k.relation::regclass)
			when 'relation' then format('%s on %s', replace(k.mode, 'Lock', ''), k.relation::regclass)
			when 'advisory' then 'an advisory lock'
			else k.locktype end
		from pg_locks k where not k.granted and k.pid = any($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("reading pg_locks: %w", err)
	}
	var found []waiting
	var pid int32
	var since *time.Time
	var blockers []int32
	var lock string
	_, err = pgx.ForEachRow(rows, []any{&pid, &since, &blockers, &lock}, func() error {
		w := waiting{pid: uint32(pid), lock: lock}
		if since != nil {
			w.since = *since
		}
		for _, b := range blockers {
			w.blocker = append(w.blocker, uint32(b))
		}
		found = append(found, w)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading pg_locks: %w", err)
	}
	return found, nil
}
