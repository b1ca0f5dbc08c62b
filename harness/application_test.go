package harness_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/leanovate/gopter/gen"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// desk is an application that books seats, on a pool of its own.
type desk struct {
	listen string // where it has been told that Postgres is
	both   bool   // it makes two queries at once for one client, and says of neither whose it is
	ends   bool   // when it is asked for anything after it has booked a seat twice

	guilty atomic.Bool
}

func (d *desk) Habits() race.Habits {
	return race.Habits{
		Listen:     d.listen,
		Rehearsal:  func() []race.Client { return d.clients([]int{1, 2}) },
		Background: []race.Background{{SQL: regexp.MustCompile(`^-- ping`)}}, // of the pool
	}
}

// clients returns those who ask for seats, one each.
func (d *desk) clients(seats []int) []harness.Client {
	clients := make([]harness.Client, len(seats))
	for i, seat := range seats {
		mark := fmt.Sprintf("/* client-%d */", i)
		if d.both {
			mark = ""
		}
		clients[i] = harness.Client{Mark: mark, Operations: []harness.Operation{{
			Kind: "book", Input: seat,
			Ask: func(ctx context.Context, of race.Instance) harness.Answer {
				return of.(*openDesk).book(ctx, seat, mark)
			},
		}}}
	}
	return clients
}

func (d *desk) Start(ctx context.Context, url string) (race.Instance, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	return &openDesk{desk: d, pool: pool, ended: make(chan struct{})}, nil
}

type openDesk struct {
	*desk
	pool  *pgxpool.Pool
	ended chan struct{}
	once  sync.Once

	mu     sync.Mutex
	booked map[int]bool // seats, since it was reset; nil: it has not been yet
}

func (o *openDesk) Reset(context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.booked = map[int]bool{}
	return nil
}

// note remembers that a seat was booked.
func (o *openDesk) note(seat int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.booked == nil {
		return
	}
	if o.booked[seat] {
		o.guilty.Store(true)
	}
	o.booked[seat] = true
}

func (o *openDesk) Ended() <-chan struct{} { return o.ended }
func (o *openDesk) Close(context.Context) error {
	o.once.Do(func() {
		o.pool.Close()
		close(o.ended)
	})
	return nil
}

// book looks whether a seat is free, and takes it.
func (o *openDesk) book(ctx context.Context, seat int, mark string) harness.Answer {
	query := func() error {
		return pgx.BeginFunc(ctx, o.pool, func(tx pgx.Tx) error {
			var n int
			if err := tx.QueryRow(ctx, `select count(*) from bookings where seat = $1`+mark, seat).Scan(&n); err != nil {
				return err
			} else if n > 0 {
				return errTaken
			}
			_, err := tx.Exec(ctx, `insert into bookings values ($1)`+mark, seat)
			return err
		})
	}
	var err error
	if o.ends && o.guilty.Load() {
		return harness.Answer{Outcome: harness.Unknown, Err: o.Close(ctx)}
	}
	if o.both {
		other := make(chan error)
		go func() { _, err := o.pool.Exec(ctx, `select count(*) from bookings`); other <- err }()
		err = errors.Join(query(), <-other)
	} else {
		err = query()
	}
	switch {
	case errors.Is(err, errTaken):
		return harness.Answer{Outcome: harness.Conflict}
	case err != nil:
		return harness.Answer{Err: err}
	}
	o.note(seat)
	return harness.Answer{Outcome: harness.Created}
}

// atDesk has clients ask the desk for seats, one each. Where all that contend want different ones, only generated inputs collide.
func atDesk(d *desk, contending []int) harness.Workload {
	w := harness.Define("desk", gen.SliceOfN(2, gen.IntRange(1, 2)), func(seats []int) harness.Scenario {
		return harness.Scenario{Invariants: []harness.Invariant{oneSeat}, System: d, Clients: d.clients(seats)}
	})
	w.Contending = func(int) any { return contending }
	return w
}

