package sched_test

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// together makes the runs of a search with several workers, and returns what was settled, in order.
func together(t *testing.T, p program, config sched.Config, workers int) ([]string, sched.Coverage) {
	t.Helper()
	var settled []string
	config.Catalog = catalog(p)
	config.Settled = func(r *sched.Run) bool {
		settled = append(settled, fmt.Sprint(r.Number, schedule(r), r.Preemptions, r.Result))
		return true
	}
	s, err := sched.New(config)
	require.NoError(t, err)
	var workersDone sync.WaitGroup
	for range workers {
		workersDone.Go(func() {
			for r := s.Next(); r != nil; r = s.Next() {
				make1(t, r, p, config.Watch)
			}
		})
	}
	workersDone.Wait()
	c := s.Coverage()
	c.Executed = 0
	return settled, c
}

func TestWorkersDoNotChangeTheResult(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	programs := []program{checkThenInsert(3)}
	seeds := int64(3)
	if servertest.Thorough() {
		seeds = 12
	}
	for seed := range seeds {
		p := generate(rand.New(rand.NewSource(seed)))
		if _, ok := every(t, p, nil); ok {
			programs = append(programs, p)
		}
	}
	for _, strategy := range []sched.Strategy{sched.All, sched.Reduced, sched.Random, sched.PCT} {
		for _, rules := range []sched.Rules{{}, {SeenWaiting: true}} {
			for _, p := range programs {
				config := sched.Config{Strategy: strategy, Rules: rules, Seed: 7, Runs: 20}
				alone, covered := together(t, p, config, 1)
				for _, workers := range []int{2, 5} {
					settled, c := together(t, p, config, workers)
					require.Equal(t, alone, settled)
					require.Equal(t, covered, c)
				}
			}
		}
	}
}

func TestSettledEndsTheSearch(t *testing.T) {
	t.Parallel()
	n := 0
	f := explore(t, checkThenInsert(3), sched.Config{Strategy: sched.Reduced, Settled: func(*sched.Run) bool { n++; return n < 5 }})
	require.Equal(t, 5, n)
	require.Equal(t, 5, f.coverage.Runs)
	require.False(t, f.coverage.Finished)
	require.False(t, f.coverage.Exhaustive)
}

func TestPreemptionBound(t *testing.T) {
	t.Parallel()
	for bound, want := range map[int]int{-1: 2, 1: 2 + 4, 0: 20} { // 2 clients of 3 steps
		f := explore(t, checkThenInsert(2), sched.Config{Strategy: sched.All, Preemptions: bound})
		require.Equal(t, want, f.coverage.Runs)
		require.True(t, f.coverage.Finished)
		require.Equal(t, bound == 0, f.coverage.Exhaustive)
		require.Equal(t, max(bound, 0) == f.coverage.Preemptions, bound != 0)
	}
}

func TestSeeds(t *testing.T) {
	t.Parallel()
	for _, strategy := range []sched.Strategy{sched.Random, sched.PCT} {
		schedules := func(seed int64) []string {
			return explore(t, checkThenInsert(3), sched.Config{Strategy: strategy, Seed: seed, Runs: 50}).schedules
		}
		require.Equal(t, schedules(1), schedules(1))
		require.NotEqual(t, schedules(1), schedules(2))
		require.Greater(t, len(slices.Compact(slices.Sorted(slices.Values(schedules(1))))), 5)
	}
}

func TestPCT(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 1.0/(2*6), sched.PCTBound(2, 6, 2), 1e-12)
	require.InDelta(t, 1.0/(3*9*9), sched.PCTBound(3, 9, 3), 1e-12)

	// Without a change point every client runs to its end, in the order of priorities; each of them adds one preemption at most.
	for depth := 1; depth <= 3; depth++ {
		f := explore(t, checkThenInsert(3), sched.Config{Strategy: sched.PCT, Depth: depth, Runs: 100})
		require.LessOrEqual(t, slices.Max(f.levels), depth-1)
		require.Equal(t, depth-1, slices.Max(f.levels[1:]))
		require.InDelta(t, sched.PCTBound(3, 9, depth), f.coverage.Bound, 1e-12)
		require.False(t, f.coverage.Exhaustive)
	}

	// The race of two is of depth 2: A reads, B commits, A goes on. The bound holds, and a chain of any length cannot do better than n.
	runs, hits := 500, 0
	f := explore(t, checkThenInsert(2), sched.Config{Strategy: sched.PCT, Depth: 2, Steps: 6, Runs: runs})
	for o, n := range f.outcomes {
		if o == "[], inserted, committed | [], inserted, committed | a1=0 a1=0[]" {
			hits = n
		}
	}
	require.GreaterOrEqual(t, float64(hits)/float64(runs), f.coverage.Bound)
}

