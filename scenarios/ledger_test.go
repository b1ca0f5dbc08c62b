package scenarios

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// explain returns how Postgres would run a query.
func (b bench) explain(sql string) string {
	b.Helper()
	rows, err := b.conn.Query(b.ctx, `explain (costs off) `+sql)
	require.NoError(b, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b, err)
	return strings.Join(lines, "\n")
}

// S5 of many answers compares no answer with every row: its joins are hashed or merged.
func TestS5OfMany(t *testing.T) {
	servertest.Slow(t)
	b := setup(t, 2) // where nothing keeps visits apart
	const many = 20_000
	require.NoError(t, newStage(harness.Shape{Rows: 4000, Devices: 100}).fill(b.ctx, b.conn))
	b.exec(race.OutcomesTable)
	for _, sql := range []string{
		`insert into aedpics.inspection_sessions (id, equipment_serial, inspector_id, status)
			select md5('session ' || i)::uuid, equipment_serial, '` + userID(0) + `', (case when i % 10 < 8 then 'completed' else 'cancelled' end)::aedpics.session_status
			from generate_series(1, $1::int) i join aedpics.aed_data d on d.id = 1001 + i % 100`,
		`insert into aedpics.inspections (session_id, inspector_id, equipment_serial)
			select id, inspector_id, equipment_serial from aedpics.inspection_sessions
			where status = 'completed' and id::text not like '` + startSessions + `%' and $1::int > 0`,
		`insert into interlock_outcomes (client, number, kind, subject, outcome, row_id, attempts, invoked, returned)
			select '0', i * 10 + k, kind || ' session', filled.equipment_serial, outcome, case when k < 2 then md5('session ' || i)::uuid::text end, 1, i * 10 + k, i * 10 + k
			from generate_series(1, $1::int) i join aedpics.aed_data filled on filled.id = 1001 + i % 100, lateral (values
				(0, 'create', 'created'), (1, case when i % 10 < 8 then 'complete' else 'cancel' end, 'done'), (2, 'create', case when i % 100 = 0 then 'unknown' else 'conflict' end)
			) told (k, kind, outcome)`,
		`insert into aedpics.inspection_schedules (id, aed_data_id, equipment_serial, scheduled_for, status)
			select md5('schedule ' || i)::uuid, 1001 + i % 100, '', timestamptz '2025-11-10 10:00Z' + i * interval '1 minute',
				(case when i % 10 > 0 then 'cancelled' else 'scheduled' end)::aedpics.schedule_status
			from generate_series(1, $1::int) i`,
		`insert into interlock_outcomes (client, number, kind, subject, input, outcome, row_id, attempts, invoked, returned)
			select '1', i * 10 + k, kind || ' schedule', 1001 + i % 100, jsonb_build_object('scheduled_for', timestamptz '2025-11-10 10:00Z' + (i + plus) * interval '1 minute'),
				outcome, case when k < 3 then md5('schedule ' || i)::uuid::text end, 1, i * 10 + k, i * 10 + k
			from generate_series(1, $1::int) i, lateral (values
				(0, 'create', 30, 'created'), (1, 'reschedule', 0, 'done'), (2, 'cancel', 0, case when i % 10 > 0 then 'done' else 'unknown' end),
				(3, 'create', 0, case when i % 100 = 0 then 'unknown' else 'conflict' end)
			) told (k, kind, plus, outcome)`,
	} {
		b.exec(sql, many)
	}
	b.exec(`analyze`)

	for name, inv := range map[string]harness.Invariant{"sessions": s5Sessions(), "schedules": s5Schedules()} {
		broken, err := inv.Offending(b.ctx, b.conn)
		require.NoError(t, err)
		require.Empty(t, broken.Rows, name)
		plan := b.explain(inv.SQL)
		require.NotContains(t, plan, "Nested Loop", name)
		require.NotContains(t, plan, "SubPlan", name)
	}
	require.Contains(t, b.explain(`select from interlock_outcomes o where not exists (
		select from aedpics.inspection_sessions s where s.id::text = o.row_id or s.equipment_serial = o.subject)`), "Nested Loop", "what it would look like")
	b.exec(`delete from interlock_outcomes where number = 10 * 77 or outcome = 'unknown'`) // what would excuse it
	for _, inv := range []harness.Invariant{s5Sessions(), s5Schedules()} {
		broken, err := inv.Offending(b.ctx, b.conn)
		require.NoError(t, err)
		require.Equal(t, 1, broken.Total)
		require.Equal(t, "there, but not acknowledged", *broken.Rows[0][0])
	}
}
