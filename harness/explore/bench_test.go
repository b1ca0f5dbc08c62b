package explore_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/explore"
)

// BenchmarkExplore goes through all orders of clients that read and insert at READ COMMITTED, without a constraint, looking at the invariant at
// the end. A run of four clients has 12 steps.
func BenchmarkExplore(b *testing.B) {
	for _, clients := range []int{2, 3, 4, 5} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			e := explorer(b, `create table taken (slot text, by int)`)
			_, err := e.Explore(b.Context(), readThenInsert(clients, pgx.ReadCommitted), explore.Config{AtEnd: true, Limit: 10})
			require.NoError(b, err) // connected, and the plans of our own queries made
			var runs int
			for b.Loop() {
				result, err := e.Explore(b.Context(), readThenInsert(clients, pgx.ReadCommitted), explore.Config{AtEnd: true})
				require.NoError(b, err)
				require.True(b, result.Complete)
				runs += result.Executed + result.Asleep
			}
			b.ReportMetric(float64(runs)/float64(b.N), "interleavings/op")
			b.ReportMetric(b.Elapsed().Seconds()*1000/float64(runs), "ms/interleaving")
		})
	}
}
