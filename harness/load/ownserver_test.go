//go:build unix

package load_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/dsn"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// ownServer is a server that a test may stop and start.
type ownServer struct{ *servertest.Cluster }

func newOwnServer(t *testing.T, settings ...string) *ownServer {
	t.Helper()
	return &ownServer{servertest.NewCluster(t, settings...)}
}

// open connects to it as to a user's server.
func (s *ownServer) open(t *testing.T) *server.Server {
	t.Helper()
	srv, err := dsn.Provider{}.Start(t.Context(), server.Config{DSN: s.DSN()})
	require.NoError(t, err)
	return srv
}

// databases returns the databases of ours that are on it.
func (s *ownServer) databases(t *testing.T) (names []string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.DSN())
	require.NoError(t, err)
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), `select datname::text from pg_database where datname like 'interlock%'`)
	require.NoError(t, err)
	names, err = pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return names
}
