package wire_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire"
)

// bench is a gate with clients on it, that a test releases step by step.
type bench struct {
	t       testing.TB
	db      *server.Database
	gate    *wire.Gate
	control *pgx.Conn
	mu      sync.Mutex
	seen    []wire.Event
	done    sync.WaitGroup
}

func newBench(t testing.TB, schema string, config wire.Config) *bench {
	b := &bench{t: t, db: servertest.Database(t, schema)}
	config.Events = func(e wire.Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.seen = append(b.seen, e)
	}
	b.gate = wire.New(config)
	var err error
	b.control, err = b.db.Connect(t.Context(), "control")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, b.gate.Close())
		b.done.Wait()
		require.NoError(t, b.control.Close(context.Background()))
	})
	return b
}

// connect opens a session. While it connects, nothing is held.
func (b *bench) connect(name string, change ...func(*pgx.ConnConfig)) (*pgx.Conn, *wire.Session) {
	b.t.Helper()
	config := b.db.Config(name)
	for _, c := range change {
		c(config)
	}
	b.gate.Attach(&config.Config, name)
	conn, err := pgx.ConnectConfig(b.t.Context(), config)
	require.NoError(b.t, err)
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = b.gate.Close() // nobody releases steps any more
		_ = conn.Close(ctx)
		select {
		case <-conn.PgConn().CleanupDone():
		case <-ctx.Done():
		}
	})
	return conn, wire.SessionOf(conn.PgConn())
}

// wait waits for a state of a session.
func (b *bench) wait(s *wire.Session, what string, is func(wire.State) bool) wire.State {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	var state wire.State
	err := b.gate.Wait(ctx, func() bool { state = s.State(); return is(state) })
	require.NoError(b.t, err, "%s: waiting until %s: %+v", s.Name(), what, state)
	return state
}

func (b *bench) held(s *wire.Session) wire.Step {
	b.t.Helper()
	return b.wait(s, "a step is held", func(s wire.State) bool { return s.Phase == wire.Holding }).Step
}

// step releases the step that is held, or will be, and waits for its answer.
func (b *bench) step(s *wire.Session, kind wire.Kind) wire.Result {
	b.t.Helper()
	step := b.held(s)
	require.Equal(b.t, kind, step.Kind, step.SQL)
	require.True(b.t, s.Release(step.Index))
	return b.wait(s, "it has answered", func(s wire.State) bool { return s.Last.Index >= step.Index }).Result
}

// do runs a client's code at the side.
func (b *bench) do(f func() error) <-chan error {
	result := make(chan error, 1)
	b.done.Go(func() { result <- f() })
	return result
}

func (b *bench) count(table string) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.control.QueryRow(b.t.Context(), "select count(*) from "+table).Scan(&n))
	return n
}

func (b *bench) kinds(session string) (kinds []wire.EventKind) {
	for _, e := range b.events(session) {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// all returns what a session has told, which is over or about to be.
func (b *bench) all(s *wire.Session) []wire.Event {
	b.t.Helper()
	b.wait(s, "it has told that it is over", func(wire.State) bool {
		kinds := b.kinds(s.Name())
		return len(kinds) > 0 && kinds[len(kinds)-1] == wire.Closed
	})
	return b.events(s.Name())
}

// events returns what a session has told so far.
func (b *bench) events(session string) (events []wire.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.seen {
		if e.Session == session {
			events = append(events, e)
		}
	}
	return events
}

var modes = []pgx.QueryExecMode{
	pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
}

const takeLock = `insert into locks select $1 where not exists (select 1 from locks where name = $1)`

// TestRace: two statements that are each atomic, and yet not together. Without the split, the second could not begin before the first has
// committed.
func TestRace(t *testing.T) {
	for _, mode := range modes {
		for _, serial := range []bool{false, true} {
			t.Run(fmt.Sprint(mode, " serial ", serial), func(t *testing.T) {
				b := newBench(t, `create table locks (name text)`, wire.Config{Split: true})
				var sessions []*wire.Session
				var results []<-chan error
				for i := range 2 {
					conn, s := b.connect(fmt.Sprint("client ", i+1), func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = mode })
					sessions = append(sessions, s)
					results = append(results, b.do(func() error { _, err := conn.Exec(t.Context(), takeLock, "m"); return err }))
				}
				b.held(sessions[1])
				expect := 2
				if serial {
					expect = 1
					require.Equal(t, wire.Result{Tag: "INSERT 0 1", Rows: 1, Status: wire.Implicit}, b.step(sessions[0], wire.Statement))
					require.Equal(t, wire.Result{Status: wire.Idle}, b.step(sessions[0], wire.Commit))
					require.Equal(t, "INSERT 0 0", b.step(sessions[1], wire.Statement).Tag)
					b.step(sessions[1], wire.Commit)
				} else {
					require.Equal(t, "INSERT 0 1", b.step(sessions[0], wire.Statement).Tag)
					require.Equal(t, "INSERT 0 1", b.step(sessions[1], wire.Statement).Tag)
					b.step(sessions[0], wire.Commit)
					require.Equal(t, 1, b.count("locks"), "the other has not committed")
					b.step(sessions[1], wire.Commit)
				}
				require.NoError(t, <-results[0])
				require.NoError(t, <-results[1])
				require.Equal(t, expect, b.count("locks"))
			})
		}
	}
}

// TestModes: what clients do with pgx has the same result with the gate as without.
func TestModes(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			b := newBench(t, `create table t (id serial primary key, v text, at timestamptz, n numeric); create table child (id int references t deferrable initially deferred)`,
				wire.Config{Split: true, Hold: func(wire.Step) bool { return false }})
			through, _ := b.connect("through", func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = mode })
			config := b.db.Config("direct")
			config.DefaultQueryExecMode = mode
			direct, err := pgx.ConnectConfig(t.Context(), config)
			require.NoError(t, err)
			defer direct.Close(context.Background())
			var said [2][]string
			for i, conn := range []*pgx.Conn{direct, through} {
				_, err := b.control.Exec(t.Context(), `truncate t, child restart identity`)
				require.NoError(t, err)
				said[i] = use(t.Context(), conn)
			}
			require.Equal(t, said[0], said[1])
		})
	}
}