// A client that comes later, as one that a step of another begins, is as likely to go first as any.
func TestPCTKnowsNobodyBefore(t *testing.T) {
	t.Parallel()
	const runs = 300
	first := map[int]int{} // who went right after the third had come
	s, err := sched.New(sched.Config{Strategy: sched.PCT, Depth: 1, Seed: 1, Runs: runs, Settled: func(r *sched.Run) bool {
		first[r.Schedule[1].Client]++
		return true
	}})
	require.NoError(t, err)
	for r := s.Next(); r != nil; r = s.Next() {
		left := []int{2, 2}
		for {
			var held []sched.Step
			for client, n := range left {
				if n > 0 {
					held = append(held, sched.Step{Client: client, Kind: sched.Statement})
				}
			}
			if held == nil {
				break
			}
			client, ok := r.Pick(held)
			require.True(t, ok)
			require.NoError(t, r.Observe(sched.Event{Parts: []sched.Part{{Step: sched.Step{Client: client, Kind: sched.Statement}}}}))
			if left[client]--; len(left) == 2 {
				left = append(left, 2)
			}
		}
		r.End(nil)
	}
	require.Greater(t, first[2], runs/4)
	require.Less(t, first[2], runs/2)
	require.InDelta(t, sched.PCTBound(3, 6, 1), s.Coverage().Bound, 1e-12)
}

// Runs that are longer than the first count: change points may be anywhere in them.
func TestPCTFollowsLongerRuns(t *testing.T) {
	t.Parallel()
	latest := 0 // step at which somebody was preempted
	s, err := sched.New(sched.Config{Strategy: sched.PCT, Depth: 2, Seed: 1, Runs: 200, Settled: func(r *sched.Run) bool {
		for i := 1; i < len(r.Schedule); i++ {
			if r.Preemptions > 0 && r.Schedule[i].Client != r.Schedule[i-1].Client {
				latest = max(latest, i)
			}
		}
		return true
	}})
	require.NoError(t, err)
	for n := 0; ; n++ {
		r := s.Next()
		if r == nil {
			break
		}
		left := []int{10, 10}
		if n == 0 {
			left = []int{1, 1}
		}
		for left[0]+left[1] > 0 {
			var held []sched.Step
			for client, n := range left {
				if n > 0 {
					held = append(held, sched.Step{Client: client, Kind: sched.Statement})
				}
			}
			client, ok := r.Pick(held)
			require.True(t, ok)
			require.NoError(t, r.Observe(sched.Event{Parts: []sched.Part{{Step: sched.Step{Client: client, Kind: sched.Statement}}}}))
			left[client]--
		}
		r.End(nil)
	}
	require.Greater(t, latest, 8)
	require.InDelta(t, sched.PCTBound(2, 20, 2), s.Coverage().Bound, 1e-12)
}

