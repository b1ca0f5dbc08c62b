package explore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// scenario is one in which each client executes statements; see statements.
func scenario(level pgx.TxIsoLevel, clients ...[]string) func() race.Scenario {
	return func() race.Scenario {
		s := race.Scenario{Invariants: []race.Invariant{one}}
		for _, sql := range clients {
			s.Clients = append(s.Clients, statements(level, sql...))
		}
		return s
	}
}

const (
	plain  = `create table taken (slot text, by int)`
	unique = `create table taken (slot text unique, by int)`
)

// Each of two clients inserts a row unless there is one, in one statement and no transaction. Both see none if both execute before either
// commits, which no tool finds for which a statement is one step.
func TestAutocommit(t *testing.T) {
	insert := []string{`insert into taken select 's' where not exists (select from taken where slot = 's')`}
	race := scenario("", insert, insert)

	found, err := explorer(t, plain).Explore(t.Context(), race, explore.Config{})
	require.NoError(t, err)
	require.True(t, found.Complete)
	require.Positive(t, found.Broken["one"])

	held, err := explorer(t, unique).Explore(t.Context(), race, explore.Config{})
	require.NoError(t, err)
	require.True(t, held.Complete)
	require.Empty(t, held.Broken)
	require.Greater(t, held.Executed, 1)
}

// cross are clients that lock two rows in opposite orders, and a third that waits for one of them.
func cross() func() race.Scenario {
	update := func(slot string) string { return `update taken set by = by + 1 where slot = '` + slot + `'` }
	build := scenario(pgx.ReadCommitted, []string{update("a"), update("b")}, []string{update("b"), update("a")}, []string{update("a")})
	return func() race.Scenario {
		s := build()
		s.Start = func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, `insert into taken values ('a', 0), ('b', 0)`)
			return err
		}
		return s
	}
}

// steps are what happened, as far as it must be the same each time.
func steps(i history.Interleaving) []history.Step {
	same := slices.Clone(i.Steps)
	for j := range same {
		same[j].Returned = nil
	}
	return same
}

func TestRepeats(t *testing.T) {
	const times = 40 // make test-flaky runs this five times
	e := explorer(t, unique)
	for name, choices := range map[string][]int{
		"deadlock":          {0, 1, 0, 1, 2},    // A and B close a cycle; C waits meanwhile
		"queue":             {0, 2, 1, 1, 0, 0}, // C and B wait for A, one behind the other
		"waits in the end":  {0, 0, 2, 1, 0},
		"two are set free":  {0, 1, 2, 0, 0, 0, 0},
		"nothing in common": {2, 2, 0, 0, 0, 1, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			first, err := e.Play(t.Context(), cross()(), choices)
			require.NoError(t, err)
			for range times {
				again, err := e.Play(t.Context(), cross()(), choices)
				require.NoError(t, err)
				require.Equal(t, steps(first.Interleaving), steps(again.Interleaving))
				require.Equal(t, first.Round.Operations, again.Round.Operations)
			}
		})
	}
}

// A deadlock is closed by the one who is refused, each time, and is a part of the result.
func TestDeadlock(t *testing.T) {
	x, err := explorer(t, plain).Play(t.Context(), cross()(), []int{0, 1, 0, 1})
	require.NoError(t, err)
	closing := x.Interleaving.Steps[3]
	require.Equal(t, "B", closing.Client)
	require.Equal(t, "40P01", closing.SQLState)
	waited := x.Interleaving.Steps[2]
	require.Equal(t, history.Waiting, waited.Outcome)
	require.Equal(t, []string{"B"}, waited.WaitsFor)
	freed := x.Interleaving.Steps[4]
	require.True(t, freed.Resumed)
	require.Equal(t, "A", freed.Client)
	require.Equal(t, closing.Number, freed.Number)
}

func TestWorkersDoNotMatter(t *testing.T) {
	servertest.Slow(t)
	list := func(t *testing.T, workers int, config explore.Config) (all []explore.Interleaving) {
		e := explore.New(servertest.Template(t, unique))
		defer func() { require.NoError(t, e.Close(context.Background())) }()
		config.Workers, config.Seed = workers, 7
		config.Each = func(i explore.Interleaving) bool { all = append(all, i); return true }
		got, err := e.Explore(t.Context(), cross(), config)
		require.NoError(t, err)
		require.NoError(t, got.Err)
		return all
	}
	for _, config := range []explore.Config{
		{}, {Rules: sched.Rules{SeenWaiting: true}}, {Strategy: sched.All, Preemptions: 1}, {Strategy: sched.Random, Limit: 50}, {Strategy: sched.PCT, Limit: 20},
	} {
		if (config.Strategy == sched.Random || config.Strategy == sched.All) && !servertest.Thorough() {
			continue
		}
		t.Run(string(config.Strategy), func(t *testing.T) {
			one := list(t, 1, config)
			require.Greater(t, len(one), 10)
			require.Equal(t, one, list(t, 4, config))
			if servertest.Thorough() {
				require.Equal(t, one, list(t, 2, config))
			}
		})
	}
}

