//go:build unix

package dsn_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/dsn"
	"github.com/interlock-pg/interlock/harness/server/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "s3cr3t/with?all:of@it"

// existing is a server that is somebody's, with a role that may create databases and nothing else.
type existing struct {
	host  string
	admin *pgx.Conn
}

func setup(t *testing.T) existing {
	t.Helper()
	hba, err := os.CreateTemp("/tmp", "interlock-hba-")
	require.NoError(t, err)
	t.Cleanup(func() { os.Remove(hba.Name()) })
	require.NoError(t, hba.Chmod(0o644))
	_, err = hba.WriteString("local all postgres trust\nlocal all all scram-sha-256\n")
	require.NoError(t, err)
	require.NoError(t, hba.Close())
	s, err := local.Provider{}.Start(t.Context(), server.Config{Settings: map[string]string{"hba_file": hba.Name()}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	admin, err := pgx.ConnectConfig(t.Context(), s.Config("postgres", "owner"))
	require.NoError(t, err)
	t.Cleanup(func() { admin.Close(context.Background()) })
	_, err = admin.Exec(t.Context(), `create role app login createdb nosuperuser password '`+password+`'; create role idle login password '`+password+`'`,
		pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	return existing{host: s.Where, admin: admin}
}

func (e existing) dsn(role, password string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(role, password), Path: "/postgres", RawQuery: url.Values{"host": {e.host}, "port": {"5432"}}.Encode()}
	return u.String()
}

func (e existing) databases(t *testing.T) (names []string) {
	t.Helper()
	rows, err := e.admin.Query(t.Context(), `select datname from pg_database where datname like 'interlock%' order by 1`)
	require.NoError(t, err)
	names, err = pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return names
}

func start(t *testing.T, dsnOf string) *server.Server {
	t.Helper()
	s, err := dsn.Provider{}.Start(t.Context(), server.Config{DSN: dsnOf})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	return s
}

func migrate(ctx context.Context, config *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, `create table a (id bigserial primary key); create table b (id bigserial primary key, a bigint references a);
		alter table a add b bigint references b;
		create table ledger (version int primary key, name text); insert into ledger values (1, 'first'), (2, 'second')`, pgx.QueryExecModeSimpleProtocol)
	return err
}

// A role that is no superuser resets with TRUNCATE, restoring rows, sequences, and circles of foreign keys.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	e := setup(t)
	s := start(t, e.dsn("app", password))
	require.False(t, s.Owned)
	require.False(t, s.Superuser)
	require.Equal(t, e.host+":5432/postgres", s.Where)
	template, err := s.Template(t.Context(), migrate)
	require.NoError(t, err)
	d, err := template.Database(t.Context())
	require.NoError(t, err)
	conn, err := d.Connect(t.Context(), "alice")
	require.NoError(t, err)
	for range 3 {
		var id int
		_, err := conn.Exec(t.Context(), `insert into a default values; insert into b (a) values (1); update a set b = 1; delete from ledger where version = 2;
			insert into ledger values (3, 'third')`, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
		require.NoError(t, conn.QueryRow(t.Context(), `select max(id) from b`).Scan(&id))
		require.Equal(t, 1, id)
		require.NoError(t, d.Reset(t.Context(), conn))
		var left string
		require.NoError(t, conn.QueryRow(t.Context(), `select (select count(*) from a) || ' ' || (select count(*) from b) || ' ' ||
			(select string_agg(version || name, ' ' order by version) from ledger)`).Scan(&left))
		require.Equal(t, "0 0 1first 2second", left)
	}
	require.NoError(t, conn.Close(t.Context()))
	require.Len(t, e.databases(t), 2)
	require.NoError(t, s.Stop(t.Context()))
	require.Empty(t, e.databases(t))
}

func TestKeep(t *testing.T) {
	t.Parallel()
	e := setup(t)
	s := start(t, e.dsn("app", password))
	template, err := s.Template(t.Context(), migrate)
	require.NoError(t, err)
	d, err := template.Database(t.Context())
	require.NoError(t, err)
	kept, err := d.Keep(t.Context())
	require.NoError(t, err)
	require.NotContains(t, kept, "s3cr3t")
	require.NoError(t, s.Stop(t.Context()))
	require.Equal(t, []string{d.Name}, e.databases(t))

	u, err := url.Parse(kept)
	require.NoError(t, err)
	require.Equal(t, "app", u.User.Username())
	u.User = url.UserPassword("app", password)
	conn, err := pgx.Connect(t.Context(), u.String())
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))

	start(t, e.dsn("app", password)) // sweeps, but not this
	require.Equal(t, []string{d.Name}, e.databases(t))
}

