package explore_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/leanovate/gopter/gen"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// What must not be taken for a proof.

// An application that turns clients away from some request on, without asking the database, has not shown what comes of the orders that are left.
func TestTurnedAway(t *testing.T) {
	var asked atomic.Int64
	limited := func(ctx context.Context, pool *pgxpool.Pool, r *http.Request) error {
		if asked.Add(1) > 12 {
			return errTaken
		}
		return take(ctx, pool, r)
	}
	found, err := explorer(t, plain).Explore(t.Context(), behind(&service{most: 4, handle: limited, settle: 200 * time.Millisecond}, []string{"/s"}, []string{"/s"}), explore.Config{Workers: 1})
	require.NoError(t, err)
	require.ErrorContains(t, found.Err, "others can go on than before")
	require.False(t, found.Complete)
	require.Less(t, found.Executed, 20)
}

// An application that is late once, or does something else, is asked again, and its pool is as it was: a search goes on to its end.
func TestOnceOtherwise(t *testing.T) {
	servertest.Slow(t)
	var asked atomic.Int64
	otherwise := func(ctx context.Context, pool *pgxpool.Pool, r *http.Request) error {
		if asked.Add(1) == 13 {
			if _, err := pool.Exec(ctx, `select count(*) from taken`); err != nil {
				return err
			}
		}
		return take(ctx, pool, r)
	}
	found, err := explorer(t, plain).Explore(t.Context(), behind(&service{most: 4, handle: otherwise, settle: 200 * time.Millisecond}, []string{"/s"}, []string{"/s"}), explore.Config{Workers: 1})
	require.NoError(t, err)
	require.NoError(t, found.Err)
	require.True(t, found.Complete)
	require.Equal(t, 20, found.Executed)
	require.Equal(t, map[string]int{"A created; B created": 18, "A created; B conflict": 1, "A conflict; B created": 1}, found.Outcomes)
}

// Of clients for which nothing comes to the database, nothing is proven.
func TestSilence(t *testing.T) {
	half := func(ctx context.Context, pool *pgxpool.Pool, r *http.Request) error {
		if r.URL.Path == "/nothing" {
			return errTaken
		}
		return take(ctx, pool, r)
	}
	e := explorer(t, plain)
	found, err := e.Explore(t.Context(), behind(&service{most: 4, handle: half, settle: 200 * time.Millisecond}, []string{"/nothing"}, []string{"/nothing"}), explore.Config{})
	require.NoError(t, err)
	require.NoError(t, found.Err)
	require.False(t, found.Complete)
	require.Contains(t, found.Trouble, "no statement of a client came to Postgres")
	require.Equal(t, []string{"A", "B"}, found.Silent)

	found, err = e.Explore(t.Context(), behind(&service{most: 4, handle: half, settle: 200 * time.Millisecond}, []string{"/s"}, []string{"/nothing"}), explore.Config{})
	require.NoError(t, err)
	require.True(t, found.Complete)
	require.Equal(t, []string{"B"}, found.Silent)
}

// What looks like a driver's own question, and writes, is led like any other statement.
func TestCatalogInAStatement(t *testing.T) {
	insert := func(ctx context.Context, pool *pgxpool.Pool, r *http.Request) error {
		_, err := pool.Exec(ctx, `insert into taken select 's', 1 where not exists (select from taken where slot operator(pg_catalog.=) 's')`)
		return err
	}
	found, err := explorer(t, plain).Explore(t.Context(), behind(&service{most: 4, handle: insert, settle: 200 * time.Millisecond}, []string{"/s"}, []string{"/s"}), explore.Config{})
	require.NoError(t, err)
	require.NoError(t, found.Err)
	require.True(t, found.Complete)
	require.Equal(t, 6, found.Executed)
	require.Equal(t, 4, found.Broken["one"])
}

// Queries at the same time on a way that no client takes alone are learned when they come.
func TestParallelOnlyInConflict(t *testing.T) {
	servertest.Slow(t)
	careful := func(ctx context.Context, pool *pgxpool.Pool, r *http.Request) error {
		err := take(ctx, pool, r)
		if !errors.Is(err, errTaken) {
			return err
		}
		look := func() error {
			_, err := pool.Exec(ctx, `select slot from taken where by = 1 /*`+r.Header.Get("mark")+`*/`)
			return err
		}
		second := make(chan error)
		go func() { second <- look() }()
		return errors.Join(look(), <-second, errTaken)
	}
	s := &service{most: 6, handle: careful, marks: true, settle: 20 * time.Millisecond}
	found, err := explorer(t, plain).Explore(t.Context(), behind(s, []string{"/s"}, []string{"/s"}), explore.Config{Limit: 30})
	require.NoError(t, err)
	require.NoError(t, found.Err)
	require.Equal(t, 30, found.Executed)
	require.Positive(t, found.Outcomes["A created; B failed"]+found.Outcomes["A created; B conflict"], "%v", found.Outcomes)
}

// Work that goes on after the answer is nobody's, and not given to whoever is there.
func TestWorkAfterTheAnswer(t *testing.T) {
	var late sync.WaitGroup
	defer late.Wait()
	audited := func(ctx context.Context, pool *pgxpool.Pool, r *http.Request) error {
		defer late.Go(func() { _, _ = pool.Exec(context.Background(), `update taken set by = 2 where slot = 'audit'`) })
		return take(ctx, pool, r)
	}
	found, err := explorer(t, plain).Explore(t.Context(), behind(&service{most: 4, handle: audited, settle: 200 * time.Millisecond}, []string{"/s"}, []string{"/s"}), explore.Config{})
	require.NoError(t, err)
	require.Error(t, found.Err)
	require.Contains(t, found.Trouble, "update taken set by = 2")
	require.Contains(t, found.Trouble, "background in the target file")
	require.False(t, found.Complete)
}