// What an application does wrong is found by the orders of its statements, and where those of clients that contend show nothing, by generated inputs;
// what these find is handed to the explorer.
func TestRunApplication(t *testing.T) {
	for _, test := range []struct {
		name       string
		contending []int
		running    bool
		schema     string
		verdict    history.Verdict
	}{
		{"in order", []int{1, 1}, false, without, history.Violated},
		{"by stress", []int{1, 2}, false, without, history.Violated},
		{"by stress, running already", []int{1, 2}, true, without, history.Violated},
		{"held", []int{1, 2}, false, with, history.Held},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.running || test.verdict == history.Held {
				servertest.Slow(t)
			}
			d := &desk{}
			if test.running {
				free, err := net.Listen("tcp", "127.0.0.1:0")
				require.NoError(t, err)
				d.listen = free.Addr().String()
				require.NoError(t, free.Close())
			}
			config := harness.Config{
				Server: servertest.Server(t), Workloads: []harness.Workload{atDesk(d, test.contending)}, Stages: stages(test.schema),
				Seed: 3, Rounds: 1000, For: time.Second, Explore: explore.Config{For: 2 * time.Second},
			}
			run, err := harness.Run(t.Context(), config)
			require.NoError(t, err)
			require.Equal(t, test.verdict, run.Verdict)
			cell := run.Cells[0]
			require.Empty(t, cell.Trouble)
			require.NotEmpty(t, cell.Explorations)
			require.Equal(t, 2, cell.Explorations[0].Clients)
			require.True(t, cell.Explorations[0].Sample)
			if test.verdict == history.Held {
				require.Positive(t, cell.Coverage.Rounds)
				return
			}
			require.Len(t, cell.Counterexamples, 1)
			found := cell.Counterexamples[0]
			require.NotNil(t, found.Interleaving, "the explorer has its order")
			require.Equal(t, found.Repeated, found.Reproduced)
			if strings.HasPrefix(test.name, "by stress") {
				require.Zero(t, cell.Invariants[0].Orders)
				require.Positive(t, cell.Invariants[0].Broken)
			}
			again, err := harness.Replay(t.Context(), config, passOn(t, run))
			require.NoError(t, err)
			require.Equal(t, history.Violated, again.Verdict)
		})
	}
}

// Where the explorer cannot lead the application, a run says why, and what stress has broken and repeated stays broken.
func TestRunApplicationThatCannotBeLed(t *testing.T) {
	servertest.Slow(t)
	run, err := harness.Run(t.Context(), harness.Config{
		Server: servertest.Server(t), Workloads: []harness.Workload{atDesk(&desk{both: true}, []int{1, 1})}, Stages: stages(without), Seed: 3, Rounds: 1000,
	})
	require.NoError(t, err)
	cell := run.Cells[0]
	require.Contains(t, cell.Trouble, "it cannot be told whose statement this is")
	require.Equal(t, history.Violated, cell.Verdict)
	require.Equal(t, history.Violated, run.Verdict)
	require.Nil(t, cell.Counterexamples[0].Interleaving)

	template := servertest.Template(t, without)
	e := explore.New(template)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	w := atDesk(&desk{both: true}, []int{1, 1})
	input, _ := w.Contend(2, 1)
	_, ok, err := e.Counterexample(t.Context(), w, input, oneSeat.Name, explore.Interleaving{}, explore.Config{})
	require.False(t, ok)
	require.ErrorIs(t, err, explore.ErrTrouble)
	require.ErrorContains(t, err, "looking for an order that breaks one booking")
}

// An order that breaks something once, and of which every repetition ends in trouble, is no finding, and no proof of the contrary.
func TestRunApplicationThatChanges(t *testing.T) {
	run, err := harness.Run(t.Context(), harness.Config{
		Server: servertest.Server(t), Workloads: []harness.Workload{atDesk(&desk{ends: true}, []int{1, 1})}, Stages: stages(without), Seed: 3, Rounds: 10,
	})
	require.NoError(t, err)
	cell := run.Cells[0]
	require.Positive(t, cell.Invariants[0].Orders)
	require.Contains(t, cell.Trouble, "the application ended")
	require.Empty(t, cell.Counterexamples)
	require.Equal(t, history.Unknown, cell.Invariants[0].Verdict)
	require.Equal(t, history.Unknown, run.Verdict)
}
