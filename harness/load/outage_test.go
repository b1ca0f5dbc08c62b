//go:build unix

package load_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/load"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/migrations"
	"github.com/interlock-pg/interlock/scenarios"
)

// fault is something that happens to the server in the middle of a run. It is brought about by an operation, and kept up for some turns.
type fault struct {
	stays   bool             // the operation that brings it about waits in the server for its end
	begin   func()           // returns when the server does not serve
	end     func()           // nil: it never does
	until   func(error) bool // the error with which it may end; nil: after three turns
	armed   atomic.Bool
	fired   chan time.Duration // since the run began, about
	down    chan struct{}
	downAt  time.Duration
	enough  chan struct{}
	healed  chan struct{}
	turns   int
	began   time.Time
	closing sync.Once
}

// wrapped returns the workload with the operations of its clients changed.
func wrapped(w race.Workload, change func(client int, op race.Operation) race.Operation) race.Workload {
	stream := w.Stream
	w.Stream = func(shape race.Shape) race.Stream {
		s := stream(shape)
		client := s.Client
		s.Client = func(n int) func() race.Operation {
			next := client(n)
			return func() race.Operation { return change(n, next()) }
		}
		return s
	}
	return w
}

// in returns the workload with the fault in the middle of an operation of its first client.
func (f *fault) in(w race.Workload) race.Workload {
	f.fired, f.down, f.enough, f.healed = make(chan time.Duration, 1), make(chan struct{}), make(chan struct{}), make(chan struct{})
	return wrapped(w, func(n int, op race.Operation) race.Operation {
		do := op.Do
		op.Do = func(ctx context.Context, conn *pgx.Conn) race.Answer {
			if n == 0 && f.armed.CompareAndSwap(true, false) {
				f.fired <- time.Since(f.began)
				go f.happen()
				if f.stays {
					if _, err := conn.Exec(ctx, `select pg_sleep(600)`); err != nil {
						return race.Answer{Err: err}
					}
				}
			}
			answer := do(ctx, conn)
			if f.until != nil && f.until(answer.Err) {
				f.closing.Do(func() { close(f.enough) })
			}
			return answer
		}
		return op
	})
}

func (f *fault) happen() {
	f.begin()
	f.downAt = time.Since(f.began)
	close(f.down)
	if f.end != nil {
		<-f.enough
		f.end()
	}
	close(f.healed)
}

// progress arms the fault after a third of the turns, and lets the run go on when it is over.
func (f *fault) progress(done, total int, _ string) {
	switch {
	case done == total/3:
		f.armed.Store(true)
	case len(f.fired) == 1:
		<-f.down
		if f.turns++; f.turns >= 3 && f.until == nil {
			f.closing.Do(func() { close(f.enough) })
		}
		select {
		case <-f.enough:
			<-f.healed
		default:
		}
	}
}

// strike measures two workloads, with the fault in the middle of the first.
func (f *fault) strike(t *testing.T, srv *server.Server, template *server.Template, at int64, config load.Config, workloads ...race.Workload) (history.Measurement, error) {
	t.Helper()
	workloads[0] = f.in(workloads[0])
	config.Server, config.Clients, config.Progress = srv, []int{3}, f.progress
	config.Slice, config.Warmup, config.Rows = 30*time.Millisecond, 20*time.Millisecond, 100
	config.For = 12 * time.Duration(len(workloads)+1) * config.Slice // the yardstick takes turns too
	for i, w := range workloads {
		config.Subjects = append(config.Subjects, load.Subject{Workload: w, Template: template, At: at, Base: i == 0})
	}
	f.began = time.Now()
	m, err := load.Run(t.Context(), config)
	require.Len(t, f.fired, 1, "the fault happened")
	return m, err
}

func template(t *testing.T, srv *server.Server, script string) *server.Template {
	t.Helper()
	made, err := srv.Template(t.Context(), func(ctx context.Context, config *pgx.ConnConfig) error {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, script, pgx.QueryExecModeSimpleProtocol)
		return errors.Join(err, conn.Close(ctx))
	})
	require.NoError(t, err)
	return made
}

// execOn runs a statement on the server, beside all.
func (s *ownServer) execOn(t *testing.T, sql string) {
	conn, err := pgx.Connect(context.Background(), s.DSN())
	if err == nil {
		_, err = conn.Exec(context.Background(), sql)
		err = errors.Join(err, conn.Close(context.Background()))
	}
	if err != nil {
		t.Error(err)
	}
}

const terminateClients = `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'interlock % client %'`

