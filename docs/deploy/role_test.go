package deploy_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/check"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
	"github.com/interlock-pg/interlock/harness/monitor/agenda"
	"github.com/interlock-pg/interlock/harness/monitor/notify"
	"github.com/interlock-pg/interlock/harness/repair"
	"github.com/interlock-pg/interlock/harness/schema"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/migrations"
	"github.com/interlock-pg/interlock/scenarios"
)

// broken are two open sessions and two visits that are too close, on one device.
const broken = `
insert into aedpics.aed_data (id, equipment_serial) values (1, 'AED-1');
insert into aedpics.user_profiles (id) values ('a11ce000-0000-0000-0000-000000000001');
insert into aedpics.inspection_sessions (equipment_serial, inspector_id, started_at)
	select 'AED-1', 'a11ce000-0000-0000-0000-000000000001', now() - n * interval '1 hour' from generate_series(1, 2) n;
insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for) values
	(1, 'AED-1', '2026-01-05T10:00:00Z'), (1, 'AED-1', '2026-01-05T10:10:00Z')`

// The tables that role.sql makes are those that serve and repair make where nobody has.
func TestTheTables(t *testing.T) {
	t.Parallel()
	template, err := servertest.Server(t).Template(t.Context(), func(ctx context.Context, config *pgx.ConnConfig) error {
		_, err := migrations.Embedded().Apply(ctx, config, 1)
		return err
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, template.Drop(context.Background())) }()
	tables := func(make func(db *server.Database, conn *pgx.Conn)) schema.Schema {
		db, err := template.Database(t.Context())
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Drop(context.Background())) }()
		conn, err := db.Connect(t.Context(), "owner")
		require.NoError(t, err)
		defer conn.Close(context.Background())
		_, err = conn.Exec(t.Context(), broken, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
		make(db, conn)
		all, err := schema.Read(t.Context(), conn)
		require.NoError(t, err)
		var ours schema.Schema
		for _, o := range all.Objects {
			if strings.HasPrefix(o.Name, "interlock") || strings.HasPrefix(o.Table, "interlock") {
				o.Properties = slices.DeleteFunc(o.Properties, func(p schema.Property) bool { return p.Name == "privileges" })
				ours.Objects = append(ours.Objects, o)
			}
		}
		return ours
	}
	written := tables(func(_ *server.Database, conn *pgx.Conn) {
		_, err := conn.Exec(t.Context(), `begin; `+read(t, "role.sql")+`; commit`, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
	})
	made := tables(func(db *server.Database, _ *pgx.Conn) {
		outbox, err := notify.Open(t.Context(), notify.Store{Database: db.Config("owner"), Create: true})
		require.NoError(t, err)
		require.NoError(t, outbox.Close())
		config := repair.Config{Rules: scenarios.RepairRules(scenarios.Window, scenarios.KeepNewest)}
		require.NoError(t, agenda.Repair{Database: db.Config("owner"), Config: config, Mode: agenda.Apply}.Do(t.Context()))
	})
	require.Greater(t, len(made.Objects), 20)
	require.Empty(t, schema.Diff(written, made))
}