// More queries at the same time than a schedule has numbers for are said to be.
func TestTooManyStrands(t *testing.T) {
	servertest.Slow(t)
	many := func(ctx context.Context, pool *pgxpool.Pool, r *http.Request) error {
		var all sync.WaitGroup
		for range 33 {
			all.Go(func() { _, _ = pool.Exec(ctx, `insert into taken values ('s', 1)`) })
		}
		all.Wait()
		return nil
	}
	found, err := explorer(t, plain).Explore(t.Context(), behind(&service{most: 40, handle: many, settle: 50 * time.Millisecond}, []string{"/s"}), explore.Config{Limit: 1})
	require.NoError(t, err)
	require.ErrorContains(t, found.Err, "more than 32 queries at the same time")
}

// Whose values are others in each run are told apart by the rest.
func TestStrandsWithNewValues(t *testing.T) {
	two := func(ctx context.Context, pool *pgxpool.Pool, r *http.Request) error {
		insert := func(slot string) error {
			_, err := pool.Exec(ctx, `insert into made values (gen_random_uuid(), $1, $2)`, time.Now().Format(time.RFC3339Nano), slot)
			return err
		}
		second := make(chan error)
		go func() { second <- insert("b") }()
		return errors.Join(insert("a"), <-second)
	}
	e := explorer(t, plain+`; create table made (id uuid, at text, slot text)`)
	s := &service{most: 4, handle: two, settle: 10 * time.Millisecond}
	build := behind(s, []string{"/a"})
	scenario := build()
	for range 10 {
		x, err := e.Play(t.Context(), scenario, []int{0, 0, 1, 1})
		require.NoError(t, err)
		require.Equal(t, "a", *x.Interleaving.Steps[0].Parameters[1])
	}
}

// A connection that is cut takes the locks of its transaction along, and whoever waits for them goes on because of that and of nothing later.
func TestWaiterOfACutConnection(t *testing.T) {
	build := func() race.Scenario {
		return race.Scenario{
			Start: func(ctx context.Context, conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, `insert into taken values ('s', 0)`)
				return err
			},
			Clients: []race.Client{
				statements(pgx.ReadCommitted, `update taken set by = 1`, `select 1`),
				statements(pgx.ReadCommitted, `update taken set by = 2`),
				statements(pgx.ReadCommitted, `select count(*) from taken`),
			},
		}
	}
	e := explorer(t, plain)
	repeats := 20
	if servertest.Thorough() {
		repeats = 300
	}
	for _, fault := range []history.Fault{history.Disconnect, history.Terminate} {
		for range repeats {
			x, err := e.Play(t.Context(), build(), []int{0, 1, history.Choice(0, fault), 2, 2, 1})
			require.NoError(t, err)
			require.Nil(t, x.Mismatch)
			steps := x.Interleaving.Steps
			require.Equal(t, fault, steps[2].Fault)
			require.True(t, steps[3].Resumed)
			require.Equal(t, "B", steps[3].Client)
			require.Equal(t, steps[2].Number, steps[3].Number, "the release that set it free")
		}
	}
}

// A statement that waits to be parsed goes on when the lock is free, before anybody else is chosen.
func TestWaitsToBeParsed(t *testing.T) {
	build := func() race.Scenario {
		return race.Scenario{Clients: []race.Client{
			statements(pgx.ReadCommitted, `lock table taken in access exclusive mode`),
			{Operations: []race.Operation{{Kind: "prepare", Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
				if _, err := conn.Exec(ctx, `select 1`); err != nil {
					return race.Answer{Err: err}
				}
				_, err := conn.Prepare(ctx, "count", `select count(*) from taken`)
				if err == nil {
					_, err = conn.Exec(ctx, "count")
				}
				return race.Answer{Err: errors.Join(err, conn.Deallocate(ctx, "count"))}
			}}}},
		}}
	}
	e := explorer(t, plain)
	executed := -1
	for range 10 {
		found, err := e.Explore(t.Context(), build, explore.Config{Strategy: "all"})
		require.NoError(t, err)
		require.NoError(t, found.Err)
		require.True(t, found.Complete)
		require.Equal(t, map[string]int{"A done; B done": found.Executed}, found.Outcomes)
		if executed < 0 {
			executed = found.Executed
		}
		require.Equal(t, executed, found.Executed)
	}
}

// An order that was found is not looked for again: it may have been found far out, or late.
func TestCounterexampleOfAKnownOrder(t *testing.T) {
	e := explorer(t, plain)
	w := race.Define("take", gen.Const(2), func(n int) race.Scenario { return checkThenInsert(n)() })
	input, err := w.Generate(1)
	require.NoError(t, err)
	found, err := e.Explore(t.Context(), checkThenInsert(2), explore.Config{Strategy: "all"})
	require.NoError(t, err)
	hurry := explore.Config{Strategy: "all", For: time.Nanosecond}
	_, ok, err := e.Counterexample(t.Context(), w, input, "one", explore.Interleaving{}, hurry)
	require.NoError(t, err)
	require.False(t, ok, "the control")
	x, ok, err := e.Counterexample(t.Context(), w, input, "one", found.First["one"], hurry)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, explore.Repeats, x.Reproduced)
	require.Equal(t, found.First["one"].Number, x.Order)
	require.Equal(t, fmt.Sprint(found.First["one"].Choices), fmt.Sprint(x.Interleaving.Choices()))
}
