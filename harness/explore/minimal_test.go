package explore_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server/servertest"
)

func rc(sql ...string) actor   { return actor{Level: pgx.ReadCommitted, SQL: sql} }
func rr(sql ...string) actor   { return actor{Level: pgx.RepeatableRead, SQL: sql} }
func ser(sql ...string) actor  { return actor{Level: pgx.Serializable, SQL: sql} }
func auto(sql ...string) actor { return actor{SQL: sql} }

var plainRows = []string{"insert into a values (1, 1), (2, 2)", "insert into d values (1, 1), (2, 2)", "insert into b values (1, 1), (2, 2)"}

const (
	nowait = "select v from a where k = 1 for update nowait"
	skip1  = "select v from a where k = 1 for update skip locked"
	skip2  = "select v from a where k = 2 for update skip locked"
	change = "update a set v = v + 1 where k = 1"
	fails  = "select 1 / 0"
)

// minimal has, for each rule of package sched, a program that comes to something which is lost without it: first those of the prototype.
var minimal = []struct {
	name    string
	program program
	lost    string // without the rule: what some client is told, or what is in the tables
}{
	{"1. a failing statement is also a ROLLBACK", program{Clients: []actor{rc(change, fails), rc(nowait)}}, "B: 55P03"},
	{
		"1b. but not of what was locked before a savepoint",
		program{Clients: []actor{rc(change, "savepoint s", "update a set v = 0 where k = 2", fails), rc(skip1, skip2)}},
		"B: SELECT 0 | SELECT 0",
	},
	{"2. ROLLBACK TO is a ROLLBACK", program{Clients: []actor{rc("savepoint s", change, "rollback to s"), rc(nowait)}}, "B: 55P03"},
	{
		"3. a failed statement leaves no locks to read",
		program{Schema: "foreign", Clients: []actor{rc("insert into c values (1, 1, 2)"), rc("insert into p values (2, 1)")}},
		"A: INSERT 0 1",
	},
	{
		"3b. nor does a try that returned false",
		program{Clients: []actor{
			rc("select pg_advisory_xact_lock(1)"), rc("insert into a select 1, 1 where pg_try_advisory_xact_lock(1)"),
		}},
		"B: INSERT 0 0",
	},
	{
		"4. two waits that close a cycle",
		program{Clients: []actor{rc("update a set v = 3 where k = 1", "update d set v = 3 where k = 1"), rc("update d set v = 4 where k = 1", "update a set v = 4 where k = 1")}},
		"A: UPDATE 1 | 40P01",
	},
	{
		"5. ON CONFLICT DO NOTHING looks at rows without locking them",
		program{Clients: []actor{
			rr("insert into a values (1, 9) on conflict do nothing", "select v from d where k = 1"),
			rc("delete from a where k = 1", "update d set v = 7 where k = 1"),
		}},
		"A: INSERT 0 1 | SELECT 1 [1]",
	},
	{
		"6. table locks conflict, a reader's too",
		program{Clients: []actor{rc("select v from a order by k"), rc("lock table a in access exclusive mode nowait")}},
		"B: 55P03",
	},
	{
		"6b. met at random",
		program{Clients: []actor{
			rr("select v from d order by k", "select count(*) from a"), rc("lock table a in share row exclusive mode", "update d set v = 3 where k = 1", "truncate a"),
		}},
		"A: SELECT 2 [1] [2] | SELECT 1 [0]",
	},
	{
		"7. serializable: a COMMIT dooms others, who fail at their next statement",
		program{Clients: []actor{
			ser("update b set v = v + 1 where k = 2", "update d set v = 5 where k = 1", "insert into e (k, v) values (1, 1)"),
			ser("update b set v = 3 where k = 1"),
		}},
		"A: UPDATE 1 | 40001",
	},
	{
		"7b. serializable: write skew",
		program{Clients: []actor{ser("select v from a order by k", "update d set v = 3 where k = 1"), ser("select v from d order by k", "update a set v = 3 where k = 1")}},
		"40001",
	},
	{
		"7d. serializable: reading what another one has written, with index scans",
		program{Clients: []actor{
			ser("select v from a where k = 2", "insert into a values (3, 1)"), ser("update a set v = 4 where k = 2", "select v from d where k = 1"),
		}},
		"",
	},
	{
		"8. deferred constraints make COMMIT a statement as well",
		program{Schema: "deferred", Clients: []actor{rc("insert into c values (1, 1, 2)"), rc("insert into p values (2, 1)"), rc("delete from p")}},
		"A: INSERT 0 1 | 23503",
	},
	{
		"8b. and deferred unique constraints",
		program{Schema: "deferred", Clients: []actor{rc("insert into u values (1, 1)"), rc("insert into u values (1, 2)"), rc("delete from u where k = 1")}},
		"A: INSERT 0 1 | 23505",
	},
	{
		"9. the physical order of rows is the order in which they are locked",
		program{Clients: []actor{auto("insert into a values (4, 1)", "update a set v = v + 1 where k > 2"), rc("insert into a values (3, 2)", "select 1")}},
		"",
	},
}

// withDefaults returns the program on rows of schema plain, if it does not say where.
func (p program) withDefaults() program {
	if p.Schema == "" {
		p.Schema, p.Start = "plain", plainRows
	}
	return p
}

func TestMinimalPrograms(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	on := explorers(t)
	for _, c := range minimal {
		t.Run(c.name, func(t *testing.T) {
			p := c.program.withDefaults()
			got := compare(t, on(p.Schema), p, reduced)
			require.False(t, got.skipped)
			require.Empty(t, strings.Join(got.differences, "\n"))
			outcomes := slices.Collect(maps.Keys(got.all.outcomes))
			require.True(t, slices.ContainsFunc(outcomes, func(o string) bool { return strings.Contains(o, c.lost) }), "%s", strings.Join(outcomes, "\n\n"))
		})
	}
}
