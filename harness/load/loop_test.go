package load_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/load"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// asking is a workload without tables whose clients do one thing again and again.
func asking(do func(ctx context.Context, conn *pgx.Conn, client int) error) race.Workload {
	return race.Workload{Name: "asking", Stream: func(race.Shape) race.Stream {
		return race.Stream{Client: func(n int) func() race.Operation {
			return func() race.Operation {
				return race.Operation{Kind: "ask", Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
					return race.Answer{Err: do(ctx, conn, n)}
				}}
			}
		}}
	}}
}

// A stall of 300 ms is in the latencies of all that arrived meanwhile, and not only of those that were under way.
func TestStall(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	measured := func(rate float64) history.Measurement {
		var armed atomic.Bool
		var stalls atomic.Int32
		w := race.Workload{Name: "stalling", Stream: func(race.Shape) race.Stream {
			return race.Stream{
				Client: func(int) func() race.Operation {
					return func() race.Operation {
						return race.Operation{Kind: "count", Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
							return race.Answer{Err: pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
								_, err := tx.Exec(ctx, `update notes set open = not open where id = 1`)
								if err == nil && armed.CompareAndSwap(true, false) {
									stalls.Add(1)
									_, err = tx.Exec(ctx, `select pg_sleep(0.3)`) // which holds the lock
								}
								return err
							})}
						}}
					}
				},
				Fill: func(ctx context.Context, conn *pgx.Conn) error {
					_, err := conn.Exec(ctx, `insert into notes (device) values (1)`)
					return err
				},
			}
		}}
		m := measure(t, load.Config{
			Clients: []int{2}, Rate: rate, For: time.Millisecond, Slice: 150 * time.Millisecond, Warmup: 10 * time.Millisecond, Seed: 1,
			Progress: func(done, _ int, _ string) {
				if done == 2 {
					armed.Store(true)
				}
			},
		}, w)
		require.EqualValues(t, 1, stalls.Load())
		require.Len(t, m.Arms[0].Slices, load.LeastTurns)
		require.GreaterOrEqual(t, m.Arms[0].Latency.Max, history.Duration(300*time.Millisecond))
		return m
	}
	open, closed := measured(300).Arms[0], measured(0).Arms[0]
	require.Positive(t, open.Unserved)
	require.Zero(t, closed.Unserved)
	require.Greater(t, open.Latency.P99, history.Duration(75*time.Millisecond))
	require.Less(t, closed.Latency.P99, open.Latency.P99/2)
}

// What arrives and is not served is counted, and no more clients are at work than there are.
func TestOverload(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	for _, how := range []history.Arrivals{history.Constant, history.Poisson} {
		var busy, most, calls atomic.Int64
		m := measure(t, load.Config{
			Clients: []int{2}, Rate: 500, Arrivals: how, For: time.Millisecond, Slice: 100 * time.Millisecond, Warmup: 10 * time.Millisecond, Seed: 3,
		}, asking(func(ctx context.Context, conn *pgx.Conn, _ int) error {
			calls.Add(1)
			for n := busy.Add(1); ; {
				if old := most.Load(); n <= old || most.CompareAndSwap(old, n) {
					break
				}
			}
			defer busy.Add(-1)
			_, err := conn.Exec(ctx, `select pg_sleep(0.02)`)
			return err
		}))
		a := m.Arms[0]
		require.EqualValues(t, 2, most.Load())
		require.LessOrEqual(t, int64(a.Operations), calls.Load())
		require.Positive(t, a.Unserved)
		require.Greater(t, a.Kinds[0].Latency.P50, history.Duration(30*time.Millisecond), "those that were served had waited, beside the 20 ms that they took")
		require.Equal(t, how, m.Shape.Arrivals)
		arrived := a.Operations + a.Unserved
		if how == history.Constant {
			require.InDelta(t, load.LeastTurns*50, arrived, load.LeastTurns)
		} else {
			require.InDelta(t, load.LeastTurns*50, arrived, 70, "four standard deviations")
		}
		require.LessOrEqual(t, a.Operations, load.LeastTurns*2*6, "two clients do five each in a slice, and one that is late")
	}
}