// A role is the server's, and not a database's: these run one after another.
func TestTheRoles(t *testing.T) {
	db := servertest.Database(t, "")
	_, err := migrations.Embedded().Apply(t.Context(), db.Config("migrations"), 1)
	require.NoError(t, err)
	owner, err := db.Connect(t.Context(), "owner")
	require.NoError(t, err)
	defer func() { require.NoError(t, owner.Close(context.Background())) }()
	run := func(sql string) {
		t.Helper()
		_, err := owner.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
	}
	run(broken)
	run(`begin; ` + read(t, "role.sql") + `; commit`)
	run(`begin; ` + read(t, "role.sql") + `; commit`) // it may be run again
	as := func() *pgx.ConnConfig {
		config := db.Config("interlock")
		config.User = "interlock"
		return config
	}
	connect := func(t *testing.T) *pgx.Conn {
		conn, err := pgx.ConnectConfig(t.Context(), as())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, conn.Close(context.Background())) })
		return conn
	}
	denied := func(t *testing.T, conn *pgx.Conn, statements ...string) {
		t.Helper()
		for _, sql := range statements {
			_, err := conn.Exec(t.Context(), sql)
			var refused *pgconn.PgError
			require.ErrorAs(t, err, &refused, sql)
			require.Equal(t, "42501", refused.Code, "%s: %v", sql, refused)
		}
	}

	// What no role of these may do, whatever it is a member of.
	never := []string{
		`insert into aedpics.aed_data (equipment_serial) values ('AED-2')`,
		`insert into aedpics.inspection_sessions (equipment_serial, inspector_id) select 'AED-1', 'a11ce000-0000-0000-0000-000000000001'`,
		`insert into aedpics.inspection_schedules (equipment_serial) values ('AED-1')`,
		`update aedpics.aed_data set equipment_serial = 'AED-2'`,
		`update aedpics.inspection_sessions set inspector_id = inspector_id`,
		`update aedpics.inspection_schedules set scheduled_for = now()`,
		`delete from aedpics.inspection_sessions`, `delete from aedpics.inspection_schedules`, `delete from aedpics.aed_data`,
		`truncate aedpics.inspection_schedules`, `alter table aedpics.inspection_schedules add x int`, `drop table aedpics.inspection_schedules`,
		`create index on aedpics.inspection_schedules (id)`, `create table aedpics.x (x int)`, `create schema x`, `create role x`,
		`select from aedpics.user_profiles where email = ''`, `select from aedpics.inspections where id is null`, `select installation_address from aedpics.aed_data`,
		`drop table interlock.notify_watch`, `create table interlock.x (x int)`, `drop table interlock_archive.rows`, `delete from interlock_archive.rows`,
	}

	t.Run("watch", func(t *testing.T) {
		conn := connect(t)
		for _, inv := range scenarios.StateInvariants(scenarios.Window) {
			rows, err := conn.Query(t.Context(), inv.SQL)
			require.NoError(t, err)
			found, err := pgx.CollectRows(rows, pgx.RowToMap)
			require.NoError(t, err, inv.Name)
			require.Len(t, found, 1, inv.Name)
		}
		looked, err := check.Run(t.Context(), check.Config{Invariants: scenarios.StateInvariants(scenarios.Window), Indexes: scenarios.Indexes(scenarios.Window), Plans: true}, as())
		require.NoError(t, err)
		require.Equal(t, history.Violated, looked.Verdict)
		for _, one := range looked.Check.Invariants {
			require.Equal(t, history.Violated, one.Verdict, "%s: %s", one.Invariant, one.Why)
		}
		require.NotEmpty(t, looked.Check.Indexes)
		m, err := monitor.Open(monitor.Config{Database: as(), Watches: scenarios.Watches(scenarios.Window), Indexes: scenarios.Indexes(scenarios.Window)})
		require.NoError(t, err)
		defer m.Close()
		for _, w := range m.Watches() {
			r, err := m.Result(t.Context(), w.Name, 0)
			require.NoError(t, err)
			require.Equal(t, history.Violated, r.Verdict, "%s: %s", w.Name, r.Why)
			require.Equal(t, 1, r.Total, w.Name)
			keysOf := func(sql string, args ...any) []string { // as a look at a part asks
				rows, err := conn.Query(t.Context(), sql, args...)
				require.NoError(t, err)
				keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
				require.NoError(t, err, "%s: %s", w.Name, sql)
				return keys
			}
			keys := keysOf(w.Next, nil, 10)
			require.Len(t, keys, 1)
			require.NotEmpty(t, keysOf(w.Changed, time.Now().Add(-time.Hour)))
			rows, err := conn.Query(t.Context(), w.Some, keys)
			require.NoError(t, err)
			found, err := pgx.CollectRows(rows, pgx.RowToMap)
			require.NoError(t, err, w.Name)
			require.Len(t, found, 1)
		}
		indexes, _, err := m.Indexes(t.Context(), 0)
		require.NoError(t, err)
		require.NotEmpty(t, indexes)
		_, err = conn.Exec(t.Context(), `select min(xact_start) from pg_stat_activity union all select min(prepared) from pg_prepared_xacts`) // what it asks before
		require.NoError(t, err)

		denied(t, conn, never...)
		denied(
			t, conn,
			`update aedpics.inspection_sessions set status = 'cancelled'`, `update aedpics.inspection_schedules set status = 'cancelled'`,
			`select notes from aedpics.inspection_sessions`, `select step_data from aedpics.inspection_sessions`, `select * from aedpics.inspection_schedules`,
			`select from aedpics.aed_data for update`, `select from aedpics.inspection_sessions for share`,
			`select watch from interlock.notify_watch`, `select repair from interlock_archive.rows`, `set role interlock_repair`, `set role interlock_outbox`,
		)
	})

	t.Run("outbox", func(t *testing.T) {
		store := notify.Store{Database: as(), Create: true}
		_, err := notify.Open(t.Context(), store)
		require.ErrorIs(t, err, notify.ErrNoRight)
		require.ErrorContains(t, err, `try: grant interlock_outbox to "interlock"`)
		store.File = filepath.Join(t.TempDir(), "outbox.json")
		file, err := notify.Open(t.Context(), store)
		require.NoError(t, err, "there is a file")
		require.NoError(t, file.Close())

		run(`grant interlock_outbox to interlock`)
		defer run(`revoke interlock_outbox from interlock`)
		got := make(chan string, 10)
		receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { got <- q.Header.Get(notify.EventHeader) }))
		defer receiver.Close()
		outbox, err := notify.Open(t.Context(), notify.Store{Database: as()})
		require.NoError(t, err)
		defer outbox.Close()
		n, err := notify.New(notify.Config{
			Destinations: []notify.Destination{{Name: "desk", Kind: notify.Webhook, URL: notify.Hidden(receiver.URL), Secret: "a secret that is long enough"}},
		}, outbox)
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		require.NoError(t, n.Observe(t.Context(), monitor.Result{
			Watch: scenarios.Watches(scenarios.Window)[0], Verdict: history.Violated, Checked: time.Now(), Groups: []monitor.Group{{Key: "AED-1", Members: 2}}, Total: 1, Members: 2,
		}))
		require.Equal(t, string(notify.Broke), <-got)
		require.Eventually(t, func() bool {
			var left int
			require.NoError(t, owner.QueryRow(t.Context(), `select count(*) from interlock.notify_message`).Scan(&left))
			return left == 0
		}, 30*time.Second, 5*time.Millisecond, "its end is written")
		stop()
		require.ErrorIs(t, <-ended, context.Canceled)
		denied(t, connect(t), never...)
	})

	t.Run("repair", func(t *testing.T) {
		run(`grant interlock_repair to interlock`)
		defer run(`revoke interlock_repair from interlock`)
		config := repair.Config{Rules: scenarios.RepairRules(scenarios.Window, scenarios.KeepNewest)}
		var done history.Run
		job := agenda.Repair{Database: as(), Config: config, Done: func(run history.Run) error { done = run; return nil }}
		for _, job.Mode = range []agenda.Mode{agenda.DryRun, agenda.Apply} {
			require.NoError(t, job.Do(t.Context()))
			require.Len(t, done.Repair.Groups, 2)
		}
		require.Equal(t, history.Held, done.Verdict)
		for _, g := range done.Repair.Groups {
			require.Equal(t, history.RepairResolved, g.State, g.Why)
		}
		conn := connect(t)
		denied(t, conn, never...)

		undone, err := repair.Undo(t.Context(), config, done.Repair.ID, as())
		require.NoError(t, err)
		require.Equal(t, 2, undone.Repair.Undone.Restored)
	})

	t.Run("no member of anything", func(t *testing.T) {
		run(`revoke interlock_watch from interlock`)
		defer run(`grant interlock_watch to interlock`)
		conn := connect(t)
		for _, inv := range scenarios.StateInvariants(scenarios.Window) {
			_, err := conn.Exec(t.Context(), inv.SQL)
			var refused *pgconn.PgError
			require.True(t, errors.As(err, &refused) && refused.Code == "42501", "%s: %v", inv.Name, err)
		}
	})
}
