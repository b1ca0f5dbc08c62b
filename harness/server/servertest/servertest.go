// Package servertest gives tests a Postgres: one server for a test binary, installed or downloaded, and a fresh database for each test.
package servertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/embedded"
	"github.com/interlock-pg/interlock/harness/server/local"
)

var shared struct {
	once sync.Once
	srv  *server.Server
	err  error
}

// Config asks for the version that INTERLOCK_TEST_VERSION names; for any, where it is not set.
func Config() server.Config {
	version, _ := strconv.Atoi(os.Getenv("INTERLOCK_TEST_VERSION"))
	return server.Config{Version: version}
}

// Thorough reports whether a test may take long, as in make check.
func Thorough() bool { return os.Getenv("INTERLOCK_TEST_THOROUGH") != "" }

// Slow leaves a test to make check.
func Slow(t testing.TB) {
	t.Helper()
	if !Thorough() {
		t.Skip("for make check: INTERLOCK_TEST_THOROUGH=1")
	}
}

// Server returns the test binary's server, which [Main] stops.
func Server(t testing.TB) *server.Server {
	t.Helper()
	srv, err := Shared()
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

// Shared is Server for code that is not a test. The server is ended by [Stop].
func Shared() (*server.Server, error) {
	shared.once.Do(func() {
		ctx := context.Background()
		shared.srv, shared.err = local.Provider{}.Start(ctx, Config())
		var unavailable *server.UnavailableError
		if errors.As(shared.err, &unavailable) {
			shared.srv, shared.err = embedded.Provider{}.Start(ctx, Config())
		}
	})
	return shared.srv, shared.err
}

// Stop ends the server, if there is one.
func Stop() error {
	if shared.srv == nil {
		return nil
	}
	return shared.srv.Stop(context.Background())
}

// Template returns a database with the schema that a script makes, to be cloned, for the time of a test.
func Template(t testing.TB, script string) *server.Template {
	t.Helper()
	ctx := context.Background()
	template, err := Server(t).Template(ctx, func(ctx context.Context, config *pgx.ConnConfig) error {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, script, pgx.QueryExecModeSimpleProtocol)
		return errors.Join(err, conn.Close(ctx))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := template.Drop(ctx); err != nil {
			t.Error(err)
		}
	})
	return template
}

// Database returns a fresh database, with the schema that a script makes, for the time of a test.
func Database(t testing.TB, script string) *server.Database {
	t.Helper()
	ctx := context.Background()
	db, err := Template(t, script).Database(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Drop(ctx); err != nil {
			t.Error(err)
		}
	})
	return db
}

// Main runs the tests of a package, stops its server, and fails when find then finds goroutines that were left behind.
func Main(m *testing.M, find func() error) {
	code := m.Run()
	if err := Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
