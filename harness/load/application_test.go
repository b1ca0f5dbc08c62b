package load_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/load"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// notebook is an application that adds notes, on a pool of its own.
type notebook struct {
	add   func(ctx context.Context, o *openNotebook, device int) race.Answer
	reset func(context.Context) error // nil: it has nothing to forget

	started, asked, open atomic.Int64
}

func (n *notebook) Habits() race.Habits { return race.Habits{} }

func (n *notebook) Start(ctx context.Context, url string) (race.Instance, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	n.started.Add(1)
	n.open.Add(1)
	return &openNotebook{notebook: n, pool: pool, ended: make(chan struct{})}, nil
}

type openNotebook struct {
	*notebook
	pool    *pgxpool.Pool
	ended   chan struct{}
	once    sync.Once
	closing sync.Once
	died    error
}

func (o *openNotebook) end(err error) {
	o.once.Do(func() {
		o.died = err
		close(o.ended)
	})
}

func (o *openNotebook) Reset(ctx context.Context) error {
	if o.reset == nil {
		return nil
	}
	return o.reset(ctx)
}

func (o *openNotebook) Ended() <-chan struct{} { return o.ended }
func (o *openNotebook) Close(context.Context) error {
	o.end(nil)
	o.closing.Do(func() {
		o.pool.Close()
		o.open.Add(-1)
	})
	return o.died
}

// write adds a note.
func write(ctx context.Context, o *openNotebook, device int) race.Answer {
	answer := race.Answer{Outcome: race.Created}
	if err := o.pool.QueryRow(ctx, `insert into notes (device) values ($1) returning id::text`, device).Scan(&answer.Row); err != nil {
		return race.Answer{Err: err}
	}
	return answer
}

// asked is [adding], of an application.
func asked(n *notebook, variant string) race.Workload {
	w := adding(variant, "")
	stream := w.Stream
	w.Stream = func(shape race.Shape) race.Stream {
		s := stream(shape)
		s.System = n
		s.Fill = func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, `insert into notes (device, open) values (1, false)`)
			return err
		}
		s.Client = func(client int) func() race.Operation {
			return func() race.Operation {
				return race.Operation{Kind: "add", Ask: func(ctx context.Context, of race.Instance) race.Answer {
					n.asked.Add(1)
					return n.add(ctx, of.(*openNotebook), client)
				}}
			}
		}
		return s
	}
	return w
}

// Applications are measured side by side, one for each arm, and their invariants judged as others are.
func TestApplications(t *testing.T) {
	t.Parallel()
	plain := &notebook{add: write}
	slow := &notebook{add: func(ctx context.Context, o *openNotebook, device int) race.Answer {
		if _, err := o.pool.Exec(ctx, `select pg_sleep(0.005)`); err != nil {
			return race.Answer{Err: err}
		}
		return write(ctx, o, device)
	}}
	m := measure(t, load.Config{Clients: []int{1, 3}, For: time.Millisecond, Slice: 50 * time.Millisecond, Warmup: 50 * time.Millisecond},
		asked(plain, "plain"), asked(slow, "slow"))
	require.Len(t, m.Arms, 4)
	for _, a := range m.Arms {
		require.Equal(t, history.Held, a.Verdict, "%s %+v", a.Trouble, a.Violations)
		require.Positive(t, a.Operations)
		require.Equal(t, "created", a.Kinds[0].Outcome)
		require.Len(t, a.Slices, load.LeastTurns)
		require.Positive(t, a.Database.Commits)
	}
	for _, a := range m.Arms[2:] {
		require.GreaterOrEqual(t, time.Duration(a.Kinds[0].Latency.P50), 4900*time.Microsecond, "5 ms more are seen, to three figures")
	}
	require.Zero(t, m.Shape.Devices, "an application is not asked what the shape says")
	require.Zero(t, m.Shape.Rows)
	require.Empty(t, m.Outages)
	for _, n := range []*notebook{plain, slow} {
		require.EqualValues(t, 1, n.started.Load(), "one for all numbers of clients")
		require.Zero(t, n.open.Load(), "none is left")
	}
}

// Requests that arrive at a rate are asked of an application as of Postgres.
func TestApplicationAtARate(t *testing.T) {
	t.Parallel()
	m := measure(t, load.Config{Clients: []int{4}, Rate: 100, Arrivals: history.Constant, For: time.Millisecond, Slice: 100 * time.Millisecond, Warmup: 50 * time.Millisecond},
		asked(&notebook{add: write}, ""))
	a := m.Arms[0]
	require.Equal(t, load.LeastTurns*10, a.Operations+a.Unserved)
	require.True(t, a.AsExpected, "%s %+v", a.Trouble, a.Violations)
}

