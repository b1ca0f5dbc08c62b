package scenarios

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
	"github.com/interlock-pg/interlock/harness/server"
)

// BenchmarkWatch watches a database of INTERLOCK_BENCH_SESSIONS sessions, such as 1000000, of which 52 devices have two that are open, and of ten times
// as many schedules, of which as many devices have two that are too close: after migration 1, which has no index for either. Of each it says how
// long a cold look at everything took, the median of looks in part, and an answer from memory took; and what of the process's memory is in use. It is
// skipped where that is not set.
func BenchmarkWatch(b *testing.B) {
	sessions, err := strconv.Atoi(os.Getenv("INTERLOCK_BENCH_SESSIONS"))
	if err != nil {
		b.Skip("set INTERLOCK_BENCH_SESSIONS to a number of sessions, such as 1000000")
	}
	const groups = 52
	for _, migration := range []int64{1, 2} {
		b.Run("migration "+strconv.FormatInt(migration, 10), func(b *testing.B) {
			template, err := templates[migration]()
			require.NoError(b, err)
			db, err := template.Database(b.Context())
			require.NoError(b, err)
			fillLarge(b, db, sessions, groups, migration == 1)

			config := monitor.Config{Database: db.Config("monitor"), Watches: Watches(Window)}
			m, err := monitor.Open(config)
			require.NoError(b, err)
			wanted := map[string]int{"duplicate-sessions": groups, "duplicate-schedules": groups}
			if migration == 2 {
				wanted["duplicate-sessions"] = 0
			}
			for b.Loop() {
				for _, w := range m.Watches() {
					cold, err := m.Result(b.Context(), w.Name, -1)
					require.NoError(b, err)
					require.NotEqual(b, history.Unknown, cold.Verdict, cold.Why)
					require.False(b, cold.Partial)
					require.Equal(b, wanted[w.Name], cold.Total)
					b.ReportMetric(cold.Took.Seconds()*1000, w.Name+"-cold-ms")
					var parts, whole []time.Duration
					for range 40 {
						r, err := m.Result(b.Context(), w.Name, 0)
						require.NoError(b, err)
						require.Equal(b, wanted[w.Name], r.Total)
						if r.Partial {
							parts = append(parts, r.Took)
						} else {
							whole = append(whole, r.Took)
						}
					}
					if len(parts) > 0 {
						b.ReportMetric(median(parts).Seconds()*1000, w.Name+"-part-ms")
						b.ReportMetric(parts[len(parts)-1].Seconds()*1000, w.Name+"-part-worst-ms")
					}
					if len(whole) > 0 {
						b.ReportMetric(median(whole).Seconds()*1000, w.Name+"-warm-ms")
					}
					const answers = 100_000
					began := time.Now()
					for range answers {
						if _, err := m.Result(b.Context(), w.Name, time.Hour); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(time.Since(began).Nanoseconds())/answers, w.Name+"-cached-ns")
				}
			}
			b.ReportMetric(resident(b, "VmRSS:"), "resident-MB")
			b.ReportMetric(resident(b, "VmHWM:"), "most-resident-MB")
			b.ReportMetric(heapMB(), "heap-MB")
			m.Close()
			require.NoError(b, db.Drop(b.Context()))
		})
	}
}

// BenchmarkWatchManyGroups has 50,000 devices with two open sessions each.
func BenchmarkWatchManyGroups(b *testing.B) {
	template, err := templates[1]()
	require.NoError(b, err)
	db, err := template.Database(b.Context())
	require.NoError(b, err)
	const groups = 50_000
	fillLarge(b, db, 10*groups, groups, true)
	m, err := monitor.Open(monitor.Config{Database: db.Config("monitor"), Watches: Watches(Window)})
	require.NoError(b, err)
	for b.Loop() {
		for _, w := range m.Watches() {
			r, err := m.Result(b.Context(), w.Name, 0)
			require.NoError(b, err)
			require.Equal(b, groups, r.Total)
			require.Len(b, r.Groups, 10_000)
			b.ReportMetric(r.Took.Seconds()*1000, w.Name+"-ms")
		}
	}
	b.ReportMetric(heapMB(), "heap-MB")
	b.ReportMetric(resident(b, "VmRSS:"), "resident-MB")
	b.ReportMetric(resident(b, "VmHWM:"), "most-resident-MB")
	m.Close()
	require.NoError(b, db.Drop(b.Context()))
}

// fillLarge makes ten sessions and a hundred schedules for each device.
func fillLarge(b *testing.B, db *server.Database, sessions, groups int, duplicates bool) {
	conn, err := db.Connect(b.Context(), "bench")
	require.NoError(b, err)
	for _, sql := range []string{
		`set session_replication_role = replica`, // ten million references need not be looked up
		`insert into aedpics.user_profiles (full_name) values ('Kim')`,
		`insert into aedpics.aed_data (id, equipment_serial) select n, 'AED-' || n from generate_series(1, $1::int / 10) n`,
		`insert into aedpics.inspection_sessions (equipment_serial, inspector_id, status, started_at, step_data)
			select 'AED-' || device, u.id, (case when n = 9 or n = 8 and device <= $2::int and $3::boolean then 'active' else 'completed' end)::aedpics.session_status,
				timestamptz '2025-01-01 00:00Z' + n * interval '1 day', '{"steps": [1, 2, 3], "remarks": "none"}'
			from aedpics.user_profiles u, generate_series(0, 9) n, generate_series(1, $1::int / 10) device`,
		`insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for, status)
			select device, 'AED-' || device, timestamptz '2025-01-01 00:00Z' + hour * interval '1 hour'
				- case when hour = 50 and device <= $2::int and ($3::boolean or true) then interval '45 minutes' else interval '0' end,
				(case when hour % 10 = 3 then 'cancelled' else 'scheduled' end)::aedpics.schedule_status
			from generate_series(1, 100) hour, generate_series(1, $1::int / 10) device`,
		`vacuum analyze`,
	} {
		args := []any{sessions, groups, duplicates}
		if n := strings.Count(sql, "$"); n < 3 {
			args = args[:n]
		}
		_, err := conn.Exec(b.Context(), sql, args...)
		require.NoError(b, err, sql)
	}
	require.NoError(b, conn.Close(b.Context()))
}

// resident returns the megabytes of memory that the process has (VmRSS:), or had at most (VmHWM:); 0, where the system does not tell.
func resident(b *testing.B, which string) float64 {
	content, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(content)) {
		if rest, found := strings.CutPrefix(line, which); found {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			require.NoError(b, err)
			return float64(kb) / 1024
		}
	}
	return 0
}

// heapMB returns the megabytes that objects take.
func heapMB() float64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc) / (1 << 20)
}

func median(of []time.Duration) time.Duration {
	slices.Sort(of)
	return of[len(of)/2]
}
