package wire_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire"
)

// BenchmarkGate times SELECT 1: directly; through a gate that only looks; through one that splits and holds nothing; through one of which every
// step is released as soon as it is told to be held. A split costs a second round trip, whoever makes it: once and twice are the same statement
// sent by hand, in one round trip and in two.
//
// Rounds take turns, so that what else the machine does falls on all of them. Of the rounds' medians, p50 is the median and best the least,
// which is what the machine can do when nobody else is at it. Cost is the difference to direct, and second that of twice to once.
func BenchmarkGate(b *testing.B) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol} {
		b.Run(mode.String(), func(b *testing.B) {
			db := servertest.Database(b, "")
			var released *wire.Session
			query := func(name string, gate *wire.Config) func() {
				config := db.Config(name)
				config.DefaultQueryExecMode = mode
				if gate != nil {
					g := wire.New(*gate)
					b.Cleanup(func() { require.NoError(b, g.Close()) })
					g.Attach(&config.Config, name)
				}
				conn, err := pgx.ConnectConfig(b.Context(), config)
				require.NoError(b, err)
				b.Cleanup(func() { conn.Close(context.Background()) })
				if name == "released" {
					released = wire.SessionOf(conn.PgConn())
				}
				return func() {
					var n int
					if err := conn.QueryRow(b.Context(), "select 1").Scan(&n); err != nil {
						b.Fatal(err)
					}
				}
			}
			hand := dial(b, db.Config("by hand"), nil)
			b.Cleanup(func() { hand.Close() })
			buffer := make([]byte, 1000)
			send := func(lines ...string) func() {
				var p []byte
				for _, line := range lines {
					p = append(p, message(b, line)...)
				}
				return func() {
					if _, err := hand.Write(p); err != nil {
						b.Fatal(err)
					}
					if _, err := hand.Read(buffer); err != nil { // which is so little that it comes at once
						b.Fatal(err)
					}
				}
			}
			send("P s select 1", "S")()
			execute, sync := send("B - s", "E -", "H"), send("S")

			variants := []struct {
				name string
				run  func()
			}{
				{"direct", query("direct", nil)},
				{"no-split", query("no-split", &wire.Config{})},
				{"not-held", query("not-held", &wire.Config{Split: true, Hold: func(wire.Step) bool { return false }})},
				{"released", query("released", &wire.Config{Split: true, Events: func(e wire.Event) {
					if e.Kind == wire.Held && released != nil {
						released.Release(e.Step.Index)
					}
				}})},
				{"once", send("B - s", "E -", "S")},
				{"twice", func() { execute(); sync() }},
			}
			medians := make([][]float64, len(variants))
			round := func(run func()) float64 {
				took := make([]float64, 100)
				for n := range took {
					start := time.Now()
					run()
					took[n] = float64(time.Since(start).Nanoseconds()) / 1000
				}
				return median(took)
			}
			for _, v := range variants {
				round(v.run)
			}
			for b.Loop() {
				for i, v := range variants {
					medians[i] = append(medians[i], round(v.run))
				}
			}
			report := func(name string, values []float64) {
				b.ReportMetric(slices.Min(values), name+"-best-µs")
				b.ReportMetric(median(values), name+"-p50-µs")
			}
			differences := func(name string, i, j int) {
				b.ReportMetric(slices.Min(medians[i])-slices.Min(medians[j]), name+"-best-µs")
				b.ReportMetric(median(medians[i])-median(medians[j]), name+"-p50-µs")
			}
			report("direct", medians[0])
			for i, v := range variants[1:4] {
				differences(v.name+"-cost", i+1, 0)
			}
			differences("second", 5, 4)
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