// exhaust ends the clients' sessions and takes every connection that the server has. What is returned gives them back.
func (s *ownServer) exhaust(t *testing.T) (release func()) {
	ctx := context.Background()
	var conns []*pgx.Conn
	release = func() {
		for _, conn := range conns {
			conn.Close(ctx)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		conn, err := pgx.Connect(ctx, s.DSN())
		if err == nil {
			conns = append(conns, conn)
			continue
		}
		tag, err := conns[0].Exec(ctx, terminateClients)
		if err != nil || tag.RowsAffected() == 0 {
			if err != nil {
				t.Error(err)
			}
			return release
		}
	}
	t.Error("the clients were always faster")
	return release
}

// Whatever happens to the server in the middle: the run goes on when it is over, and what was acknowledged is there.
func TestFailingServer(t *testing.T) {
	t.Parallel()
	own := newOwnServer(t, "max_connections = 40")
	var release func()
	lost := []string{"57P01", "57P02", "lost connection"}
	refused := []string{"57P03", "refused connection"}
	for _, test := range []struct {
		name   string
		fault  *fault
		kinds  [][]string // of each, one was seen
		beside []race.Workload
	}{
		{"restarted", &fault{stays: true, begin: func() { own.Stop(t, "fast") }, end: func() { own.Start(t) }}, [][]string{lost, refused}, []race.Workload{ledger("beside", false)}},
		{"terminated", &fault{stays: true, begin: func() { own.execOn(t, terminateClients) }, end: func() {}}, [][]string{lost}, nil},
		{"no connections", &fault{stays: true, begin: func() { release = own.exhaust(t) }, end: func() { release() }}, [][]string{lost, {"53300"}}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.name != "restarted" {
				servertest.Slow(t)
			}
			srv := own.open(t)
			made := template(t, srv, entries)
			m, err := test.fault.strike(t, srv, made, 0, load.Config{}, append([]race.Workload{ledger("hit", false)}, test.beside...)...)
			require.NoError(t, err)
			requireSurvived(t, m, test.fault, test.kinds)
			if test.beside != nil { // the server was away for whole turns, so for slices of the yardstick too
				require.True(t, slices.ContainsFunc(m.Outages, func(o history.Outage) bool { return o.Arm == "yardstick, 2 clients" }), "%+v", m.Outages)
			}
			require.NoError(t, made.Drop(t.Context()))
			require.NoError(t, srv.Stop(t.Context()))
			require.Empty(t, own.databases(t))
		})
	}

	t.Run("crashed", func(t *testing.T) {
		srv := own.open(t)
		made, err := srv.Template(t.Context(), func(ctx context.Context, config *pgx.ConnConfig) error {
			_, err := migrations.Embedded().Apply(ctx, config, 2)
			return err
		})
		require.NoError(t, err)
		all := scenarios.Workloads(scenarios.Options{})
		i := slices.IndexFunc(all, func(w race.Workload) bool { return w.FullName() == "sessions/constraint" })
		f := fault{stays: true, begin: func() { own.Stop(t, "immediate") }, end: func() { own.Start(t) }}
		m, err := f.strike(t, srv, made, 2, load.Config{}, all[i])
		require.NoError(t, err)
		requireSurvived(t, m, &f, [][]string{lost, refused})
		require.True(t, slices.ContainsFunc(m.Arms[0].Invariants, func(j history.Judgement) bool { return j.Invariant == "S5" && j.Verdict == history.Held }))
		require.NoError(t, made.Drop(t.Context()))
		require.NoError(t, srv.Stop(t.Context()))
		require.Empty(t, own.databases(t))
	})

	t.Run("frozen", func(t *testing.T) { // it takes connections, and says nothing
		servertest.Slow(t)
		srv := own.open(t)
		made := template(t, srv, entries)
		f := fault{begin: func() { own.Signal(t, syscall.SIGSTOP) }, end: func() { own.Signal(t, syscall.SIGCONT) }}
		m, err := f.strike(t, srv, made, 0, load.Config{}.Impatient(200*time.Millisecond, 10*time.Second), ledger("hit", false))
		require.NoError(t, err)
		requireSurvived(t, m, &f, [][]string{{"timeout"}})
		require.NoError(t, made.Drop(t.Context()))
		require.NoError(t, srv.Stop(t.Context()))
		require.Empty(t, own.databases(t))
	})

	t.Run("gone", func(t *testing.T) {
		srv := own.open(t)
		made := template(t, srv, entries)
		f := fault{stays: true, begin: func() { own.Stop(t, "immediate") }}
		m, err := f.strike(t, srv, made, 0, load.Config{}.Impatient(time.Second, 100*time.Millisecond), ledger("hit", false))
		require.ErrorContains(t, err, "dropping database")
		require.Len(t, m.Arms, 1)
		for _, a := range m.Arms {
			require.Equal(t, history.Unknown, a.Verdict)
			require.False(t, a.AsExpected)
			require.Contains(t, a.Trouble, "the server did not serve when all was over")
			require.Positive(t, a.Operations)
			require.Positive(t, a.Errors["refused connection"])
			require.Len(t, a.Slices, 12)
		}
		require.NotEmpty(t, m.Outages)
		require.Error(t, srv.Stop(t.Context()))
		own.Start(t)
		require.NotEmpty(t, own.databases(t))
		require.NoError(t, own.open(t).Stop(t.Context())) // which sweeps
		require.Empty(t, own.databases(t))
	})
}