// At a rate that is served with ease, all that arrives is served, and throughput is the rate.
func TestServed(t *testing.T) {
	t.Parallel()
	m := measure(t, load.Config{
		Clients: []int{4}, Rate: 100, Arrivals: history.Constant, For: time.Millisecond, Slice: 100 * time.Millisecond, Warmup: 10 * time.Millisecond, Seed: 3,
	}, asking(func(ctx context.Context, conn *pgx.Conn, _ int) error { return conn.Ping(ctx) }))
	require.InDelta(t, load.LeastTurns*10, m.Arms[0].Operations+m.Arms[0].Unserved, load.LeastTurns)
	require.Less(t, m.Arms[0].Unserved, load.LeastTurns, "but for what was due just before the end of a slice")
	require.LessOrEqual(t, m.Arms[0].Throughput, 110.0, "what is slow to arrive is not fast")
	for _, s := range m.Arms[0].Slices {
		require.GreaterOrEqual(t, s.Took, m.Shape.Slice)
	}
	require.Equal(t, 2*load.LeastTurns, m.Arms[0].Looks-2) // and once more each in the run-up
}

// The same seed gives each client the same operations, and turns the same order.
func TestRepeats(t *testing.T) {
	t.Parallel()
	const clients = 2
	type seen struct {
		order []string
		ops   [clients][]string
	}
	once := func(seed int64) (s seen) {
		var mu sync.Mutex
		var workloads []race.Workload
		for i := range 2 {
			workloads = append(workloads, race.Workload{Name: "asking", Variant: fmt.Sprint(i), Stream: func(shape race.Shape) race.Stream {
				return race.Stream{Client: func(n int) func() race.Operation {
					random := rand.New(rand.NewPCG(uint64(shape.Seed), uint64(n)))
					return func() race.Operation {
						key := fmt.Sprint(random.IntN(shape.Devices))
						return race.Operation{Kind: "ask", Subject: key, Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
							if i == 0 {
								mu.Lock()
								s.ops[n] = append(s.ops[n], key)
								mu.Unlock()
							}
							return race.Answer{Err: conn.Ping(ctx)}
						}}
					}
				}}
			}})
		}
		m := measure(t, load.Config{
			Clients: []int{clients}, Rate: 300, For: time.Millisecond, Slice: 15 * time.Millisecond, Warmup: 10 * time.Millisecond, Seed: seed, Devices: 1000,
		}, workloads...)
		type slice struct {
			began history.Duration
			arm   string
		}
		var all []slice
		for _, a := range m.Arms {
			for _, one := range a.Slices {
				all = append(all, slice{one.Began, fmt.Sprint(a.Name(), " in turn ", one.Turn)})
			}
		}
		slices.SortFunc(all, func(a, b slice) int { return int(a.began - b.began) })
		for _, one := range all {
			s.order = append(s.order, one.arm)
		}
		return s
	}
	a, b, c := once(1), once(1), once(2)
	require.Equal(t, a.order, b.order)
	require.NotEqual(t, a.order, c.order)
	for n := range clients {
		least := min(len(a.ops[n]), len(b.ops[n]), len(c.ops[n]))
		require.Greater(t, least, 3)
		require.Equal(t, a.ops[n][:least], b.ops[n][:least])
		require.NotEqual(t, a.ops[n][:least], c.ops[n][:least])
	}
	require.NotEqual(t, a.ops[0][:3], a.ops[1][:3])
}

// A ramp shares one database; the fewest clients that bring the most are its knee.
func TestRamp(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	m := measure(t, load.Config{Clients: []int{1, 2, 4}, For: time.Millisecond, Slice: 60 * time.Millisecond, Warmup: 10 * time.Millisecond},
		asking(func(ctx context.Context, conn *pgx.Conn, client int) error {
			if client >= 2 { // no help
				_, err := conn.Exec(ctx, `select pg_sleep(0.15)`)
				return err
			}
			_, err := conn.Exec(ctx, `select pg_sleep(0.01)`)
			return err
		}))
	require.Len(t, m.Arms, 3)
	for i, clients := range []int{1, 2, 4} {
		require.Equal(t, clients, m.Arms[i].Clients)
		require.Equal(t, clients == 2, m.Arms[i].Knee, "%d clients: %v/s", clients, m.Arms[i].Throughput)
		require.Len(t, m.Arms[i].Slices, load.LeastTurns)
	}
	require.Equal(t, []int{1, 2, 4}, m.Shape.Clients)
}
