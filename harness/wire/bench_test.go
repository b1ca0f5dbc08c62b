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

// BenchmarkGate times SELECT 1 directly, through a gate that only looks, and through one that splits and releases at once. Rounds of the three
// take turns, so that what else the machine does falls on all of them; p50 is the median of the rounds' medians, best the
// least of them, which is what the machine can do when nobody else is at it.
func BenchmarkGate(b *testing.B) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol} {
		b.Run(mode.String(), func(b *testing.B) {
			db := servertest.Database(b, "")
			variants := []struct {
				name string
				gate *wire.Config
			}{
				{"direct", nil},
				{"no-split", &wire.Config{}},
				{"split", &wire.Config{Split: true, Hold: func(wire.Step) bool { return false }}},
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
				conns[i] = conn
			}
			const perRound = 300
			took := make([]time.Duration, perRound)
			medians := make([][]time.Duration, len(variants))
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
			rounds := 0
			for b.Loop() {
				rounds++
				for i, conn := range conns {
					for n := range took {
						start := time.Now()
						one(conn)
						took[n] = time.Since(start)
					}
					slices.Sort(took)
					medians[i] = append(medians[i], took[perRound/2])
				}
			}
			for i, v := range variants {
				slices.Sort(medians[i])
				b.ReportMetric(float64(medians[i][len(medians[i])/2].Nanoseconds())/1000, fmt.Sprintf("p50-µs-%s", v.name))
				b.ReportMetric(float64(medians[i][0].Nanoseconds())/1000, fmt.Sprintf("best-µs-%s", v.name))
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
