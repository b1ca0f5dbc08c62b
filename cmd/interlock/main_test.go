package main

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/migrations"
)

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"interlock": main})
}

// tests stops the shared server when the tests are over.
type tests struct{ *testing.M }

func (t tests) Run() int {
	code := t.M.Run()
	if err := servertest.Stop(); err != nil {
		code = 1
	}
	return code
}

// The scripts in testdata/script run the real program; $API is where the reference application is. Beside testscript's own commands there are
//
//	exits CODE interlock ARGS…	runs the program, which must end with this exit code, or one of several (1,4)
//	database NAME VERSION [SQL]	makes a database with our migrations up to VERSION, runs SQL on it, and sets $NAME to its DSN, $NAME_DATABASE to its name
//	embedded-migrations DIR	writes our migrations to files
//	reference-application DIR	writes the reference application in Go to files, as a module of its own, with its OpenAPI file
//	dump NAME FILE	writes the rows of the database $NAME to a file, as pg_dump --data-only does
//	capture NAME REGEXP	sets $NAME to what the first group of REGEXP is in the last standard error
//	free NAME	sets $NAME to a port at which nobody listens
//	taken NAME	sets $NAME to one at which somebody does
//	listening NETWORK ADDRESS	waits until somebody does
//	via NAME DSN HOST PORT	sets $NAME to a DSN that differs from DSN in host and port
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"INTERLOCK_TEST_VERSION", "INTERLOCK_CACHE", "XDG_CACHE_HOME", "HOME", "GORACE"} { // the cache is shared
				if value, ok := os.LookupEnv(name); ok {
					env.Setenv(name, value)
				}
			}
			api, err := filepath.Abs("../../scenarios/inspection-api")
			env.Setenv("API", api)
			return err
		},
		Condition: func(cond string) (bool, error) {
			return cond == "check" && servertest.Thorough(), nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "database": database, "embedded-migrations": embeddedMigrations, "capture": capture, "dump": dump,
			"reference-application": referenceApplication,
			"free":                  free, "taken": taken, "listening": listening, "via": via,
		},
	})
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	var wanted []int
	for code := range strings.SplitSeq(args[0], ",") {
		want, err := strconv.Atoi(code)
		ts.Check(err)
		wanted = append(wanted, want)
	}
	version := ts.Getenv("INTERLOCK_TEST_VERSION")
	if version != "" && len(args) > 2 && slices.Contains([]string{"run", "explore", "replay", "gate"}, args[2]) && !slices.Contains(args, "--pg-version") {
		args = append(args, "--pg-version", version)
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if !slices.Contains(wanted, got) {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

func database(ts *testscript.TestScript, _ bool, args []string) {
	version, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ctx := context.Background()
	srv, err := servertest.Shared()
	ts.Check(err)
	template, err := srv.Template(ctx, func(ctx context.Context, config *pgx.ConnConfig) error {
		if version > 0 {
			if _, err := migrations.Embedded().Apply(ctx, config, version); err != nil {
				return err
			}
		}
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, strings.Join(args[2:], " "), pgx.QueryExecModeSimpleProtocol)
		return errors.Join(err, conn.Close(ctx))
	})
	ts.Check(err)
	db, err := template.Database(ctx)
	ts.Check(err)
	ts.Setenv(args[0], db.DSN())
	ts.Setenv(args[0]+"_DATABASE", db.Name)
}

func embeddedMigrations(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	for _, m := range migrations.Embedded().Migrations {
		ts.Check(os.WriteFile(filepath.Join(dir, filepath.Base(m.Path)), []byte(m.SQL), 0o644))
	}
}

func referenceApplication(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	const api = "../../scenarios/inspection-api/"
	for _, from := range []string{"../../go.*", api + "go/*.go", api + "seed.sql", api + "openapi.yaml", api + "migrations/*.sql"} {
		files, err := filepath.Glob(from)
		ts.Check(err)
		for _, file := range files {
			to := filepath.Join(dir, filepath.Base(file))
			if parent := filepath.Dir(file); filepath.Base(parent) == "migrations" {
				to = filepath.Join(dir, "migrations", filepath.Base(file))
			}
			text, err := os.ReadFile(file)
			ts.Check(err)
			ts.Check(os.MkdirAll(filepath.Dir(to), 0o755))
			ts.Check(os.WriteFile(to, text, 0o644))
		}
	}
}

func dump(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, ts.Getenv(args[0]))
	ts.Check(err)
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'aedpics'
		order by array_position('{user_profiles,aed_data,inspection_sessions}', tablename::text)`)
	ts.Check(err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	ts.Check(err)
	var out strings.Builder
	out.WriteString("\\restrict x\nSET session_replication_role = replica;\n")
	for _, table := range tables {
		out.WriteString("COPY " + table + " FROM stdin;\n")
		_, err := conn.PgConn().CopyTo(ctx, &out, "copy "+table+" to stdout")
		ts.Check(err)
		out.WriteString("\\.\n\n")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(out.String()), 0o644))
}

func capture(ts *testscript.TestScript, _ bool, args []string) {
	found := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stderr"))
	if found == nil {
		ts.Fatalf("no match for %s in standard error", args[1])
	}
	ts.Setenv(args[0], found[1])
}

func free(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	ts.Check(l.Close())
}

func taken(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

func listening(ts *testscript.TestScript, _ bool, args []string) {
	address := args[1]
	if args[0] == "unix" {
		address = ts.MkAbs(address)
	}
	ts.Check(awaitListener(args[0], address))
}

// awaitListener waits until somebody listens at an address.
func awaitListener(network, address string) error {
	for deadline := time.Now().Add(goneBy); ; time.Sleep(everySoOft) {
		conn, err := net.Dial(network, address)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

func via(ts *testscript.TestScript, _ bool, args []string) {
	u, err := url.Parse(args[1])
	ts.Check(err)
	u.Host, u.RawQuery = "", url.Values{"host": {args[2]}, "port": {args[3]}}.Encode()
	ts.Setenv(args[0], u.String())
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"postgres://me:secret@host/db":               "postgres://me:xxxxx@host/db",
		"postgres://me@host/db":                      "postgres://me@host/db",
		"host=h password=secret dbname=d":            "host=h password=xxxxx dbname=d",
		"password='it\\'s a secret' user=u":          "password=xxxxx user=u",
		"postgres://h/db?password=secret&sslmode=no": "postgres://h/db?password=xxxxx&sslmode=no",
		"postgres://:p%40ss:w@h/db":                  "postgres://:xxxxx@h/db",
		"nothing to hide: a@b":                       "nothing to hide: a@b",
	} {
		require.Equal(t, want, redact(in))
	}
}

func TestFileName(t *testing.T) {
	for in, want := range map[string]string{
		"sessions-none-at-1-S1": "sessions-none-at-1-S1", "nobody is told 500": "nobody is told 500", "x-S1/S2": "x-S1%2FS2", "S1%2FS2": "S1%252FS2",
		"../../x": "%2E.%2F..%2Fx", `a\b:c`: "a%5Cb%3Ac", "한 번": "한 번", "a\tb": "a%09b",
	} {
		require.Equal(t, want, fileName(in))
		require.Equal(t, want, filepath.Base(filepath.Join("out", want)))
	}
}

func TestDidYouMean(t *testing.T) {
	names := []string{"sessions", "schedules", "sessions/none"}
	require.Equal(t, `, did you mean "sessions"?`, didYouMean("sesions", names))
	require.Equal(t, `, did you mean "sessions/none"?`, didYouMean("session/none", names))
	require.Empty(t, didYouMean("xyz", names))
}
