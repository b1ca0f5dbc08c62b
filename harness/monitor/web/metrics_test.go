package web

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/monitor"
)

func TestMetrics(t *testing.T) {
	from := newMemory()
	from.set(sessions, open(1, 3)...)
	from.fail("timeout")
	s := site(t, from, func(c *Config) { c.now = func() time.Time { return start.Add(2 * time.Minute) } })
	ask(t, s, get("/nothing").as(readOnly))
	ask(t, s, question{method: "BREW", target: "/healthz"})
	w := ask(t, s, get("/metrics", "Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1").as(readOnly))
	require.True(t, strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4"), w.Header())
	text := w.Body.String()
	for _, line := range []string{
		`interlock_violations{invariant="S1",name="duplicate-sessions"} 3`,
		`interlock_violations{invariant="S2",name="duplicate-schedules"} 0`,
		`interlock_violating_rows{invariant="S1",name="duplicate-sessions"} 6`,
		`interlock_verdict{invariant="S1",name="duplicate-sessions",verdict="violated"} 1`,
		`interlock_verdict{invariant="S1",name="duplicate-sessions",verdict="held"} 0`,
		`interlock_verdict{invariant="S2",name="duplicate-schedules",verdict="unknown"} 1`,
		`interlock_check_duration_seconds{invariant="S1",name="duplicate-sessions"} 0.014`,
		`interlock_check_lag_seconds{invariant="S1",name="duplicate-sessions"} 60`,
		`interlock_check_lag_seconds{invariant="S2",name="duplicate-schedules"} 120`,
		`interlock_check_success_timestamp_seconds{invariant="S2",name="duplicate-schedules"} 1.7942976e+09`,
		`interlock_check_whole_timestamp_seconds{invariant="S1",name="duplicate-sessions"} 1.79429766e+09`,
		`interlock_index_scans_total{index="idx_inspection_sessions_active_session_per_equipment",protects="S1",table="aedpics.inspection_sessions"} 12034`,
		`interlock_index_valid{index="inspection_schedules_no_overlap_30min",protects="S2",table="aedpics.inspection_schedules"} 0`,
		`interlock_ready 1`, `interlock_database_connected 1`, `interlock_last_success_timestamp_seconds`,
		`interlock_build_info{goversion="go1.`, `version="0.9.0-test"} 1`,
		`interlock_http_requests_total{code="404",method="GET",path="other"} 1`,
		`interlock_http_requests_total{code="405",method="other",path="/healthz"} 1`,
		"go_goroutines ", "process_cpu_seconds_total ",
	} {
		require.True(t, strings.Contains(text, line), line)
	}
	require.NotContains(t, text, "replica_lag", "it is no replica")
	from.health.Replica, from.health.Lag = true, 90*time.Second
	require.Contains(t, ask(t, s, get("/metrics").as(readOnly)).Body.String(), "interlock_replica_lag_seconds 90")
	from.health.Connected = false
	require.NotContains(t, ask(t, s, get("/metrics").as(readOnly)).Body.String(), "interlock_replica_lag_seconds", "nobody knows how far it is behind by now")
	from.change(sessions, func(r *monitor.Result) { r.Whole = time.Time{} })
	require.NotContains(t, ask(t, s, get("/metrics").as(readOnly)).Body.String(), `interlock_check_whole_timestamp_seconds{invariant="S1"`)
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)

	// What nobody has counted has no number.
	none := newMemory()
	none.forget()
	text = ask(t, site(t, none, nil), get("/metrics").as(readOnly)).Body.String()
	require.NotContains(t, text, "interlock_violations{")
	require.NotContains(t, text, "interlock_index_")
	require.Contains(t, text, `interlock_verdict{invariant="S1",name="duplicate-sessions",verdict="unknown"} 1`)
	require.Contains(t, text, "interlock_ready 0")
}
