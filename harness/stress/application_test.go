package stress_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/leanovate/gopter/gen"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/stress"
)

// shop is an application with one connection for each request. It counts how often it is started, and reset.
type shop struct {
	sell func(ctx context.Context, o *openShop, conn *pgx.Conn) error

	mu      sync.Mutex
	started int
	resets  int
	met     int
	all     chan struct{} // closed when as many have met as are awaited
}

// meet waits until so many do.
func (s *shop) meet(ctx context.Context, many int) error {
	s.mu.Lock()
	all := s.all
	if s.met++; s.met == many {
		close(all)
	}
	s.mu.Unlock()
	select {
	case <-all:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *shop) Habits() race.Habits { return race.Habits{} }

func (s *shop) Start(_ context.Context, url string) (race.Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started++
	return &openShop{shop: s, url: url, ended: make(chan struct{})}, nil
}

type openShop struct {
	*shop
	url   string
	ended chan struct{}
	once  sync.Once
	died  error
}

var errDied = errors.New("it died")

func (o *openShop) end(err error) {
	o.once.Do(func() {
		o.died = err
		close(o.ended)
	})
}

func (o *openShop) Ended() <-chan struct{} { return o.ended }
func (o *openShop) Close(context.Context) error {
	o.end(nil)
	return o.died
}

func (o *openShop) Reset(context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.resets++
	o.met, o.all = 0, make(chan struct{})
	return nil
}

func (o *openShop) ask(ctx context.Context) race.Answer {
	conn, err := pgx.Connect(ctx, o.url)
	if err != nil {
		return race.Answer{Outcome: race.Unknown, Err: err}
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := o.sell(ctx, o, conn); err != nil {
		return race.Answer{Err: err}
	}
	return race.Answer{Outcome: race.Created}
}

// customers all ask the shop once.
func customers(s *shop, n int) race.Workload {
	return race.Define("shop", gen.Const(n), func(n int) race.Scenario {
		out := race.Scenario{System: s, Invariants: []race.Invariant{
			{Name: "one", Says: "no thing is sold twice", SQL: `select thing, count(*) from sold group by thing having count(*) > 1`},
			{Name: "told", Says: "nobody is told failed", SQL: `select client from interlock_outcomes where outcome = 'failed'`, Outcomes: true},
		}}
		for range n {
			out.Clients = append(out.Clients, race.Client{Operations: []race.Operation{{
				Kind: "buy", Ask: func(ctx context.Context, of race.Instance) race.Answer { return of.(*openShop).ask(ctx) },
			}}})
		}
		return out
	})
}

// sell sells a thing, if it is there.
func sell(ctx context.Context, _ *openShop, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `insert into sold select 1 where not exists (select from sold where thing = 1)`)
	return err
}

func shopArena(t *testing.T) *stress.Arena {
	t.Helper()
	a, err := stress.Open(t.Context(), servertest.Database(t, `create table sold (thing int)`))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close(context.Background())) })
	return a
}

// Clients that ask an application race as others do. It is started once, and reset before each round.
func TestApplication(t *testing.T) {
	s := &shop{sell: rush(4)}
	cell, err := shopArena(t).Cell(t.Context(), customers(s, 4), 0, stress.Config{Seed: 1, Rounds: 5})
	require.NoError(t, err)
	require.Empty(t, cell.Trouble)
	require.Equal(t, history.Violated, cell.Invariants[0].Verdict)
	require.Equal(t, history.Held, cell.Invariants[1].Verdict)
	require.Equal(t, 4*cell.Coverage.Rounds, cell.Coverage.Outcomes["created"])
	require.Equal(t, 1, s.started)
	require.Greater(t, s.resets, cell.Coverage.Rounds)
}

// rush is to sell to so many customers, of whom each has looked before any of them has the thing.
func rush(customers int) func(context.Context, *openShop, *pgx.Conn) error {
	return func(ctx context.Context, o *openShop, conn *pgx.Conn) error {
		var sold bool
		if err := conn.QueryRow(ctx, `select exists (select from sold where thing = 1)`).Scan(&sold); err != nil || sold {
			return errors.Join(err, errors.New("sold"))
		}
		if err := o.meet(ctx, customers); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, `insert into sold values (1)`)
		return err
	}
}

// What an application tells its clients is judged as well.
func TestApplicationThatFails(t *testing.T) {
	s := &shop{sell: func(context.Context, *openShop, *pgx.Conn) error { return errors.New("500") }}
	cell, err := shopArena(t).Cell(t.Context(), customers(s, 2), 0, stress.Config{Seed: 1, Rounds: 3})
	require.NoError(t, err)
	require.Equal(t, history.Held, cell.Invariants[0].Verdict)
	require.Equal(t, history.Violated, cell.Invariants[1].Verdict)
}

// An application that ends by itself, or does not answer, is trouble of the cell. The next round has a new one, and nothing of the old is in its way.
func TestApplicationInTrouble(t *testing.T) {
	for _, test := range []struct {
		name string
		sell func(ctx context.Context, o *openShop, conn *pgx.Conn) error
		want string
	}{
		{"ends", func(_ context.Context, o *openShop, _ *pgx.Conn) error { o.end(errDied); return errDied }, "round 1: it died"},
		{"hangs", func(ctx context.Context, _ *openShop, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, `begin; insert into sold values (1); select pg_sleep(1000)`)
			return err
		}, "round 1: the clients did not finish within 300ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, s := shopArena(t), &shop{sell: test.sell}
			cell, err := a.Cell(t.Context(), customers(s, 2), 0, stress.Config{Seed: 1, Rounds: 3, Limit: 300 * time.Millisecond})
			require.NoError(t, err)
			require.Contains(t, cell.Trouble, test.want)
			require.Equal(t, history.Unknown, cell.Verdict)
			s.sell = sell
			cell, err = a.Cell(t.Context(), customers(s, 1), 0, stress.Config{Seed: 1, Rounds: 3})
			require.NoError(t, err)
			require.Empty(t, cell.Trouble)
			require.Equal(t, history.Held, cell.Verdict)
			require.Equal(t, 2, s.started)
		})
	}
}