// Backends that may not say that they wait are asked.
func TestWithoutSuperuser(t *testing.T) {
	ctx := t.Context()
	srv := servertest.Server(t)
	admin, err := pgx.ConnectConfig(ctx, srv.Config("", "test"))
	require.NoError(t, err)
	_, err = admin.Exec(ctx, `create role nobody_special login createdb`)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := admin.Exec(context.Background(), `drop role nobody_special`)
		require.NoError(t, err)
		require.NoError(t, admin.Close(context.Background()))
	})
	config := srv.Config("", "test")
	config.User = "nobody_special"
	mine, err := server.Open(ctx, server.Instance{Provider: "test", Where: "a role", Admin: config, Started: time.Now()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, mine.Stop(context.Background())) })
	require.False(t, mine.Superuser)
	template, err := mine.Template(ctx, func(ctx context.Context, config *pgx.ConnConfig) error {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, unique)
		return errors.Join(err, conn.Close(ctx))
	})
	require.NoError(t, err)
	e := explore.New(template)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	for n, want := range map[int]int{2: 6, 3: 42} {
		got, err := e.Explore(ctx, readThenInsert(n, pgx.ReadCommitted), explore.Config{AtEnd: true})
		require.NoError(t, err)
		require.NoError(t, got.Err)
		require.Equal(t, want, got.Executed)
	}
	x, err := e.Play(ctx, cross()(), []int{0, 1, 0, 1})
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(x.Interleaving.Steps, func(s history.Step) bool { return s.SQLState == "40P01" }))
}

// Wake orders that were not tried are counted.
func TestWakeOrders(t *testing.T) {
	insert := []string{`insert into taken values ('s')`}
	got, err := explorer(t, unique).Explore(t.Context(), scenario(pgx.ReadCommitted, insert, insert, insert), explore.Config{})
	require.NoError(t, err)
	require.True(t, got.Complete)
	require.Positive(t, got.WakeOrders)
}

func TestClientsThatMisbehave(t *testing.T) {
	servertest.Slow(t)
	client := func(do func(context.Context, *pgx.Conn) race.Answer) func() race.Scenario {
		return func() race.Scenario {
			return race.Scenario{Clients: []race.Client{
				statements(pgx.ReadCommitted, `select 1`),
				{Operations: []race.Operation{{Kind: "misbehave", Do: do}}},
			}}
		}
	}
	for name, c := range map[string]struct {
		do   func(context.Context, *pgx.Conn) race.Answer
		says string
		hang time.Duration
	}{
		"panics": {func(context.Context, *pgx.Conn) race.Answer { panic("at the disco") }, "client B, operation 1 (misbehave): panicked: at the disco", 0},
		"hangs": {
			func(ctx context.Context, _ *pgx.Conn) race.Answer { <-ctx.Done(); return race.Answer{Err: ctx.Err()} },
			"nothing happened for 200ms while A is held at select 1, B neither asks the database for anything nor returns",
			200 * time.Millisecond,
		},
		"opens a second connection": {func(ctx context.Context, conn *pgx.Conn) race.Answer {
			other, err := pgx.ConnectConfig(ctx, conn.Config())
			if err == nil {
				defer other.Close(ctx)
				_, err = other.Exec(ctx, `select 1`)
			}
			return race.Answer{Err: err}
		}, "a client opened a second connection", 0},
		"never finishes": {func(ctx context.Context, conn *pgx.Conn) race.Answer {
			for ctx.Err() == nil {
				if _, err := conn.Exec(ctx, `select 2`); err != nil {
					return race.Answer{Err: err}
				}
			}
			return race.Answer{}
		}, "an interleaving was cut short after 30 steps", 0},
		"waits for an answer that does not come": {func(ctx context.Context, conn *pgx.Conn) race.Answer {
			_, err := conn.Exec(ctx, `select pg_sleep(600)`)
			return race.Answer{Err: err}
		}, "finding out what \"select pg_sleep(600)\" touches: nothing happened for 200ms", 200 * time.Millisecond},
		"leaves a transaction open": {func(ctx context.Context, conn *pgx.Conn) race.Answer {
			_, err := conn.Exec(ctx, `begin`)
			return race.Answer{Err: err}
		}, "client B, operation 1 (misbehave): left a transaction open", 0},
	} {
		t.Run(name, func(t *testing.T) {
			e := explorer(t, plain)
			got, err := e.Explore(t.Context(), client(c.do), explore.Config{Hang: c.hang, Steps: 30})
			require.NoError(t, err)
			require.Contains(t, got.Trouble, c.says)
			require.False(t, got.Complete)
			if name == "waits for an answer that does not come" {
				all, err := e.Explore(t.Context(), client(c.do), explore.Config{Hang: c.hang, Strategy: sched.All})
				require.NoError(t, err)
				require.Contains(t, all.Trouble, `nothing happened for 200ms after the release of client B at "select pg_sleep(600)"`)
			}

			after, err := e.Explore(t.Context(), readThenInsert(2, pgx.ReadCommitted), explore.Config{AtEnd: true})
			require.NoError(t, err)
			require.NoError(t, after.Err)
			require.Equal(t, 3, after.Executed, "the explorer is of use afterwards: %+v", after)
		})
	}
}

