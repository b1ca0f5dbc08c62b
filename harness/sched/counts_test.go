package sched_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/sched"
)

// checkThenInsert is n clients that look whether a slot is taken, and take it.
func checkThenInsert(n int) program {
	p := program{}
	for range n {
		p.actors = append(p.actors, actor{ops: []op{{do: "select", table: "a"}, {do: "insert", table: "a", key: 1}, {do: "commit"}}})
	}
	return p
}

func TestCheckThenInsertCounts(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{2: 3, 3: 19, 4: 207, 5: 3451} {
		for _, rules := range []sched.Rules{{}, {SeenWaiting: true}} {
			if n == 5 && os.Getenv("INTERLOCK_SCHED_PROGRAMS") == "" {
				continue
			}
			f := explore(t, checkThenInsert(n), sched.Config{Strategy: sched.Reduced, Rules: rules})
			t.Logf("%d clients: %+v", n, f.coverage)
			require.Equal(t, want, f.coverage.Runs)
			require.LessOrEqual(t, f.coverage.Asleep*10, f.coverage.Runs)
			require.True(t, f.coverage.Exhaustive)
		}
	}
}

func TestCheckThenInsertCountsWithALookAfterEveryCommit(t *testing.T) {
	t.Parallel()
	factorial := 1
	most := 4
	if os.Getenv("INTERLOCK_SCHED_PROGRAMS") != "" {
		most = 5
	}
	for n := 2; n <= most; n++ {
		factorial *= n
		f := explore(t, checkThenInsert(n), sched.Config{Strategy: sched.Reduced, Watch: [][]string{{"a"}}})
		t.Logf("%d clients: %+v", n, f.coverage)
		require.GreaterOrEqual(t, f.coverage.Runs, factorial*factorial)
		require.LessOrEqual(t, float64(f.coverage.Runs+f.coverage.Asleep), 1.25*float64(factorial*factorial))
	}
}

func TestAllCountsEveryOrderOnce(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{2: 20, 3: 1680} {
		f := explore(t, checkThenInsert(n), sched.Config{Strategy: sched.All})
		require.Equal(t, want, f.coverage.Runs)
		require.EqualValues(t, want, f.coverage.Possible.Int64())
		require.True(t, f.coverage.Exhaustive)
		seen := map[string]bool{}
		for i, s := range f.schedules {
			require.False(t, seen[s], "%s twice", s)
			seen[s] = true
			require.True(t, i == 0 || f.levels[i-1] <= f.levels[i], "preemptions fell")
		}
	}
	require.EqualValues(t, 369_600, sched.Orders(3, 3, 3, 3).Int64())
	require.EqualValues(t, 168_168_000, sched.Orders(3, 3, 3, 3, 3).Int64())
}

func TestCheckThenInsertCountsWithADefence(t *testing.T) {
	t.Parallel()
	for n := 2; n <= 3; n++ {
		unique := checkThenInsert(n)
		unique.unique = map[string]bool{"a": true}
		serializable := checkThenInsert(n)
		for i := range serializable.actors {
			serializable.actors[i].level = sched.Serializable
		}
		for name, p := range map[string]program{"unique": unique, "serializable": serializable} {
			all := explore(t, p, sched.Config{Strategy: sched.All})
			for _, rules := range []sched.Rules{{}, {SeenWaiting: true}} {
				f := explore(t, p, sched.Config{Strategy: sched.Reduced, Rules: rules})
				require.Equal(t, map[string]int{"2 unique": 6, "3 unique": 42, "2 serializable": 12, "3 serializable": 438}[fmt.Sprint(n, " ", name)], f.coverage.Runs)
				t.Logf("%d clients, %s, %+v: %d (+%d) of %d", n, name, rules, f.coverage.Runs, f.coverage.Asleep, all.coverage.Runs)
				require.Equal(t, all.set(), f.set())
			}
		}
	}
}
