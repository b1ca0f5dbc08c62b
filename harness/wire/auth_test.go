package wire_test

import (
	"context"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire"
)

// TestPasswords: a server that asks for a password is told it by the client, by every method, and the gate is not in the way.
func TestPasswords(t *testing.T) {
	srv := servertest.Passwords(t, nil)
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