// Databases of runs that died are dropped by the next one; those of live runs, of other roles and of other making are not.
func TestSweep(t *testing.T) {
	t.Parallel()
	e := setup(t)
	for _, sql := range []string{
		`create database interlock_0123456789ab_1 owner app`, `create database interlock_0123456789ab_12 owner app`,
		`create database interlock_theirs owner app`, `create database interlock_ba9876543210_1`,
	} {
		_, err := e.admin.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	alive := start(t, e.dsn("app", password))
	_, err := alive.Template(t.Context(), migrate)
	require.NoError(t, err)
	with := e.databases(t)
	require.Len(t, with, 3)
	require.Subset(t, with, []string{"interlock_theirs", "interlock_ba9876543210_1"})
	start(t, e.dsn("app", password))
	require.Equal(t, with, e.databases(t))
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	e := setup(t)
	_, err := dsn.Provider{}.Start(t.Context(), server.Config{DSN: e.dsn("idle", password)})
	require.ErrorIs(t, err, server.ErrNoCreateDB)
	require.ErrorContains(t, err, `ALTER ROLE "idle" CREATEDB`)

	_, err = dsn.Provider{}.Start(t.Context(), server.Config{DSN: e.dsn("app", "wr0ng")})
	requireUnavailable(t, err, "no connection to "+e.host+":5432/postgres", "check user and password")
	require.ErrorContains(t, err, "28P01")
	require.NotContains(t, err.Error(), "wr0ng")

	nowhere := url.URL{Scheme: "postgres", User: url.UserPassword("app", password), Path: "/nowhere", RawQuery: url.Values{"host": {e.host}}.Encode()}
	_, err = dsn.Provider{}.Start(t.Context(), server.Config{DSN: nowhere.String()})
	requireUnavailable(t, err, "/nowhere", "name a database that exists")
	require.NotContains(t, err.Error(), "s3cr3t")
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := closed.Addr().String()
	require.NoError(t, closed.Close())
	_, err = dsn.Provider{}.Start(t.Context(), server.Config{DSN: "postgres://app:hunter2@" + address + "/db?sslmode=disable"})
	requireUnavailable(t, err, "no connection to "+address+"/db", "pg_isready")
	require.ErrorContains(t, err, "refused")
	require.NotContains(t, err.Error(), "hunter2")

	_, err = dsn.Provider{}.Start(t.Context(), server.Config{})
	requireUnavailable(t, err, "no connection string", "--postgres postgres://")
}

// A server that accepts and says nothing is given up after the time that the connection string allows.
func TestSilent(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("unix", filepath.Join(t.TempDir(), ".s.PGSQL.5432"))
	require.NoError(t, err)
	defer silent.Close()
	begin := time.Now()
	_, err = dsn.Provider{}.Start(t.Context(), server.Config{DSN: fmt.Sprintf("host=%s user=app password=hunter2 connect_timeout=1", filepath.Dir(silent.Addr().String()))})
	requireUnavailable(t, err, "no connection to ", "pg_isready")
	require.Less(t, time.Since(begin), 5*time.Second)
	require.NotContains(t, err.Error(), "hunter2")
}

func TestNotUnderstood(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"postgres://app:hunter2@host:port/db", "postgres://app:hun#ter2@host/db", "postgres://app:hunter2%zz@host/db", "postgres://app:hunter2/x@host/db?y=1",
		"postgresql://app:hunter2@[::1/db", "host=h password=hunter2 port=none", "host=h password = hunter2 port=none", "password='hunter2 port=1",
		`host=h password='hun\'ter2 hunter2' port=none`, "host=h password=my hunter2 port=none", "host=h sslpassword=hunter2 sslmode=strange",
		"user:hunter2@host/db", "mysql://app:hunter2@host/db", "postgres://app@host/db?password=hunter2&port=none", "postgres://app:hunter2@host/db?sslmode=strange",
	} {
		_, err := dsn.Provider{}.Start(t.Context(), server.Config{DSN: text})
		require.Error(t, err, text)
		require.NotRegexp(t, "hunter2|ter2|hun", err.Error())
		t.Log(err)
	}
}

func requireUnavailable(t *testing.T, err error, why, try string) {
	t.Helper()
	var unavailable *server.UnavailableError
	require.ErrorAs(t, err, &unavailable)
	require.Equal(t, "dsn", unavailable.Provider)
	require.Contains(t, unavailable.Why, why)
	require.Contains(t, unavailable.Try, try)
}
