package inspectionapi_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/target"
	"github.com/interlock-pg/interlock/scenarios"
)

// BenchmarkExplore measures how many schedules of the reference application are run in a second, with the application up, and how long one takes to
// repeat.
func BenchmarkExplore(b *testing.B) {
	for _, name := range []string{"go-production", "node-production"} {
		b.Run(name, func(b *testing.B) {
			file, err := target.Load(name + ".yaml")
			require.NoError(b, err)
			known := map[string]race.Invariant{}
			for _, inv := range scenarios.Invariants(0) {
				known[inv.Name] = inv
			}
			w, err := file.Workload(known)
			require.NoError(b, err)
			template, err := migrated(file.Database.At)
			require.NoError(b, err)
			e := explore.New(template)
			defer func() { require.NoError(b, e.Close(context.Background())) }()
			input, _ := w.Contend(2, 1)
			build := func() race.Scenario { return w.Scenario(input) }
			run := func(n int) explore.Result {
				found, err := e.Explore(b.Context(), build, explore.Config{Strategy: sched.Random, Seed: 1, Limit: n})
				require.NoError(b, err)
				require.NoError(b, found.Err)
				return found
			}
			run(10)
			b.Run("explore", func(b *testing.B) {
				b.ResetTimer()
				run(b.N)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "schedules/s")
			})
			b.Run("repeat", func(b *testing.B) {
				for b.Loop() {
					_, err := e.Play(b.Context(), build(), []int{0, 0, 0, 1, 1, 1, 1, 0})
					require.NoError(b, err)
				}
			})
		})
	}
}
