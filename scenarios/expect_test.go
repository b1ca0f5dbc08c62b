package scenarios

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/stress"
)

// TestExpectations plays every workload at every migration and wants what it says to expect.
func TestExpectations(t *testing.T) {
	servertest.Slow(t)
	for version := int64(1); version <= 3; version++ {
		for _, w := range Workloads(Options{}) {
			t.Run(fmt.Sprintf("%s at %d", w.FullName(), version), func(t *testing.T) {
				b := setup(t, version)
				cell, err := b.arena.Cell(b.ctx, w, version, stress.Config{Seed: 7341, Rounds: 10, For: 3 * time.Second})
				require.NoError(t, err)
				for _, j := range cell.Invariants {
					if j.Verdict == history.Violated {
						t.Logf("%s %s: first in round %d, in %d of %d (expected %q)", j.Invariant, j.Verdict, j.First, j.Broken, cell.Coverage.Rounds, j.Expected)
					}
				}
				t.Logf("%d rounds, %v", cell.Coverage.Rounds, cell.Coverage.Outcomes)
				require.Empty(t, cell.Trouble)
				if !cell.AsExpected {
					for _, c := range cell.Counterexamples {
						t.Logf("%s: %s\n%+v\n%+v", c.Invariant, c.Round.Input, c.Round.Operations, c.Round.Violations)
					}
					t.Fatalf("not as expected: %+v", cell.Invariants)
				}
			})
		}
	}
}
