package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

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

// The scripts in testdata/script run the real program. Beside testscript's own commands there are
//
//	exits CODE interlock ARGS…	runs the program, which must end with this exit code
//	database NAME VERSION [SQL]	makes a database with our migrations up to VERSION, runs SQL on it, and sets $NAME to its DSN
//	embedded-migrations DIR	writes our migrations to files
//	dump NAME FILE	writes the rows of the database $NAME to a file, as pg_dump --data-only does
//	capture NAME REGEXP	sets $NAME to what the first group of REGEXP is in the last standard error
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"INTERLOCK_TEST_VERSION", "INTERLOCK_CACHE", "XDG_CACHE_HOME", "HOME"} { // the cache is shared
				if value, ok := os.LookupEnv(name); ok {
					env.Setenv(name, value)
				}
			}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			return cond == "check" && servertest.Thorough(), nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "database": database, "embedded-migrations": embeddedMigrations, "capture": capture, "dump": dump,
		},
	})
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	version := ts.Getenv("INTERLOCK_TEST_VERSION")
	if version != "" && len(args) > 2 && slices.Contains([]string{"run", "explore", "replay", "gate"}, args[2]) && !slices.Contains(args, "--pg-version") {
		args = append(args, "--pg-version", version)
	}
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
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
}

func embeddedMigrations(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	for _, m := range migrations.Embedded().Migrations {
		ts.Check(os.WriteFile(filepath.Join(dir, filepath.Base(m.Path)), []byte(m.SQL), 0o644))
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

func TestDidYouMean(t *testing.T) {
	names := []string{"sessions", "schedules", "sessions/none"}
	require.Equal(t, `, did you mean "sessions"?`, didYouMean("sesions", names))
	require.Equal(t, `, did you mean "sessions/none"?`, didYouMean("session/none", names))
	require.Empty(t, didYouMean("xyz", names))
}
