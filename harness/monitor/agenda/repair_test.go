package agenda_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/internal/clock/clocktest"
	"github.com/interlock-pg/interlock/harness/monitor/agenda"
	"github.com/interlock-pg/interlock/harness/repair"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/migrations"
	"github.com/interlock-pg/interlock/scenarios"
)

// bench is a database with 52 devices that have two open sessions each, as in production.
type bench struct {
	*testing.T
	db   *server.Database
	conn *pgx.Conn
	mu   sync.Mutex
	runs []history.Run
}

var template = sync.OnceValues(func() (*server.Template, error) {
	srv, err := servertest.Shared()
	if err != nil {
		return nil, err
	}
	return srv.Template(context.Background(), func(ctx context.Context, config *pgx.ConnConfig) error {
		if _, err := migrations.Embedded().Apply(ctx, config, 1); err != nil {
			return err
		}
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, `
			insert into aedpics.aed_data (id, equipment_serial) select n, 'AED-' || n from generate_series(1, 52) n;
			insert into aedpics.user_profiles default values;
			insert into aedpics.inspection_sessions (equipment_serial, inspector_id, started_at)
			select 'AED-' || d, (select id from aedpics.user_profiles), timestamptz '2025-11-10 10:00Z' + s * interval '1 minute'
			from generate_series(1, 52) d, generate_series(1, 2) s`, pgx.QueryExecModeSimpleProtocol)
		return err
	})
})

func setup(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	made, err := template()
	require.NoError(t, err)
	b := &bench{T: t}
	b.db, err = made.Database(t.Context())
	require.NoError(t, err)
	b.conn, err = b.db.Connect(t.Context(), "test")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, b.conn.Close(context.Background()))
		require.NoError(t, b.db.Drop(context.Background()))
	})
	return b
}

// job is a repair in batches of 10.
func (b *bench) job(mode agenda.Mode) agenda.Repair {
	return agenda.Repair{
		Database: b.db.Config("repair"), Mode: mode,
		Config: repair.Config{Rules: scenarios.RepairRules(scenarios.Window, scenarios.KeepNewest), Batch: 10},
		Done: func(run history.Run) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.runs = append(b.runs, run)
			return nil
		},
	}
}

func (b *bench) text(sql string) string {
	b.Helper()
	var text string
	require.NoError(b, b.conn.QueryRow(context.Background(), sql).Scan(&text), sql)
	return text
}

// open is how many sessions are open, and how many repairs are archived.
func (b *bench) open() string {
	b.Helper()
	open := b.text(`select count(*)::text from aedpics.inspection_sessions where status = 'active'`)
	if b.text(`select (to_regclass('interlock_archive.rows') is not null)::text`) == "false" {
		return open + ", no archive"
	}
	return open + ", " + b.text(`select count(*) || ' archived by ' || count(distinct repair) from interlock_archive.rows`)
}

func TestDryRun(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.job(agenda.DryRun).Do(t.Context()))
	require.Equal(t, "104, no archive", b.open())
	require.Len(t, b.runs, 1)
	require.Len(t, b.runs[0].Repair.Groups, 52)
	require.Empty(t, b.runs[0].Repair.ID)
}

func TestApply(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.job(agenda.Apply).Do(t.Context()))
	require.Equal(t, "52, 52 archived by 1", b.open())
	require.NoError(t, b.job(agenda.Apply).Do(t.Context()))
	require.Equal(t, "52, 52 archived by 1", b.open())
	require.Len(t, b.runs, 2)
	require.Equal(t, history.Held, b.runs[0].Verdict)
	require.NotEmpty(t, b.runs[0].Repair.ID)
	require.Empty(t, b.runs[1].Repair.Groups)
	require.Equal(t, "0", b.text(`select count(*)::text from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`))
}

func TestMaxRows(t *testing.T) {
	b := setup(t)
	job := b.job(agenda.Apply)
	job.MaxRows = 51
	err := job.Do(t.Context())
	require.ErrorIs(t, err, agenda.ErrRefused)
	require.ErrorContains(t, err, "would cancel 52 rows, and may cancel 51; look at them with: interlock repair --dry-run")
	require.Equal(t, "104, no archive", b.open())
	require.Len(t, b.runs, 1, "the plan can be seen")
	job.MaxRows = 52
	require.NoError(t, job.Do(t.Context()))
	require.Equal(t, "52, 52 archived by 1", b.open())
}

// TestMaxRead has more rows that break an invariant than a repair has memory for.
func TestMaxRead(t *testing.T) {
	b := setup(t)
	for _, mode := range []agenda.Mode{agenda.DryRun, agenda.Apply} {
		job := b.job(mode)
		job.Config.MaxRead = 103
		err := job.Do(t.Context())
		require.ErrorIs(t, err, agenda.ErrRefused)
		require.ErrorContains(t, err, "more than 103; try: interlock repair --dry-run")
		require.Empty(t, b.runs[len(b.runs)-1].Repair.Groups)
		require.Equal(t, "104, no archive", b.open())
	}
	job := b.job(agenda.Apply)
	job.Config.MaxRead = 104
	require.NoError(t, job.Do(t.Context()))
	require.Equal(t, "52, 52 archived by 1", b.open())
}

