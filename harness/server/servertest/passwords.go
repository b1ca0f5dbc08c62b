package servertest

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/embedded"
	"github.com/interlock-pg/interlock/harness/server/local"
)

// Own starts a server for one test, with settings on top of the usual ones.
func Own(t testing.TB, settings map[string]string) *server.Server {
	t.Helper()
	config := Config()
	config.Settings = settings
	srv, err := local.Provider{}.Start(t.Context(), config)
	if unavailable := new(server.UnavailableError); errors.As(err, &unavailable) {
		srv, err = embedded.Provider{}.Start(t.Context(), config)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return srv
}

// Passwords starts a server for one test, with a role for each way to ask for a password, called after it, and whose password is "secret " and its
// name. Other roles need none.
func Passwords(t testing.TB, settings map[string]string) *server.Server {
	t.Helper()
	srv := Own(t, settings)
	conn, err := pgx.ConnectConfig(t.Context(), srv.Config("", "control"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), `
		set password_encryption = 'scram-sha-256';
		create role "scram-sha-256" login password 'secret scram-sha-256';
		create role "password" login password 'secret password';
		set password_encryption = 'md5';
		create role "md5" login password 'secret md5';
		do $$ begin
			execute format('copy (select format(''%%1$s all "%%2$s" %%3$s %%2$s'', way, m, address)
				from unnest(array[''scram-sha-256'', ''md5'', ''password'']) m, (values (''local'', ''''), (''host'', ''all'')) w (way, address)
				union all values (''local all all trust''), (''host all all all trust'')) to %L', current_setting('hba_file'));
		end $$`, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = conn.Exec(t.Context(), `select pg_reload_conf()`); err != nil {
		t.Fatal(err)
	}
	for asked := false; !asked; { // once the server has read them
		config := srv.Config("", "control")
		config.User, config.Password = "md5", "wrong"
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if asked = err != nil; !asked {
			conn.Close(t.Context())
		}
	}
	return srv
}