func TestReplay(t *testing.T) {
	t.Parallel()
	p := checkThenInsert(2)
	var saved *sched.Run
	explore(t, p, sched.Config{Strategy: sched.Reduced, Settled: func(r *sched.Run) bool { saved = r; return r.Number < 2 }})
	raw, err := json.Marshal(saved.Schedule)
	require.NoError(t, err)
	var steps []sched.Step
	require.NoError(t, json.Unmarshal(raw, &steps))
	require.Equal(t, saved.Schedule, steps)

	again := func(p program, steps []sched.Step) (run *sched.Run) {
		f := explore(t, p, sched.Config{Strategy: sched.Replay, Schedule: steps, Settled: func(r *sched.Run) bool { run = r; return true }})
		require.Equal(t, 1, f.coverage.Runs)
		require.Equal(t, sched.Complete, run.Status)
		return run
	}
	run := again(p, steps)
	require.Nil(t, run.Mismatch)
	require.Equal(t, schedule(saved), schedule(run))
	require.Equal(t, saved.Result, run.Result)

	short := again(p, steps[:4])
	require.Equal(t, 4, short.Mismatch.At)
	require.Nil(t, short.Mismatch.Want)
	long := again(p, append(slices.Clone(steps), sched.Step{Client: 1}))
	require.Equal(t, 6, long.Mismatch.At)
	require.Empty(t, long.Mismatch.Held)

	changed := checkThenInsert(2)
	changed.actors[1].ops = append([]op{change("a", 1)}, changed.actors[1].ops...)
	run = again(changed, steps)
	require.NotNil(t, run.Mismatch)
	require.Equal(t, 1, run.Mismatch.Want.Client)
	require.Len(t, run.Schedule, 7)
}

func TestAbandonedRunsAreMadeAgain(t *testing.T) {
	t.Parallel()
	p := checkThenInsert(3)
	for _, strategy := range []sched.Strategy{sched.All, sched.Reduced, sched.Random} {
		want := explore(t, p, sched.Config{Strategy: strategy, Runs: 30})
		var settled []string
		s, err := sched.New(sched.Config{Strategy: strategy, Runs: 30, Settled: func(r *sched.Run) bool {
			settled = append(settled, schedule(r))
			return true
		}})
		require.NoError(t, err)
		for i := 0; ; i++ {
			r := s.Next()
			if r == nil {
				break
			}
			if i%3 == 1 {
				w := newWorld(p)
				client, ok := r.Pick(w.held())
				require.True(t, ok)
				require.NoError(t, r.Observe(w.release(client)))
				r.Abandon()
				continue
			}
			make1(t, r, p, nil)
		}
		require.Equal(t, want.schedules, settled)
	}
}

func TestDivergence(t *testing.T) {
	t.Parallel()
	s, err := sched.New(sched.Config{Strategy: sched.Reduced})
	require.NoError(t, err)
	var failed error
	for n := 0; failed == nil; n++ {
		r := s.Next()
		require.NotNil(t, r)
		w := newWorld(checkThenInsert(2))
		for held := w.held(); len(held) > 0; held = w.held() {
			client, ok := r.Pick(held)
			require.True(t, ok)
			e := w.release(client)
			e.Parts[0].Tag = fmt.Sprint(n)
			if failed = r.Observe(e); failed != nil {
				break
			}
		}
		r.End(nil)
	}
	require.ErrorIs(t, failed, sched.ErrDiverged)
	require.Nil(t, s.Next())
	require.False(t, s.Coverage().Finished)
}

// Clients that have nothing left to do where an earlier run had: the orders that would have come of it are not taken for tried.
func TestEarlyEndsDiverge(t *testing.T) {
	t.Parallel()
	for _, strategy := range []sched.Strategy{sched.All, sched.Reduced} {
		s, err := sched.New(sched.Config{Strategy: strategy})
		require.NoError(t, err)
		var last *sched.Run
		for n := 0; ; n++ {
			r := s.Next()
			if r == nil {
				break
			}
			require.Less(t, n, 5, strategy)
			last = r
			w := newWorld(checkThenInsert(2))
			for held := w.held(); len(held) > 0 && n < 2; held = w.held() { // from the third run on they are turned away without a step
				client, ok := r.Pick(held)
				require.True(t, ok)
				require.NoError(t, r.Observe(w.release(client)))
			}
			r.End(nil)
		}
		require.True(t, last.Diverged(), strategy)
		require.Equal(t, sched.Diverged, last.Status, strategy)
		require.False(t, s.Coverage().Exhaustive, strategy)
		require.Equal(t, 2, s.Coverage().Runs, strategy)
	}
}