func TestReadOnly(t *testing.T) {
	b := setup(t)
	for _, mode := range []agenda.Mode{agenda.Apply, agenda.DryRun} {
		job := b.job(mode)
		job.Database.RuntimeParams["default_transaction_read_only"] = "on"
		err := job.Do(t.Context())
		if mode == agenda.DryRun {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, agenda.ErrRefused)
		require.ErrorContains(t, err, "is read only; try the address of the primary, or --repair=dry-run")
	}
	require.Equal(t, "104, no archive", b.open())
}

// pooler has a client share a session, as PgBouncer does where it pools transactions: it tells it a pid of its own, and the session goes on after it.
func pooler(t *testing.T, session *pgconn.HijackedConn) (address *net.TCPAddr, ended <-chan error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			conn, err := listener.Accept()
			if err != nil {
				return err
			}
			defer conn.Close()
			client := pgproto3.NewBackend(conn, conn)
			if _, err := client.ReceiveStartupMessage(); err != nil {
				return err
			}
			client.Send(&pgproto3.AuthenticationOk{})
			client.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{0, 0, 0, 1}})
			client.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			for {
				if err := client.Flush(); err != nil {
					return err
				}
				for asked := false; !asked; {
					message, err := client.Receive()
					if err != nil {
						return err
					}
					switch message.(type) {
					case *pgproto3.Terminate:
						return nil
					case *pgproto3.Sync, *pgproto3.Query:
						asked = true
					}
					session.Frontend.Send(message)
				}
				if err := session.Frontend.Flush(); err != nil {
					return err
				}
				for answered := false; !answered; {
					message, err := session.Frontend.Receive()
					if err != nil {
						return err
					}
					client.Send(message)
					_, answered = message.(*pgproto3.ReadyForQuery)
				}
			}
		}()
	}()
	return listener.Addr().(*net.TCPAddr), done
}

// TestPooler has a session that is not ours alone: it is refused, and left as it was.
func TestPooler(t *testing.T) {
	b := setup(t)
	ctx := t.Context()
	shared, err := b.db.Connect(ctx, "shared")
	require.NoError(t, err)
	_, err = shared.Exec(ctx, `set idle_session_timeout = '1h'; select pg_advisory_lock(7)`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	hijacked, err := shared.PgConn().Hijack()
	require.NoError(t, err)
	address, ended := pooler(t, hijacked)
	job := b.job(agenda.Apply)
	job.Database.Host, job.Database.Port, job.Database.TLSConfig, job.Database.Fallbacks = address.IP.String(), uint16(address.Port), nil, nil
	err = job.Do(ctx)
	require.ErrorIs(t, err, agenda.ErrRefused)
	require.ErrorContains(t, err, "is a pooler, through which a lock cannot be kept; try the address of the server itself")
	require.NoError(t, <-ended)

	session, err := pgconn.Construct(hijacked)
	require.NoError(t, err)
	defer session.Close(context.Background())
	left, err := session.Exec(ctx, `select current_setting('idle_session_timeout'), count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`).ReadAll()
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("1h"), []byte("1")}, left[0].Rows[0])
}

// TestArchiveInASchemaOfOurOwn has a role that may create nothing in the database, and was given a schema.
func TestArchiveInASchemaOfOurOwn(t *testing.T) {
	b := setup(t)
	role := "repair_" + b.db.Name
	run := func(sql string) {
		_, err := b.conn.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
	}
	run(`create role ` + role + ` login; create schema interlock_archive authorization ` + role)
	defer run(`drop owned by ` + role + `; drop role ` + role)
	config := b.db.Config("repair")
	config.User = role
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	require.NoError(t, repair.Prepare(t.Context(), conn))
	require.Equal(t, "104, 0 archived by 0", b.open())
}

func TestCheck(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, agenda.Repair{Mode: "on"}.Do(t.Context()), `there is no repair "on"; try dry-run or apply`)
	require.ErrorContains(t, agenda.Repair{Mode: agenda.Apply}.Check(), "needs a database")
	require.ErrorContains(t, agenda.Repair{Mode: agenda.Apply, Database: &pgx.ConnConfig{}}.Check(), "needs rules")
}

// TestOneAtATime has a second instance come while the first is between two batches.
func TestOneAtATime(t *testing.T) {
	b := setup(t)
	between, on := make(chan struct{}), make(chan struct{})
	first := b.job(agenda.Apply)
	var once sync.Once
	first.Config.Progress = func(int, int, string) {
		once.Do(func() {
			close(between)
			<-on
		})
	}
	done := make(chan error, 1)
	go func() { done <- first.Do(context.Background()) }()
	<-between
	for _, mode := range []agenda.Mode{agenda.Apply, agenda.DryRun} {
		err := b.job(mode).Do(t.Context())
		require.ErrorIs(t, err, agenda.ErrSkipped)
		require.ErrorContains(t, err, "another instance repairs")
	}
	require.Equal(t, "94, 10 archived by 1", b.open())
	close(on)
	require.NoError(t, <-done)
	require.Equal(t, "52, 52 archived by 1", b.open())
}

// TestSameMinute has three agendas with one clock.
func TestSameMinute(t *testing.T) {
	b := setup(t)
	clock := clocktest.New(time.Date(2026, 11, 10, 2, 59, 30, 0, time.UTC))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var all []*agenda.Agenda
	for range 3 {
		a, err := agenda.New(agenda.Config{Clock: clock, Jobs: []agenda.Job{{Name: "repair", Spec: "0 3 * * *", Do: b.job(agenda.Apply).Do}}})
		require.NoError(t, err)
		all = append(all, a)
		running.Go(func() { _ = a.Run(ctx) })
	}
	clock.Waiting(t, 3)
	clock.Move(time.Date(2026, 11, 10, 3, 0, 0, 0, time.UTC))
	for _, a := range all {
		for s := a.Status()[0]; s.Running || s.Runs+s.Skipped == 0; s = a.Status()[0] {
			time.Sleep(time.Millisecond)
		}
		require.Zero(t, a.Status()[0].Failed, a.Status()[0].Why)
	}
	cancel()
	running.Wait()
	require.Equal(t, "52, 52 archived by 1", b.open())
	resolved := 0
	for _, run := range b.runs {
		for _, g := range run.Repair.Groups {
			if g.State == history.RepairResolved {
				resolved++
			}
		}
	}
	require.Equal(t, 52, resolved)
}

// TestLockIsLost cuts connections of a repair after its first batch: it stops, and the next one goes on.
func TestLockIsLost(t *testing.T) {
	for name, want := range map[string]string{"interlock repair lock": "its lock is lost", "interlock repair": "repairing"} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			job := b.job(agenda.Apply)
			var once sync.Once
			job.Config.Progress = func(int, int, string) {
				once.Do(func() {
					cut := `application_name = '` + name + `' and datname = current_database()`
					// the connection of the search may be about to end
					require.NotEqual(t, "0", b.text(`select count(pg_terminate_backend(pid, 10000))::text from pg_stat_activity where `+cut))
				})
			}
			err := job.Do(t.Context())
			require.ErrorContains(t, err, want)
			require.NotErrorIs(t, err, agenda.ErrSkipped)
			require.Equal(t, "94, 10 archived by 1", b.open())
			require.Len(t, b.runs, 1)
			require.NotEmpty(t, b.runs[0].Trouble)
			require.Len(t, b.runs[0].Repair.Groups, 10, "what was done is told")
			require.NoError(t, b.job(agenda.Apply).Do(t.Context()))
			require.Equal(t, "52, 52 archived by 2", b.open())
		})
	}
}

// TestLockIsLostWhileSearching has a search that waits, and would for long.
func TestLockIsLostWhileSearching(t *testing.T) {
	b := setup(t)
	ctx := t.Context()
	other, err := b.db.Connect(ctx, "other")
	require.NoError(t, err)
	defer other.Close(ctx)
	tx, err := other.Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, `lock table aedpics.inspection_sessions`)
	require.NoError(t, err)
	job := b.job(agenda.Apply)
	job.Config.LockTimeout = 10 * time.Minute
	done := make(chan error, 1)
	go func() { done <- job.Do(context.Background()) }()
	for waits := "0"; waits != "1"; {
		waits = b.text(`select count(*)::text from pg_stat_activity where application_name = 'interlock repair' and datname = current_database() and wait_event_type = 'Lock'`)
	}
	require.Equal(t, "1", b.text(`select count(pg_terminate_backend(pid, 10000))::text from pg_stat_activity
		where application_name = 'interlock repair lock' and datname = current_database()`))
	require.ErrorContains(t, <-done, "its lock is lost")
	require.NoError(t, tx.Rollback(ctx))
	require.Equal(t, "104, no archive", b.open())
	require.NoError(t, b.job(agenda.Apply).Do(ctx))
	require.Equal(t, "52, 52 archived by 1", b.open())
}

// TestStopped ends a repair between two batches.
func TestStopped(t *testing.T) {
	b := setup(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	job := b.job(agenda.Apply)
	job.Config.Progress = func(done, _ int, _ string) {
		if done == 20 {
			cancel(fmt.Errorf("we go home"))
		}
	}
	require.ErrorContains(t, job.Do(ctx), "we go home")
	require.Equal(t, "84, 20 archived by 1", b.open())
	require.NoError(t, b.job(agenda.Apply).Do(t.Context()), "the lock is given back")
	require.Equal(t, "52, 52 archived by 2", b.open())
}
