package load_test

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/load"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/migrations"
	"github.com/interlock-pg/interlock/scenarios"
)

// BenchmarkBaseline compares runs of inspectors' sessions with the one before, and runs in which opening a session takes a fifth longer with the one
// beside it. "false-alarms" is the share of the former that are called slower in any kind of operation, "caught" that of the latter in which that is.
func BenchmarkBaseline(b *testing.B) {
	all := scenarios.Workloads(scenarios.Options{})
	sessions := all[slices.IndexFunc(all, func(w race.Workload) bool { return w.Name == "sessions" && w.Variant == "constraint" })]
	template, err := servertest.Server(b).Template(b.Context(), func(ctx context.Context, config *pgx.ConnConfig) error {
		_, err := migrations.Embedded().Apply(ctx, config, 3)
		return err
	})
	require.NoError(b, err)
	measured := func(slower float64) history.Measurement {
		m, err := load.Run(b.Context(), load.Config{
			Server: servertest.Server(b), Subjects: []load.Subject{{Workload: slowed(sessions, slower), At: 3, Template: template}}, For: 20 * time.Second, Slice: 100 * time.Millisecond,
		})
		require.NoError(b, err)
		return m
	}
	slow := func(now, then history.Measurement) (kinds []string) {
		for _, a := range load.Compare(now, then, "", 0.05).Against {
			b.Logf("%s %.2f (%.2f–%.2f) %s", a.Kind, a.Latency.Value, a.Latency.Low, a.Latency.High, a.Verdict)
			if a.Verdict == history.Violated {
				kinds = append(kinds, a.Kind)
			}
		}
		return kinds
	}
	alarms, caught, runs := 0.0, 0.0, 0.0
	then := measured(0)
	for b.Loop() {
		same, more := measured(0), measured(0.2)
		runs++
		if len(slow(same, then)) > 0 {
			alarms++
		}
		if slices.Contains(slow(more, same), opening) {
			caught++
		}
		then = same
	}
	b.ReportMetric(alarms/runs, "false-alarms")
	b.ReportMetric(caught/runs, "caught")
}

// opening is the kind of operation that is slowed.
const opening = "create session"

// late is how much later than asked for a sleep ends, usually.
const late = 100 * time.Microsecond

// slowed has whatever opens a session take longer by such a part of the time that it takes.
func slowed(w race.Workload, part float64) race.Workload {
	return wrapped(w, func(_ int, op race.Operation) race.Operation {
		if do := op.Do; op.Kind == opening && part > 0 {
			op.Do = func(ctx context.Context, conn *pgx.Conn) race.Answer {
				began := time.Now()
				answer := do(ctx, conn)
				until := time.Since(began) * time.Duration(100*(1+part)) / 100
				time.Sleep(until - time.Since(began) - late)
				for time.Since(began) < until {
					runtime.Gosched()
				}
				return answer
			}
		}
		return op
	})
}
