package load_test

import (
	"context"
	"errors"
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

var quick = load.Config{Clients: []int{2}, For: time.Millisecond, Slice: 20 * time.Millisecond, Warmup: 20 * time.Millisecond, Rows: 10}.Impatient(200*time.Millisecond, time.Second)

// A mistake in the code of a workload ends the run, and the error says whose it is. Nothing is left behind.
func TestMistakes(t *testing.T) {
	db := servertest.Database(t, "")
	conn, err := db.Connect(t.Context(), "test")
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	count := func() (databases int) {
		require.NoError(t, conn.QueryRow(t.Context(), `select count(*) from pg_database`).Scan(&databases))
		return databases
	}
	later := func(n int, mistake func(ctx context.Context, conn *pgx.Conn) error) race.Workload {
		var calls atomic.Int64
		return asking(func(ctx context.Context, conn *pgx.Conn, _ int) error {
			if calls.Add(1) < int64(n) {
				return conn.Ping(ctx)
			}
			return mistake(ctx, conn)
		})
	}
	with := func(stream race.Stream) race.Workload {
		return race.Workload{Name: "asking", Stream: func(race.Shape) race.Stream { return stream }}
	}
	ping := func() race.Operation {
		return race.Operation{Kind: "ask", Do: func(ctx context.Context, conn *pgx.Conn) race.Answer { return race.Answer{Err: conn.Ping(ctx)} }}
	}
	client := func(int) func() race.Operation { return ping }
	asked := 0
	for _, test := range []struct {
		name     string
		workload race.Workload
		want     string
		clients  int
	}{
		{"no stream", race.Workload{Name: "asking"}, `workload asking has no stream, so it cannot be measured; try`, 0},
		{"panics", later(10, func(context.Context, *pgx.Conn) error { panic("oh") }), `asking, 2 clients: client \d, operation \d+ \(ask\): panicked: oh\n`, 2},
		{"leaves a transaction open", later(10, func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, `begin`)
			return err
		}), `asking, 2 clients: client \d, operation \d+ \(ask\): left a transaction open; end it`, 2},
		{"never ends", later(10, func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, `select pg_sleep(1000)`)
			return err
		}), `asking, 2 clients: client \d was still at its operation \d+ \(ask\) 200ms after the end of its slice, and was cut off; try a statement_timeout`, 2},
		{"panics when asked", with(race.Stream{Client: func(n int) func() race.Operation {
			return func() race.Operation {
				if asked++; n == 0 && asked > 10 {
					panic("ah")
				}
				return ping()
			}
		}}), `asking, 1 client: client 1, asked for operation \d+: panicked: ah\n`, 0},
		{"panics beforehand", with(race.Stream{Client: func(int) func() race.Operation { panic("eh") }}), `asking: panicked: eh\n`, 0},
		{"panics filling", with(race.Stream{Client: client, Fill: func(context.Context, *pgx.Conn) error { panic("uh") }}), `asking: filling its tables: panicked: uh\n`, 0},
		{"cannot fill", with(race.Stream{Client: client, Fill: func(context.Context, *pgx.Conn) error { return errors.New("no rows today") }}), `asking: filling its tables: no rows today`, 0},
		{"asks an invariant what is not SQL", with(race.Stream{Client: client, Invariants: []race.Invariant{{Name: "X", SQL: `selec`}}}), `asking, 1 client: invariant X: .*syntax error`, 0},
		{"takes what is no data", with(race.Stream{Client: func(int) func() race.Operation {
			return func() race.Operation {
				op := ping()
				op.Input = func() {}
				return op
			}
		}}), `asking, 1 client: client 1, operation 1 \(ask\): its input: json: unsupported type`, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := count()
			config := quick
			config.Server = servertest.Server(t)
			config.Clients = []int{max(test.clients, 1)}
			config.Subjects = []load.Subject{{Workload: test.workload, Template: config.Server.Blank()}}
			m, err := load.Run(t.Context(), config)
			require.Error(t, err)
			require.Regexp(t, `^`+test.want, err.Error())
			for _, a := range m.Arms {
				require.NotEqual(t, history.Held, a.Verdict, "the run was cut short")
			}
			require.Equal(t, before, count())
		})
	}
}

// A run that is interrupted ends at once, whatever its clients are at, and says so.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	reason := errors.New("enough")
	var calls atomic.Int64
	config := quick
	config.Server = servertest.Server(t)
	config.Subjects = []load.Subject{{Template: config.Server.Blank(), Workload: asking(func(quiet context.Context, conn *pgx.Conn, _ int) error {
		if calls.Add(1) == 20 {
			cancel(reason)
			_, err := conn.Exec(quiet, `select pg_sleep(1000)`)
			return err
		}
		return conn.Ping(quiet)
	})}}
	began := time.Now()
	_, err := load.Run(ctx, config)
	require.ErrorIs(t, err, reason)
	require.Less(t, time.Since(began), 60*time.Second)
}

// A workload that gives up on the server by itself is counted as what it is, and what it gave up is cancelled.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	m := measure(t, load.Config{Clients: []int{2}, For: time.Millisecond, Slice: 50 * time.Millisecond, Warmup: 10 * time.Millisecond, Rows: 10},
		asking(func(ctx context.Context, conn *pgx.Conn, client int) error {
			if client > 0 {
				return conn.Ping(ctx)
			}
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			_, err := conn.Exec(short, `select pg_sleep(600)`)
			return err
		}))
	a := m.Arms[0]
	require.Equal(t, history.Held, a.Verdict)
	require.Positive(t, a.Errors["timeout"])
	require.Len(t, a.Errors, 1, a.Errors)
	require.Positive(t, a.Operations)
	require.NotEmpty(t, m.Outages)
	require.Equal(t, []string{"done", "unknown"}, []string{a.Kinds[0].Outcome, a.Kinds[1].Outcome})
	require.Equal(t, a.Operations, a.Kinds[0].Count)
	require.Equal(t, a.Errors["timeout"], a.Kinds[1].Count)
}
