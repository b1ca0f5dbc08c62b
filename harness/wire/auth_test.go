package wire_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/embedded"
	"github.com/interlock-pg/interlock/harness/server/local"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire"
)

// TestPasswords: a server that asks for a password is told it by the client, by every method, and the gate is not in the way.
func TestPasswords(t *testing.T) {
	srv := serverWithPasswords(t)
	for _, method := range []string{"scram-sha-256", "md5", "password"} {
		for _, split := range []bool{false, true} {
			for _, right := range []bool{true, false} {
				config := srv.Config("", method)
				config.User, config.Password, config.RequireAuth = method, "secret "+method, method
				if !right {
					config.Password = "wrong"
				}
				gate := wire.New(wire.Config{Split: split, Hold: func(wire.Step) bool { return false }})
				gate.Attach(&config.Config, method)
				attached := config.AfterNetConnect
				var s *wire.Session
				config.AfterNetConnect = func(ctx context.Context, config *pgconn.Config, conn net.Conn) (net.Conn, error) {
					conn, err := attached(ctx, config, conn)
					s = conn.(*wire.Session)
					return conn, err
				}
				conn, err := pgx.ConnectConfig(t.Context(), config)
				if right {
					require.NoError(t, err, method)
					var user string
					require.NoError(t, conn.QueryRow(t.Context(), `select current_user`).Scan(&user))
					require.Equal(t, method, user)
					require.Equal(t, wire.Quiet, s.State().Phase)
					require.NoError(t, conn.Close(t.Context()))
				} else {
					require.Equal(t, "28P01", code(err), method)
					require.Equal(t, "28P01", s.State().Fatal.SQLState)
				}
				require.NoError(t, gate.Close())
				require.Equal(t, wire.Ended, s.State().Phase)
			}
		}
	}
}

// serverWithPasswords starts a server with a role for each method, called after it. Other roles need none.
func serverWithPasswords(t *testing.T) *server.Server {
	t.Helper()
	srv, err := local.Provider{}.Start(t.Context(), servertest.Config())
	if unavailable := new(server.UnavailableError); errors.As(err, &unavailable) {
		srv, err = embedded.Provider{}.Start(t.Context(), servertest.Config())
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, srv.Stop(context.Background())) })
	conn, err := pgx.ConnectConfig(t.Context(), srv.Config("", "control"))
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), `
		set password_encryption = 'scram-sha-256';
		create role "scram-sha-256" login password 'secret scram-sha-256';
		create role "password" login password 'secret password';
		set password_encryption = 'md5';
		create role "md5" login password 'secret md5';
		do $$ begin
			execute format('copy (select format(''local all "%%1$s" %%1$s'', m) from unnest(array[''scram-sha-256'', ''md5'', ''password'']) m
				union all select ''local all all trust'') to %L', current_setting('hba_file'));
		end $$`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `select pg_reload_conf()`)
	require.NoError(t, err)
	for asked := false; !asked; { // once the server has read them
		config := srv.Config("", "control")
		config.User, config.Password = "md5", "wrong"
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if asked = err != nil; !asked {
			require.NoError(t, conn.Close(t.Context()))
		}
	}
	return srv
}
