package sched_test

import (
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// Soundness: what programs can come to under every order, they come to under the reduced ones.

var statements = []op{
	{do: "select"},
	{do: "select"},
	{do: "select"},
	{do: "update"},
	{do: "update"},
	{do: "update"},
	{do: "delete"},
	{do: "insert"},
	{do: "insert"},
	{do: "insert if none"},
	{do: "insert or nothing"},
	{do: "for update"},
	{do: "for share"},
	{do: "for update", how: "nowait"},
	{do: "for update", how: "skip"},
	{do: "advisory"},
	{do: "try"},
	{do: "insert if try"},
	{do: "lock"},
	{do: "lock", how: "nowait"},
	{do: "truncate"},
	{do: "error"},
	{do: "savepoint"},
	{do: "rollback to"},
}

var modes = []sched.Modes{
	sched.RowShare, sched.RowExclusive, sched.ShareUpdateExclusive, sched.Share, sched.ShareRowExclusive, sched.Exclusive, sched.AccessExclusive,
}

// generate makes a program of 2–3 clients with 1–4 statements each.
func generate(rng *rand.Rand) program {
	p := program{rows: map[string][][2]int{}, unique: map[string]bool{}, foreign: map[string]string{}}
	names := []string{"a", "b", "d"}[:1+rng.Intn(3)]
	for _, name := range append([]string{"p", "c"}, names...) {
		p.unique[name] = rng.Intn(2) == 0 || name == "p"
		for key := 1; key <= 2; key++ {
			if rng.Intn(3) > 0 {
				p.rows[name] = append(p.rows[name], [2]int{key, 1})
			}
		}
	}
	if rng.Intn(3) == 0 {
		p.foreign["c"] = "p"
		p.later = rng.Intn(2) == 0
		p.rows["c"] = nil
		names = append(names, "c", "p")
	}
	clients, most := 2, 4
	if rng.Intn(3) == 0 {
		clients, most = 3, 2
	}
	levels := rng.Intn(4) // 0: read committed, 1: repeatable read, 2: a mixture, 3: serializable, but for some
	for range clients {
		a := actor{level: sched.ReadCommitted, auto: rng.Intn(5) == 0}
		if levels == 1 || levels == 2 && rng.Intn(2) == 0 {
			a.level = sched.RepeatableRead
		}
		if levels == 3 && rng.Intn(5) > 0 {
			a.level = sched.Serializable
		}
		saved := false
		n := 1 + rng.Intn(most)
		if a.auto {
			n = (n + 1) / 2
		}
		for len(a.ops) < n {
			o := statements[rng.Intn(len(statements))]
			switch o.do {
			case "savepoint":
				if a.auto || saved {
					continue
				}
				saved = true
			case "rollback to":
				if !saved {
					continue
				}
			case "advisory", "try":
				o.key = 1 + rng.Intn(2)
			case "error":
			default:
				o.table = names[rng.Intn(len(names))]
				o.key = rng.Intn(3)
				o.value = 1 + rng.Intn(2)
				if len(o.do) > 5 && o.do[:6] == "insert" {
					o.key = 1 + rng.Intn(2)
				}
				if o.do == "lock" {
					o.key, o.value, o.mode = 0, 0, modes[rng.Intn(len(modes))]
				}
			}
			a.ops = append(a.ops, o)
		}
		if !a.auto {
			a.ops = append(a.ops, op{do: []string{"commit", "commit", "commit", "rollback"}[rng.Intn(4)]})
		}
		p.actors = append(p.actors, a)
	}
	return p
}

// programs is a generator of programs, by seed. A smaller program of the same kind is one without one of its operations.
func programs() gopter.Gen {
	return gen.Int64().Map(func(seed int64) program { return generate(rand.New(rand.NewSource(seed))) }).WithShrinker(func(value any) gopter.Shrink {
		p := value.(program)
		i, j := 0, -1
		return func() (any, bool) {
			for ; i < len(p.actors); i, j = i+1, -1 {
				for j++; j < len(p.actors[i].ops); j++ {
					q := p
					q.actors = append([]actor(nil), p.actors...)
					q.actors[i].ops = append(append([]op(nil), p.actors[i].ops[:j]...), p.actors[i].ops[j+1:]...)
					return q, true
				}
			}
			return nil, false
		}
	})
}

// tooMany bounds the orders of a generated program.
const tooMany = 2500

// every runs all orders of a program; false: there are too many.
func every(t testing.TB, p program, looks [][]string) (found, bool) {
	runs := 0
	f := explore(t, p, sched.Config{Strategy: sched.All, Watch: looks, Settled: func(*sched.Run) bool { runs++; return runs <= tooMany }})
	return f, runs <= tooMany
}

// A statement that has only ever failed is known by what it locks before it is executed.
func TestOnlyEverFailed(t *testing.T) {
	t.Parallel()
	try := func(key int) op { return op{do: "insert if try", table: "a", key: key, value: 2} }
	p := program{rows: map[string][][2]int{"a": {{2, 1}}}, unique: map[string]bool{"a": true}, actors: []actor{
		rc(try(1), commit),
		rc(try(2), op{do: "lock", table: "a", mode: sched.AccessExclusive, how: "nowait"}),
	}}
	all, _ := every(t, p, nil)
	for _, rules := range []sched.Rules{{}, {SeenWaiting: true}} {
		require.Equal(t, all.set(), explore(t, p, sched.Config{Strategy: sched.Reduced, Rules: rules}).set())
	}
}

func TestReducedLosesNothing(t *testing.T) {
	t.Parallel()
	wanted := 40
	if servertest.Thorough() {
		wanted = 100
	}
	if n, err := strconv.Atoi(os.Getenv("INTERLOCK_SCHED_PROGRAMS")); err == nil {
		wanted = n
	}
	for name, rules := range map[string]sched.Rules{"coarse": {}, "seen waiting": {SeenWaiting: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tried, full, less, asleep atomic.Int64
			parameters := gopter.DefaultTestParameters()
			parameters.MinSuccessfulTests = wanted
			parameters.MaxDiscardRatio = 20
			if seed, err := strconv.ParseInt(os.Getenv("INTERLOCK_SCHED_SEED"), 10, 64); err == nil {
				parameters.Rng = rand.New(rand.NewSource(seed))
			}
			properties := gopter.NewProperties(parameters)
			properties.Property("reduced == all", propForAll(programs(), func(p program) *gopter.PropResult {
				looks := [][]string(nil)
				if len(p.unique)%2 == 0 {
					looks = [][]string{{"a", "b"}, {"c"}}
				}
				all, ok := every(t, p, looks)
				if !ok {
					return &gopter.PropResult{Status: gopter.PropUndecided}
				}
				reduced := explore(t, p, sched.Config{Strategy: sched.Reduced, Rules: rules, Watch: looks})
				tried.Add(1)
				full.Add(int64(all.coverage.Runs))
				less.Add(int64(reduced.coverage.Runs))
				asleep.Add(int64(reduced.coverage.Asleep))
				for o := range all.outcomes {
					if reduced.outcomes[o] == 0 {
						return &gopter.PropResult{Status: gopter.PropFalse, Labels: []string{"lost: " + o, fmt.Sprintf("%+v", p)}}
					}
				}
				if len(all.outcomes) != len(reduced.outcomes) || !reduced.coverage.Exhaustive {
					return &gopter.PropResult{Status: gopter.PropFalse, Labels: []string{"invented", fmt.Sprintf("%+v", p)}}
				}
				return &gopter.PropResult{Status: gopter.PropTrue}
			}))
			properties.TestingRun(t)
			t.Logf("%d programs: all %d, reduced %d, asleep %d", tried.Load(), full.Load(), less.Load(), asleep.Load())
		})
	}
}

// propForAll is prop.ForAll, which cannot say that a program was discarded after looking at it.
func propForAll(g gopter.Gen, check func(program) *gopter.PropResult) gopter.Prop {
	return func(parameters *gopter.GenParameters) *gopter.PropResult {
		value, ok := g(parameters).Retrieve()
		if !ok {
			return &gopter.PropResult{Status: gopter.PropUndecided}
		}
		p := value.(program)
		result := check(p)
		for smaller := true; smaller && result.Status == gopter.PropFalse; {
			smaller = false
			next := g(parameters).Shrinker(p)
			for q, ok := next(); ok; q, ok = next() {
				if r := check(q.(program)); r.Status == gopter.PropFalse {
					p, result, smaller = q.(program), r, true
					break
				}
			}
		}
		return result
	}
}
