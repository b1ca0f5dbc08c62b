package sched_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/sched"
)

var (
	two    = [][2]int{{1, 1}, {2, 1}}
	commit = op{do: "commit"}
	fails  = op{do: "error"}
)

func rc(ops ...op) actor   { return actor{level: sched.ReadCommitted, ops: ops} }
func rr(ops ...op) actor   { return actor{level: sched.RepeatableRead, ops: ops} }
func ser(ops ...op) actor  { return actor{level: sched.Serializable, ops: ops} }
func auto(ops ...op) actor { return actor{level: sched.ReadCommitted, auto: true, ops: ops} }

func read(table string) op            { return op{do: "select", table: table} }
func change(table string, key int) op { return op{do: "update", table: table, key: key, value: 1} }
func look(key int, how string) op     { return op{do: "for update", table: "b", key: key, how: how} }

func put(table string, key, value int) op {
	return op{do: "insert", table: table, key: key, value: value}
}

// Each rule has a program that comes to something which is lost without it: mostly those of the prototype's table.
var minimal = []struct {
	name    string
	without uint32
	rules   sched.Rules
	program program
}{
	{
		"a failing statement is also a ROLLBACK", sched.RuleFailureFrees,
		sched.Rules{},
		program{rows: map[string][][2]int{"b": two}, actors: []actor{
			rc(change("b", 1), fails, commit),
			rc(look(1, "nowait"), commit),
		}},
	},
	{
		"but not of what was locked before a savepoint", sched.RuleSavepoint,
		sched.Rules{},
		program{rows: map[string][][2]int{"b": two}, actors: []actor{
			rc(change("b", 1), op{do: "savepoint"}, change("b", 2), fails, commit),
			rc(look(2, "skip"), look(1, "skip")),
		}},
	},
	{
		"ROLLBACK TO is a ROLLBACK", sched.RulePartialRollback,
		sched.Rules{},
		program{rows: map[string][][2]int{"b": two}, actors: []actor{
			rc(op{do: "savepoint"}, change("b", 1), op{do: "rollback to"}, commit),
			rc(look(1, "nowait")),
		}},
	},
	{
		"a failed statement leaves no locks", sched.RuleFailedPrints,
		sched.Rules{},
		program{foreign: map[string]string{"c": "p"}, actors: []actor{rc(put("c", 1, 2), commit), rc(put("p", 2, 1), commit)}},
	},
	{
		"a key that was never seen is any key", sched.RuleUnseenKey,
		sched.Rules{},
		program{rows: map[string][][2]int{"a": two}, unique: map[string]bool{"a": true}, actors: []actor{
			rc(op{do: "advisory", key: 2}),
			rc(op{do: "insert if try", table: "a", key: 1, value: 1}),
		}},
	},
	{
		"two waits that close a cycle are dependent", sched.RuleCycle,
		sched.Rules{SeenWaiting: true},
		program{rows: map[string][][2]int{"b": two, "d": two}, actors: []actor{
			rc(change("b", 1), change("d", 1), commit), rc(change("d", 1), change("b", 1), commit),
		}},
	},
	{
		"two waits that close a cycle, all overlaps dependent", sched.RuleCycle,
		sched.Rules{},
		program{rows: map[string][][2]int{"b": two, "d": two}, actors: []actor{
			rc(change("b", 1), change("d", 1), commit), rc(change("d", 1), change("b", 1), commit),
		}},
	},
	{
		"some statements notice locks without waiting", sched.RuleLooks,
		sched.Rules{SeenWaiting: true},
		program{rows: map[string][][2]int{"b": two}, actors: []actor{rc(change("b", 1), commit), rc(look(1, "skip"))}},
	},
	{
		"ON CONFLICT DO NOTHING looks as well", sched.RuleLooks,
		sched.Rules{SeenWaiting: true},
		program{rows: map[string][][2]int{"b": two, "d": two}, unique: map[string]bool{"b": true}, actors: []actor{
			rr(op{do: "insert or nothing", table: "b", key: 1, value: 7}, read("d"), commit),
			rr(op{do: "delete", table: "b", key: 1}, change("d", 1), commit),
		}},
	},
	{
		"table locks conflict, a reader's too", sched.RuleModes,
		sched.Rules{},
		program{rows: map[string][][2]int{"b": two}, actors: []actor{
			rc(read("b"), commit), rc(op{do: "lock", table: "b", mode: sched.AccessExclusive, how: "nowait"}),
		}},
	},
	{
		"deferred constraints make COMMIT a statement", sched.RuleDeferred,
		sched.Rules{},
		program{foreign: map[string]string{"c": "p"}, later: true, actors: []actor{
			rc(put("c", 1, 2), commit), rc(put("p", 2, 1), commit), rc(op{do: "delete", table: "p"}, commit),
		}},
	},
	{
		"what a freed waiter does belongs to the event that freed it", sched.RuleContinuations,
		sched.Rules{},
		program{rows: map[string][][2]int{"b": two, "d": two}, actors: []actor{
			rc(change("b", 1), commit), rc(change("b", 0), commit), rc(look(2, "nowait")),
		}},
	},
	{
		"the first statement takes the snapshot", sched.RuleSnapshot,
		sched.Rules{},
		program{rows: map[string][][2]int{"b": two, "d": two}, actors: []actor{
			rr(read("b"), read("d"), commit), rc(change("d", 1), commit),
		}},
	},
	{
		"LOCK takes no snapshot", sched.RuleBare,
		sched.Rules{},
		program{rows: map[string][][2]int{"b": two, "d": two}, actors: []actor{
			rr(op{do: "lock", table: "b", mode: sched.Exclusive}, read("d"), commit),
			auto(op{do: "lock", table: "b", mode: sched.RowShare, how: "nowait"}, change("d", 1)),
		}},
	},
	{
		"a plain read notices a COMMIT", sched.RuleCommitShows,
		sched.Rules{},
		program{rows: map[string][][2]int{"b": two}, actors: []actor{rc(read("b")), rc(change("b", 1), commit)}},
	},
	{
		"whoever locks rows notices an end", sched.RuleEndFrees,
		sched.Rules{},
		program{rows: map[string][][2]int{"b": two}, actors: []actor{
			rr(look(0, "skip"), look(1, ""), commit), auto(op{do: "for share", table: "b", key: 1}),
		}},
	},
	{
		"advisory keys in common", sched.RuleKeys,
		sched.Rules{},
		program{rows: map[string][][2]int{"b": two}, actors: []actor{
			rc(op{do: "advisory", key: 1}, commit), rc(op{do: "try", key: 1}),
		}},
	},
	{
		"serializable: a COMMIT dooms others", sched.RuleSerializable,
		sched.Rules{},
		program{rows: map[string][][2]int{"a": two, "b": two, "d": two}, actors: []actor{
			ser(change("a", 2), change("b", 1), read("d"), commit), ser(read("b"), put("a", 3, 1), commit),
		}},
	},
	{
		"serializable: write skew", sched.RuleSerializable,
		sched.Rules{},
		program{rows: map[string][][2]int{"a": two, "b": two}, actors: []actor{
			ser(read("a"), change("b", 1), commit), ser(read("b"), change("a", 1), commit),
		}},
	},
	{
		"writes that overlap", sched.RuleOverlap,
		sched.Rules{},
		program{rows: map[string][][2]int{"b": two, "d": two}, actors: []actor{
			rc(change("b", 1), commit), rr(read("d"), change("b", 1), commit),
		}},
	},
}

func TestEachRuleIsNeeded(t *testing.T) {
	t.Parallel()
	for _, c := range minimal {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			all := explore(t, c.program, sched.Config{Strategy: sched.All})
			for _, rules := range []sched.Rules{{}, {SeenWaiting: true}} {
				with := explore(t, c.program, sched.Config{Strategy: sched.Reduced, Rules: rules})
				require.Equal(t, all.set(), with.set())
				t.Logf("all %d, %+v %d, %d outcomes", all.coverage.Runs, rules, with.coverage.Runs, len(all.outcomes))
			}
			without := explore(t, c.program, sched.Config{Strategy: sched.Reduced, Rules: c.rules.Without(c.without)})
			require.Subset(t, all.set(), without.set())
			require.Less(t, len(without.outcomes), len(all.outcomes), "nothing is lost without the rule: %v", all.set())
		})
	}
}