// use does with a connection what there is to do, twice because of caches, and tells what came of it.
func use(ctx context.Context, conn *pgx.Conn) (said []string) {
	say := func(values ...any) {
		for i, v := range values {
			if pg, ok := v.(*pgconn.PgError); ok {
				values[i] = fmt.Sprintf("%+v", *pg)
			}
		}
		said = append(said, fmt.Sprintln(values...))
	}
	for range 2 {
		tag, err := conn.Exec(ctx, `insert into t (v, n) values ($1, $2)`, "점검", 1.5)
		say(tag, err)
		tag, err = conn.Exec(ctx, `insert into child values ($1)`, 999)
		say(tag, err)
		tag, err = conn.Exec(ctx, `insert into t (id) values ($1)`, 1)
		say(tag, err)
		rows, err := conn.Query(ctx, `select id, v, n from t order by id`)
		say(err)
		for rows.Next() {
			values, err := rows.Values()
			say(values, err)
		}
		say(rows.Err(), rows.CommandTag())
		var n int
		say(conn.QueryRow(ctx, `select 1/($1::int - 1)`, 1).Scan(&n), n)

		tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable})
		say(err)
		nested, err := tx.Begin(ctx)
		say(err)
		tag, err = nested.Exec(ctx, `insert into t (id) values ($1)`, 1)
		say(tag, err)
		say(nested.Rollback(ctx))
		tag, err = tx.Exec(ctx, `update t set v = $1`, "u")
		say(tag, err)
		say(tx.QueryRow(ctx, `select count(*) from t`).Scan(&n), n)
		say(tx.Commit(ctx))

		batch := &pgx.Batch{}
		for i := range 3 {
			batch.Queue(`insert into t (v) values ($1) returning id`, fmt.Sprint(i))
		}
		batch.Queue(`select 1/0`)
		results := conn.SendBatch(ctx, batch)
		for range 3 {
			say(results.QueryRow().Scan(&n), n)
		}
		say(results.Exec())
		say(results.Close())
		good := &pgx.Batch{}
		good.Queue(`insert into t (v) values ($1)`, "x")
		good.Queue(`select count(*) from t`)
		say(conn.SendBatch(ctx, good).Close())

		copied, err := conn.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"v"}, pgx.CopyFromSlice(3000, func(i int) ([]any, error) { return []any{fmt.Sprint(i)}, nil }))
		say(copied, err)
		copied, err = conn.CopyFrom(ctx, pgx.Identifier{"child"}, []string{"id"}, pgx.CopyFromRows([][]any{{77}}))
		say(copied, err)
		var out counter
		tag, err = conn.PgConn().CopyTo(ctx, &out, `copy (select v from t order by v) to stdout`)
		say(tag, err, out)
		_, err = conn.Prepare(ctx, "named", `select count(*) from t where id > $1`)
		say(err)
		say(conn.QueryRow(ctx, "named", 2).Scan(&n), n)
		say(conn.Deallocate(ctx, "named"))
		tag, err = conn.Exec(ctx, `delete from t`)
		say(tag, err)

		pipeline := conn.PgConn().StartPipeline(ctx)
		for range 2 {
			pipeline.SendQueryParams(`insert into t (v) values ($1)`, [][]byte{[]byte("p")}, nil, nil, nil)
			say(pipeline.Sync())
		}
		for range 4 {
			result, err := pipeline.GetResults()
			if reader, ok := result.(*pgconn.ResultReader); ok {
				tag, err := reader.Close()
				say(tag, err)
			}
			say(err)
		}
		say(pipeline.Close(), conn.IsClosed(), string(conn.PgConn().TxStatus()))
	}
	return said
}

// counter says how much was written to it.
type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }
