package load

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/server"
)

// monitor asks the server how it fares, on a connection of its own. What it cannot be told while the server does not serve, it does without.
type monitor struct {
	config *pgx.ConnConfig
	conn   *pgx.Conn
}

// soon is how long the monitor waits for an answer. A server that takes longer says nothing.
const soon = 2 * time.Second

// wait is what a session is at: it waits for an event of a type, or, where both are empty, has the processor.
type wait struct{ kind, event string }

func newMonitor(ctx context.Context, s *server.Server) (*monitor, error) {
	m := &monitor{config: s.Config("", "monitor")}
	var err error
	if m.conn, err = pgx.ConnectConfig(ctx, m.config); err != nil {
		return nil, fmt.Errorf("connecting the monitor: %w", err)
	}
	return m, nil
}

// ready reports whether there is a connection.
func (m *monitor) ready(ctx context.Context) bool {
	if !m.conn.IsClosed() {
		return true
	}
	conn, err := pgx.ConnectConfig(ctx, m.config)
	if err != nil {
		return false
	}
	m.conn = conn
	return true
}

// serves reports whether the server answers.
func (m *monitor) serves(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	return m.ready(ctx) && m.conn.Ping(ctx) == nil
}

// wal returns how much has been written to the log, in bytes. False: it is not known.
func (m *monitor) wal(ctx context.Context) (bytes int64, known bool) {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	if !m.ready(ctx) {
		return 0, false
	}
	err := m.conn.QueryRow(ctx, `select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint`).Scan(&bytes)
	return bytes, err == nil
}

// sample sees what the sessions of a lane's clients are at.
func (m *monitor) sample(ctx context.Context, l *lane) {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	if !m.ready(ctx) {
		return
	}
	rows, err := m.conn.Query(ctx, `select coalesce(wait_event_type, ''), coalesce(wait_event, '') from pg_stat_activity
		where datname = $1 and (application_name like '% client %' or $2 and backend_type = 'client backend' and application_name not like 'interlock % control')
			and state <> 'idle' and wait_event_type is distinct from 'Client'`, l.ground.db.Name, l.ground.hosted != nil)
	if err != nil {
		return
	}
	var w wait
	_, _ = pgx.ForEachRow(rows, []any{&w.kind, &w.event}, func() error {
		l.waits[w]++
		l.samples++
		return nil
	})
}

func (m *monitor) close(ctx context.Context) error {
	err := m.conn.Close(ctx)
	<-m.conn.PgConn().CleanupDone()
	return err
}

// counts are the counters of one database.
type counts struct {
	Commits, Rollbacks, Deadlocks, TempFiles, TempBytes, Hit, Read int64
	relations                                                      map[string]size // nil: the counters are not known
}

// since returns how much a counter has grown. A server that crashes counts from 0 again.
func since(now, before int64) int64 {
	if now < before {
		return now
	}
	return now - before
}

// size is how large a table or an index is.
type size struct {
	Name  string
	Index bool
	Bytes int64
	Dead  int64
	Live  int64
}

// count reads the counters. While the server does not serve, they stay unknown.
func (g *ground) count(ctx context.Context, into *counts) error {
	err := g.tryCount(ctx, into)
	if err != nil && server.IsTrouble(err) { // perhaps only the connection is lost
		err = g.tryCount(ctx, into)
	}
	if err != nil && server.IsTrouble(err) && ctx.Err() == nil {
		return nil
	}
	return err
}

func (g *ground) tryCount(ctx context.Context, into *counts) error {
	now := counts{relations: map[string]size{}}
	err := g.connect(ctx)
	if err == nil {
		err = g.control.QueryRow(ctx, `select xact_commit, xact_rollback, deadlocks, temp_files, temp_bytes, blks_hit, blks_read
			from pg_stat_database where datname = current_database()`).
			Scan(&now.Commits, &now.Rollbacks, &now.Deadlocks, &now.TempFiles, &now.TempBytes, &now.Hit, &now.Read)
	}
	var sizes []size
	if err == nil {
		rows, _ := g.control.Query(ctx, `select format('%I.%I', n.nspname, c.relname), c.relkind = 'i', pg_relation_size(c.oid),
			coalesce(s.n_dead_tup, 0), coalesce(s.n_live_tup, 0)
			from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_stat_user_tables s on s.relid = c.oid
			where c.relkind in ('r', 'i', 'm') and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', '`+schemaName+`') order by 1`)
		sizes, err = pgx.CollectRows(rows, pgx.RowToStructByPos[size])
	}
	if err != nil {
		return err
	}
	for _, s := range sizes {
		now.relations[s.Name] = s
	}
	*into = now
	return nil
}
