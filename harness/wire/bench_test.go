package wire_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire"
)

// BenchmarkGate times SELECT 1: directly; through a gate that only looks; through one that splits and holds nothing; through one of which every
// step is released as soon as it is told to be held. Rounds of these take turns, so that what else the machine does falls on all of them. Of the
// rounds' medians, p50 is the median and best the least, which is what the machine can do when nobody else is at it. The gate's cost is the median of the
// differences to direct within a round.
func BenchmarkGate(b *testing.B) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol} {
		b.Run(mode.String(), func(b *testing.B) {
			db := servertest.Database(b, "")
			var released *wire.Session
			variants := []struct {
				name string
				gate *wire.Config
			}{
				{"direct", nil},
				{"no-split", &wire.Config{}},
				{"not-held", &wire.Config{Split: true, Hold: func(wire.Step) bool { return false }}},
				{"released", &wire.Config{Split: true, Events: func(e wire.Event) {
					if e.Kind == wire.Held {
						released.Release(e.Step.Index)
					}
				}}},
			}
			conns := make([]*pgx.Conn, len(variants))
			for i, v := range variants {
				config := db.Config(v.name)
				config.DefaultQueryExecMode = mode
				if v.gate != nil {
					g := wire.New(*v.gate)
					defer g.Close()
					g.Attach(&config.Config, v.name)
				}
				conn, err := pgx.ConnectConfig(b.Context(), config)
				require.NoError(b, err)
				defer conn.Close(context.Background())
				conns[i], released = conn, wire.SessionOf(conn.PgConn())
			}
			one := func(conn *pgx.Conn) {
				var n int
				if err := conn.QueryRow(b.Context(), "select 1").Scan(&n); err != nil {
					b.Fatal(err)
				}
			}
			for _, conn := range conns {
				for range 200 {
					one(conn)
				}
			}
			took := make([]float64, 100)
			medians, costs := make([][]float64, len(variants)), make([][]float64, len(variants))
			for b.Loop() {
				for i, conn := range conns {
					for n := range took {
						start := time.Now()
						one(conn)
						took[n] = float64(time.Since(start).Nanoseconds()) / 1000
					}
					medians[i] = append(medians[i], median(took))
				}
				for i := range variants {
					last := len(medians[i]) - 1
					costs[i] = append(costs[i], medians[i][last]-medians[0][last])
				}
			}
			for i, v := range variants {
				b.ReportMetric(slices.Min(medians[i]), fmt.Sprintf("%s-best-µs", v.name))
				b.ReportMetric(median(medians[i]), fmt.Sprintf("%s-p50-µs", v.name))
				if v.gate != nil {
					b.ReportMetric(median(costs[i]), fmt.Sprintf("%s-cost-µs", v.name))
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