// A client's Prepare and Finish are no part of the race.
func TestPrepareAndFinish(t *testing.T) {
	var finished []string
	build := func() race.Scenario {
		s := scenario("", []string{`insert into taken values ('s')`}, []string{`insert into taken values ('s')`})()
		for i := range s.Clients {
			s.Clients[i].Prepare = func(ctx context.Context, conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, `begin isolation level repeatable read`)
				return err
			}
			s.Clients[i].Finish = func(ctx context.Context, conn *pgx.Conn) error {
				finished = append(finished, fmt.Sprint(i))
				_, err := conn.Exec(ctx, `commit`)
				return err
			}
		}
		return s
	}
	got, err := explorer(t, plain).Explore(t.Context(), build, explore.Config{Strategy: sched.All, Workers: 1})
	require.NoError(t, err)
	require.NoError(t, got.Err)
	require.Equal(t, 2, got.Executed, "one step each")
	require.Equal(t, 2, got.Broken["one"], "they are committed when the race is over, and judged then")
	require.Equal(t, []string{"0", "1", "0", "1"}, finished)
}

// Where all who are left wait, for a lock of one who is done, a timeout of theirs ends it. The control has none, and is said to get nowhere.
func TestTimeouts(t *testing.T) {
	servertest.Slow(t)
	build := func(timeout string) func() race.Scenario {
		return func() race.Scenario {
			s := scenario("", []string{`select pg_advisory_lock(1)`}, []string{`select pg_advisory_lock(1)`})()
			for i := range s.Clients {
				s.Clients[i].Settings = map[string]string{"lock_timeout": timeout}
				s.Clients[i].Finish = func(ctx context.Context, conn *pgx.Conn) error {
					_, err := conn.Exec(ctx, `select pg_advisory_unlock_all()`)
					return err
				}
			}
			return s
		}
	}
	for _, strategy := range []sched.Strategy{sched.All, sched.Reduced} {
		got, err := explorer(t, plain).Explore(t.Context(), build("30ms"), explore.Config{Strategy: strategy})
		require.NoError(t, err)
		require.NoError(t, got.Err)
		require.True(t, got.Complete)
		require.Len(t, got.Outcomes, 2, "%v", got.Outcomes)
	}
	got, err := explorer(t, plain).Explore(t.Context(), build("0"), explore.Config{Hang: time.Second})
	require.NoError(t, err)
	require.ErrorContains(t, got.Err, "nobody can go on")
	require.ErrorContains(t, got.Err, "B waits for a lock")
}

// A client that goes another way each time is no race: the same choices come to something else, be it that a step is answered differently, or that
// other clients can go on. It is said, and not taken for the end of the search.
func TestDivergence(t *testing.T) {
	for name, build := range map[string]func(times int64) []string{
		"another statement": func(n int64) []string {
			return []string{fmt.Sprintf(`select count(*) from taken where slot <> '%d'`, n), `insert into taken values ('s')`}
		},
		"more of them": func(n int64) []string { return slices.Repeat([]string{`insert into taken values ('s')`}, int(n%2)+1) },
	} {
		for _, strategy := range []sched.Strategy{sched.All, sched.Reduced} {
			t.Run(fmt.Sprint(name, " ", strategy), func(t *testing.T) {
				var times atomic.Int64
				got, err := explorer(t, plain).Explore(t.Context(), func() race.Scenario {
					n := times.Add(1)
					return scenario("", build(n), []string{`insert into taken values ('s')`, `select count(*) from taken`})()
				}, explore.Config{Strategy: strategy, Workers: 1})
				require.NoError(t, err)
				require.ErrorIs(t, got.Err, sched.ErrDiverged, "%+v", got.Exploration)
				require.False(t, got.Complete)
			})
		}
	}
}
