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
		run, err := check.Run(b.Context(), check.Config{Invariants: StateInvariants(Window), Indexes: Indexes(), Plans: true}, db.Config("check"))
		require.NoError(b, err)
		require.Equal(b, history.Violated, run.Verdict)
		for _, one := range run.Check.Invariants {
			b.ReportMetric(time.Duration(one.Elapsed).Seconds(), one.Invariant+"-s")
			b.Logf("%s: %d rows of %d schedules break it, in %s\n%s", one.Invariant, one.Rows.Total, rows, one.Elapsed.Short(), one.Plan)
		}
	}
	require.NoError(b, db.Drop(b.Context()))
}
