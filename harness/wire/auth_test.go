package wire_test

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
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

// TestEarly: of what a client sends before the server takes commands, no more is kept than of what it sends behind a step that is held. Nothing of that
// is lost, if the server lets it in.
func TestEarly(t *testing.T) {
	srv := servertest.Passwords(t, nil)
	gate := wire.New(wire.Config{Split: true, Hold: func(wire.Step) bool { return false }})
	start := func(user string) net.Conn {
		config := srv.Config("", "early")
		network, address := pgconn.NetworkAddress(config.Host, config.Port)
		conn, err := net.Dial(network, address)
		require.NoError(t, err)
		hello, err := (&pgproto3.StartupMessage{
			ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": user, "database": config.Database},
		}).Encode(nil)
		require.NoError(t, err)
		s := gate.Conn("early", conn)
		_, err = s.Write(hello)
		require.NoError(t, err)
		return s
	}
	for _, line := range []string{"Q select 1", "S", "P a select 1", "Q select '{x*2000000}'"} {
		s := start("password") // it does not say
		early := message(t, line)
		early = bytes.Repeat(early, 1+32<<10/len(early))
		written := 0
		for err := error(nil); err == nil; written += len(early) {
			require.Less(t, written, 8<<20, line)
			require.NoError(t, s.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
			if _, err = s.Write(early); err != nil {
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			}
		}
		require.NoError(t, s.Close())
	}

	s := start(srv.Config("", "early").User)
	wrote := make(chan error, 1)
	go func() {
		var err error
		for range 100 {
			if _, e := s.Write(message(t, "Q select length('{x*100000}')")); err == nil {
				err = e
			}
		}
		_, e := s.Write(message(t, "X"))
		wrote <- cmp.Or(err, e)
	}()
	said, err := io.ReadAll(s)
	require.NoError(t, err)
	require.NoError(t, <-wrote)
	require.Equal(t, 100, bytes.Count(said, []byte("\x06100000")))
	require.NoError(t, s.Close())
	require.NoError(t, gate.Close())
}