// What a client is told counts by what it is. What it did not ask for, for want of an earlier answer, does not count.
func TestAnswersOfAnApplication(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	m := measure(t, load.Config{Clients: []int{1}, For: time.Millisecond, Slice: 30 * time.Millisecond, Warmup: 30 * time.Millisecond},
		asked(&notebook{add: func(ctx context.Context, o *openNotebook, device int) race.Answer {
			switch n.Add(1) % 4 {
			case 0:
				return race.Answer{Err: errStatus{}}
			case 1:
				return race.Answer{Outcome: race.Unknown, Err: errors.New("no answer")}
			case 2:
				return race.Answer{Outcome: race.NotFound, Err: race.ErrNotAsked}
			default:
				return write(ctx, o, device)
			}
		}}, ""))
	a := m.Arms[0]
	require.True(t, a.AsExpected, "%s %+v", a.Trouble, a.Violations)
	count := map[string]int{}
	for _, k := range a.Kinds {
		count[k.Outcome] = k.Count
	}
	require.Len(t, count, 3)
	require.Equal(t, count["failed"]+count["created"], a.Operations, "what got no answer has no latency")
	require.Positive(t, count["unknown"])
	require.Equal(t, count["failed"], a.Errors["HTTP 500"])
	require.Equal(t, count["unknown"], a.Errors["error of the client"])
}

type errStatus struct{}

func (errStatus) Error() string   { return "500 Internal Server Error: oh" }
func (errStatus) Failure() string { return "HTTP 500" }

// An application that ends is an outage, and then the end of the run. One that does not answer is cut off.
func TestApplicationsInTrouble(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		add     func(ctx context.Context, o *openNotebook, device int) race.Answer
		want    string
		outages bool
	}{
		{"ends", func(_ context.Context, o *openNotebook, _ int) race.Answer {
			o.end(errors.New("it died"))
			return race.Answer{Outcome: race.Unknown, Err: errors.New("no answer")}
		}, "notes, 2 clients: it died", true},
		{"hangs", func(ctx context.Context, _ *openNotebook, _ int) race.Answer {
			<-ctx.Done()
			return race.Answer{Outcome: race.Unknown, Err: ctx.Err()}
		}, "(add) 200ms after the end of its slice, and was cut off", false},
		{"panics", func(context.Context, *openNotebook, int) race.Answer { panic("oh") }, "(add): panicked: oh", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := &notebook{}
			n.add = func(ctx context.Context, o *openNotebook, device int) race.Answer {
				if n.asked.Load() < 5 {
					return write(ctx, o, device)
				}
				return test.add(ctx, o, device)
			}
			config := quick
			config.Warmup, config.Slice = time.Microsecond, 50*time.Millisecond
			config.Server = servertest.Server(t)
			config.Subjects = []load.Subject{{Workload: asked(n, ""), Template: servertest.Template(t, notes), Base: true}}
			m, err := load.Run(t.Context(), config)
			require.ErrorContains(t, err, test.want)
			require.Len(t, m.Arms, 1, "what was measured until then")
			require.Equal(t, test.outages, len(m.Outages) > 0)
			require.Zero(t, n.open.Load())
		})
	}
}

// An application that does not answer its reset, or leaves a lock in the way of an invariant, does not keep a measurement waiting.
func TestApplicationsThatKeepOneWaiting(t *testing.T) {
	t.Parallel()
	var left *pgx.Conn
	t.Cleanup(func() { left.Close(context.Background()) })
	for _, test := range []struct {
		name string
		app  *notebook
		want string
	}{
		{"reset", &notebook{add: write, reset: func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}}, "notes: not answered within 200ms"},
		{"lock", &notebook{add: func(ctx context.Context, o *openNotebook, _ int) race.Answer {
			if left != nil {
				return race.Answer{}
			}
			var err error
			if left, err = pgx.ConnectConfig(ctx, o.pool.Config().ConnConfig); err == nil {
				_, err = left.Exec(ctx, `begin; lock table notes`)
			}
			return race.Answer{Err: err}
		}}, "is still in a transaction (idle in transaction: begin; lock table notes); does it forget to end one?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			config := quick
			config.Clients, config.Server = []int{1}, servertest.Server(t)
			config.Subjects = []load.Subject{{Workload: asked(test.app, ""), Template: servertest.Template(t, notes), Base: true}}
			_, err := load.Run(ctx, config)
			require.ErrorContains(t, err, test.want)
			require.Zero(t, test.app.open.Load())
		})
	}
}
