package deploy_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/check"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/repair"
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
		var since *string // of what a look in part asks
		require.NoError(t, conn.QueryRow(t.Context(), `select least(clock_timestamp(), (select min(xact_start) from pg_stat_activity),
			(select min(prepared) from pg_prepared_xacts))::text`).Scan(&since))

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
		run(`grant interlock_outbox to interlock`)
		defer run(`revoke interlock_outbox from interlock`)
		conn := connect(t)
		for _, sql := range []string{
			`insert into interlock.notify_watch (watch) values ('w') on conflict do nothing`,
			`select state from interlock.notify_watch where watch = 'w' for update`,
			`update interlock.notify_watch set state = '{}' where watch = 'w'`,
			`insert into interlock.notify_message (destination, watch, dead, message) values ('team', 'w', false, '{}')`,
			`select seq, message from interlock.notify_message where watch = 'w' order by seq for update`,
			`update interlock.notify_message set dead = true, message = '{}'`,
			`delete from interlock.notify_message`,
			`insert into interlock.notify_destination (destination) values ('team') on conflict do nothing`,
			`select leased_until from interlock.notify_destination for update skip locked`,
			`update interlock.notify_destination set claim = null, leased_until = null`,
		} {
			_, err := conn.Exec(t.Context(), sql)
			require.NoError(t, err, sql)
		}
		denied(t, conn, never...)
	})

	t.Run("repair", func(t *testing.T) {
		run(`grant interlock_repair to interlock`)
		defer run(`revoke interlock_repair from interlock`)
		config := repair.Config{Rules: scenarios.RepairRules(scenarios.Window, scenarios.KeepNewest)}
		plan, err := repair.Find(t.Context(), config, as())
		require.NoError(t, err)
		require.Len(t, plan.Repair.Groups, 2)
		done, err := repair.Apply(t.Context(), config, *plan.Repair, true, as())
		require.NoError(t, err)
		require.Equal(t, history.Held, done.Verdict)
		for _, g := range done.Repair.Groups {
			require.Equal(t, history.RepairResolved, g.State, g.Why)
		}
		conn := connect(t)
		var mine bool
		require.NoError(t, conn.QueryRow(t.Context(), `select pg_try_advisory_lock(hashtextextended('interlock repair', 0))`).Scan(&mine))
		require.True(t, mine)
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
