package scenarios

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/check"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/repair"
)

// BenchmarkCheck looks at S1 and S2 on a large database: INTERLOCK_BENCH_ROWS schedules (1,000,000 where it is not set), 1,000 of which are in the
// way of another one, and a tenth as many sessions.
func BenchmarkCheck(b *testing.B) {
	rows := 1_000_000
	if text := os.Getenv("INTERLOCK_BENCH_ROWS"); text != "" {
		var err error
		rows, err = strconv.Atoi(text)
		require.NoError(b, err)
	}
	template, err := templates[2]()
	require.NoError(b, err)
	db, err := template.Database(b.Context())
	require.NoError(b, err)
	conn, err := db.Connect(b.Context(), "bench")
	require.NoError(b, err)
	for _, sql := range []string{
		`set session_replication_role = replica`, // ten million references need not be looked up
		`insert into aedpics.user_profiles (full_name) values ('Kim')`,
		`insert into aedpics.aed_data (id, equipment_serial) select n, 'AED-' || n from generate_series(1, $1::int / 100) n`,
		`insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for, status)
			select device, 'AED-' || device, timestamptz '2025-01-01 00:00Z' + hour * interval '1 hour'
				- case when hour = 50 and device % greatest($1::int / 100000, 1) = 0 then interval '45 minutes' else interval '0' end,
				(case when hour % 10 = 3 then 'cancelled' else 'scheduled' end)::aedpics.schedule_status
			from generate_series(1, $1::int / 100) device, generate_series(1, 100) hour`,
		`insert into aedpics.inspection_sessions (equipment_serial, inspector_id, status)
			select 'AED-' || 1 + n % ($1::int / 100), u.id, (case when n <= $1::int / 100 then 'active' else 'completed' end)::aedpics.session_status
			from aedpics.user_profiles u, generate_series(1, $1::int / 10) n`,
		`vacuum analyze`,
	} {
		args := []any{rows}
		if !strings.Contains(sql, "$1") {
			args = nil
		}
		_, err := conn.Exec(b.Context(), sql, args...)
		require.NoError(b, err, sql)
	}
	require.NoError(b, conn.Close(b.Context()))

	for b.Loop() {
		run, err := check.Run(b.Context(), check.Config{Invariants: StateInvariants(Window), Indexes: Indexes(Window), Plans: true}, db.Config("check"))
		require.NoError(b, err)
		require.Equal(b, history.Violated, run.Verdict)
		for _, one := range run.Check.Invariants {
			b.ReportMetric(time.Duration(one.Elapsed).Seconds(), one.Invariant+"-s")
			b.Logf("%s: %d rows of %d schedules break it, in %s\n%s", one.Invariant, one.Rows.Total, rows, one.Elapsed.Short(), one.Plan)
		}
	}
	require.NoError(b, db.Drop(b.Context()))
}

// BenchmarkRepair checks and repairs a database of INTERLOCK_BENCH_SESSIONS sessions, such as 1000000, with a pair of open ones on one device for every
// twenty sessions. It is skipped where that is not set.
func BenchmarkRepair(b *testing.B) {
	sessions, err := strconv.Atoi(os.Getenv("INTERLOCK_BENCH_SESSIONS"))
	if err != nil {
		b.Skip("set INTERLOCK_BENCH_SESSIONS to a number of sessions, such as 1000000")
	}
	template, err := templates[1]()
	require.NoError(b, err)
	for b.Loop() {
		db, err := template.Database(b.Context())
		require.NoError(b, err)
		conn, err := db.Connect(b.Context(), "bench")
		require.NoError(b, err)
		for _, sql := range []string{
			`set session_replication_role = replica`, // a million references need not be looked up
			`insert into aedpics.user_profiles (full_name) values ('Kim')`,
			`insert into aedpics.aed_data (id, equipment_serial) select n, 'AED-' || n from generate_series(1, $1::int / 10) n`,
			`insert into aedpics.inspection_sessions (equipment_serial, inspector_id, status, started_at, step_data)
				select 'AED-' || device, u.id, (case when n = 9 or n = 8 and device % 2 = 0 then 'active' else 'completed' end)::aedpics.session_status,
					timestamptz '2025-01-01 00:00Z' + n * interval '1 day', '{"steps": [1, 2, 3], "remarks": "none"}'
				from aedpics.user_profiles u, generate_series(1, $1::int / 10) device, generate_series(0, 9) n`,
			`vacuum analyze`,
		} {
			args := []any{sessions}
			if !strings.Contains(sql, "$1") {
				args = nil
			}
			_, err := conn.Exec(b.Context(), sql, args...)
			require.NoError(b, err, sql)
		}
		require.NoError(b, conn.Close(b.Context()))

		looked, err := check.Run(b.Context(), check.Config{Invariants: StateInvariants(Window)}, db.Config("check"))
		require.NoError(b, err)
		groups := looked.Check.Invariants[0].Groups
		config := repair.Config{Rules: RepairRules(Window, KeepNewest)}
		plan, err := repair.Find(b.Context(), config, db.Config("repair"))
		require.NoError(b, err)
		applied, err := repair.Apply(b.Context(), config, *plan.Repair, false, db.Config("repair"))
		require.NoError(b, err)
		require.Equal(b, history.Held, applied.Verdict)
		undone, err := repair.Undo(b.Context(), config, applied.Repair.ID, db.Config("repair"))
		require.NoError(b, err)
		require.Equal(b, groups.Total, undone.Repair.Undone.Restored)
		b.ReportMetric(float64(groups.Total), "groups")
		for name, took := range map[string]history.Duration{"check": looked.Elapsed, "plan": plan.Elapsed, "apply": applied.Elapsed, "undo": undone.Elapsed} {
			b.ReportMetric(time.Duration(took).Seconds(), name+"-s")
		}
		require.NoError(b, db.Drop(b.Context()))
	}
}