func TestEndlessClientsAreCutShort(t *testing.T) {
	t.Parallel()
	for _, strategy := range []sched.Strategy{sched.All, sched.Reduced} {
		cut := 0
		s, err := sched.New(sched.Config{Strategy: strategy, MaxSteps: 6, Settled: func(r *sched.Run) bool {
			require.Equal(t, sched.TooLong, r.Status)
			cut++
			return true
		}})
		require.NoError(t, err)
		touched := sched.Footprint{Relations: map[string]sched.Modes{"a": sched.RowExclusive}}
		for r := s.Next(); r != nil; r = s.Next() {
			index := [2]int{}
			for {
				var held []sched.Step
				for i, n := range index {
					held = append(held, sched.Step{Client: i, Index: n, Kind: sched.Statement, Text: "retry", Autocommit: true})
				}
				client, ok := r.Pick(held)
				if !ok {
					break
				}
				index[client]++
				require.NoError(t, r.Observe(sched.Event{Parts: []sched.Part{{
					Step: held[client], Outcome: sched.Failed, SQLState: "40001", Touched: touched,
				}}}))
			}
			r.End(nil)
		}
		require.Positive(t, cut)
		require.False(t, s.Coverage().Finished)
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	_, err := sched.New(sched.Config{Strategy: "guess", Runs: -1})
	require.ErrorContains(t, err, "guess")
	require.ErrorContains(t, err, "negative")
}

func TestModes(t *testing.T) {
	t.Parallel()
	require.True(t, sched.AccessShare.Conflict(sched.AccessExclusive))
	require.False(t, sched.AccessShare.Conflict(sched.Exclusive))
	require.True(t, sched.Share.Conflict(sched.RowExclusive))
	require.False(t, sched.Share.Conflict(sched.Share))
	require.True(t, sched.ShareUpdateExclusive.Conflict(sched.ShareUpdateExclusive))
	f := sched.Footprint{Relations: map[string]sched.Modes{"a": sched.AccessShare | sched.RowExclusive}, Keys: []string{"1"}}
	raw, err := json.Marshal(f)
	require.NoError(t, err)
	require.JSONEq(t, `{"relations":{"a":"AccessShare+RowExclusive"},"keys":["1"]}`, string(raw))
	var back sched.Footprint
	require.NoError(t, json.Unmarshal(raw, &back))
	require.Equal(t, f, back)
	_, err = sched.ParseMode("SIReadLock")
	require.ErrorContains(t, err, "SIReadLock")
	all := sched.Modes(255)
	for i := range 8 { // conflicts go both ways
		for j := range 8 {
			require.Equal(t, sched.Modes(1<<i).Conflict(1<<j), sched.Modes(1<<j).Conflict(1<<i))
		}
		require.True(t, all.Conflict(1<<i))
	}
}

// BenchmarkReduced measures the search alone: the events of 4 check-then-insert clients, 12 steps a run, cost nothing to make.
func BenchmarkReduced(b *testing.B) {
	p := checkThenInsert(4)
	reads := sched.Footprint{Relations: map[string]sched.Modes{"a": sched.AccessShare}}
	writes := sched.Footprint{Relations: map[string]sched.Modes{"a": sched.RowExclusive}}
	steps := make([][]sched.Step, len(p.actors))
	for i := range steps {
		for j, kind := range []sched.Kind{sched.Statement, sched.Statement, sched.Commit} {
			steps[i] = append(steps[i], sched.Step{Client: i, Index: j, Kind: kind, Text: fmt.Sprint(j), Blind: j == 1})
		}
	}
	touched := []sched.Footprint{reads, writes, {}}
	runs := 0
	for b.Loop() {
		s, err := sched.New(sched.Config{Strategy: sched.Reduced})
		require.NoError(b, err)
		for r := s.Next(); r != nil; r = s.Next() {
			var at [4]int
			held := make([]sched.Step, 0, 4)
			for {
				held = held[:0]
				for i, n := range at {
					if n < 3 {
						held = append(held, steps[i][n])
					}
				}
				if len(held) == 0 {
					break
				}
				client, ok := r.Pick(held)
				if !ok {
					break
				}
				step := steps[client][at[client]]
				at[client]++
				if err := r.Observe(sched.Event{Parts: []sched.Part{{Step: step, Touched: touched[step.Index]}}}); err != nil {
					b.Fatal(err)
				}
			}
			r.End(nil)
			runs++
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(runs), "µs/run")
}