func requireSurvived(t *testing.T, m history.Measurement, f *fault, kinds [][]string) {
	t.Helper()
	for _, a := range m.Arms {
		require.Equal(t, history.Held, a.Verdict, "%s: %+v", a.Trouble, a.Violations)
		require.True(t, a.AsExpected)
		require.Empty(t, a.Trouble)
		require.GreaterOrEqual(t, len(a.Slices), 12)
		operations := 0
		for _, s := range a.Slices {
			operations += s.Operations
		}
		require.Equal(t, operations, a.Operations)
		last := a.Slices[len(a.Slices)-1]
		require.Positive(t, last.Operations, "the clients have come back: %+v\n%+v %+v", a.Slices, a.Errors, a.Kinds)
		require.Zero(t, last.Errors)
		require.Less(t, a.Database.WALBytes, int64(16<<20), "of the slices, and not since the server was made")
		require.Positive(t, a.Database.WALBytes)
		require.GreaterOrEqual(t, a.Database.Commits, int64(0), "the crash set the counters to 0")
		require.GreaterOrEqual(t, a.Database.BlocksHit, int64(0))
	}
	hit := m.Arms[0]
	for _, among := range kinds {
		require.True(t, slices.ContainsFunc(among, func(kind string) bool { return hit.Errors[kind] > 0 }), "%v in %v", among, hit.Errors)
	}
	for kind := range maps.Keys(hit.Errors) {
		require.True(t, kind == "23505" || slices.ContainsFunc(kinds, func(among []string) bool { return slices.Contains(among, kind) }), "%v: %v", kind, hit.Errors)
	}
	i := slices.IndexFunc(m.Outages, func(o history.Outage) bool { return strings.HasPrefix(o.Arm, hit.Name()) })
	require.GreaterOrEqual(t, i, 0, "%+v", m.Outages)
	first := m.Outages[i]
	if f.stays {
		require.LessOrEqual(t, time.Duration(first.Began), f.downAt)
	}
	require.GreaterOrEqual(t, time.Duration(first.Ended), <-f.fired)
	require.Positive(t, first.Errors)
	require.NotEmpty(t, first.Why)
	last := hit.Slices[len(hit.Slices)-1].Began
	for _, o := range m.Outages {
		require.LessOrEqual(t, o.Began, o.Ended)
		require.GreaterOrEqual(t, o.Ended, m.Outages[0].Began)
		if o.Arm == first.Arm {
			require.Less(t, o.Ended, last)
		}
	}
}

// A disk that is really full, for a while: a table on a small file system.
func TestDiskFull(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	disk, err := os.MkdirTemp("/tmp", "loadtest-disk-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(disk)) })
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=16m,mode=0777", "tmpfs", disk).CombinedOutput(); err != nil {
		t.Skipf("a small file system cannot be mounted: %v: %s", err, out)
	}
	t.Cleanup(func() { require.NoError(t, exec.Command("umount", disk).Run()) })
	own := newOwnServer(t)
	space := filepath.Join(disk, "space")
	require.NoError(t, os.Mkdir(space, 0o700))
	own.Give(t, space)
	own.execOn(t, fmt.Sprintf(`create tablespace small location '%s'`, space))

	ballast := filepath.Join(disk, "ballast")
	f := fault{
		begin: func() {
			file, err := os.Create(ballast)
			for err == nil {
				_, err = file.Write(make([]byte, 4096))
			}
			file.Close()
		},
		end: func() { os.Remove(ballast) },
		until: func(err error) bool {
			var pg *pgconn.PgError
			return errors.As(err, &pg) && pg.Code == "53100"
		},
	}
	srv := own.open(t)
	made := template(t, srv, entries+` tablespace small`)
	m, err := f.strike(t, srv, made, 0, load.Config{}, ledger("hit", false))
	require.NoError(t, err)
	hit := m.Arms[0]
	require.Equal(t, history.Held, hit.Verdict, "%s: %+v", hit.Trouble, hit.Violations)
	require.Positive(t, hit.Errors["53100"])
	require.Len(t, hit.Errors, 1, hit.Errors)
	last := hit.Slices[len(hit.Slices)-1]
	require.Positive(t, last.Operations)
	require.Zero(t, last.Errors)
	require.NotEmpty(t, m.Outages)
	require.Contains(t, m.Outages[0].Why, "could not extend file", "for want of space; 53100 says so, whether nothing or half a page could be written")
	require.GreaterOrEqual(t, time.Duration(m.Outages[0].Ended), <-f.fired)
	require.NoError(t, made.Drop(t.Context()))
	require.NoError(t, srv.Stop(t.Context()))
	require.Empty(t, own.databases(t))
}
