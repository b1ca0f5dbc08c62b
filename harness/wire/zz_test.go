package wire_test

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire"
)

func BenchmarkZZ(b *testing.B) {
	db := servertest.Database(b, "")
	var released *wire.Session
	variants := map[string]*wire.Config{
		"direct": nil, "no-split": {}, "not-held": {Split: true, Hold: func(wire.Step) bool { return false }},
		"released": {Split: true, Events: func(e wire.Event) {
			if e.Kind == wire.Held {
				released.Release(e.Step.Index)
			}
		}},
	}
	mode := pgx.QueryExecModeCacheStatement
	if os.Getenv("ZZMODE") == "simple" {
		mode = pgx.QueryExecModeSimpleProtocol
	}
	for _, name := range []string{"direct", "no-split", "not-held", "released"} {
		if v := os.Getenv("ZZ"); v != "" && v != name {
			continue
		}
		b.Run(name, func(b *testing.B) {
			config := db.Config(name)
			config.DefaultQueryExecMode = mode
			if c := variants[name]; c != nil {
				g := wire.New(*c)
				defer g.Close()
				g.Attach(&config.Config, name)
			}
			conn, err := pgx.ConnectConfig(b.Context(), config)
			require.NoError(b, err)
			defer conn.Close(context.Background())
			released = wire.SessionOf(conn.PgConn())
			one := func() {
				var n int
				if err := conn.QueryRow(b.Context(), "select 1").Scan(&n); err != nil {
					b.Fatal(err)
				}
			}
			for range 200 {
				one()
			}
			var before, after syscall.Rusage
			took := make([]float64, 0, b.N)
			syscall.Getrusage(syscall.RUSAGE_SELF, &before)
			b.ReportAllocs()
			for b.Loop() {
				start := time.Now()
				one()
				took = append(took, float64(time.Since(start).Nanoseconds())/1000)
			}
			syscall.Getrusage(syscall.RUSAGE_SELF, &after)
			n := float64(len(took))
			cpu := func(r syscall.Rusage) float64 {
				return float64(r.Utime.Nano()+r.Stime.Nano()) / 1000
			}
			b.ReportMetric((cpu(after)-cpu(before))/n, "cpu-µs")
			b.ReportMetric(float64(after.Nvcsw-before.Nvcsw)/n, "nvcsw")
			slices.Sort(took)
			b.ReportMetric(took[len(took)/100], "p1-µs")
			b.ReportMetric(took[len(took)/10], "p10-µs")
			b.ReportMetric(took[len(took)/2], "p50-µs")
		})
	}
}
