//go:build unix

package draft_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	_ "github.com/lib/pq"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/proxy"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/target"
	"github.com/interlock-pg/interlock/harness/target/draft"
	"github.com/interlock-pg/interlock/harness/wire"
)

// The URL that an application gets from a file which was written for it leads to its database, by the driver that it uses.
func TestWrittenURLsLeadToTheDatabase(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, `create table found ()`)
	p, err := proxy.Listen(t.Context(), "tcp", "127.0.0.1:0", proxy.Config{
		Server: &db.Config("application").Config, Gate: wire.New(wire.Config{}), Auth: proxy.SCRAM, User: "interlock", Password: rand.Text(),
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Close()) }()
	const look = `select to_regclass('found') is not null`
	byPgx := func(t *testing.T, u *url.URL) (there bool) {
		conn, err := pgx.Connect(t.Context(), u.String())
		require.NoError(t, err)
		require.NoError(t, conn.QueryRow(t.Context(), look).Scan(&there))
		require.NoError(t, conn.Close(context.Background()))
		return there
	}
	for name, c := range map[string]struct {
		files   map[string]string
		query   string
		connect func(t *testing.T, u *url.URL) bool
	}{
		"Prisma": {
			files: map[string]string{"package.json": `{"main": "a.js"}`, ".env.example": "DATABASE_URL=postgresql://a:b@c/d?schema=app"},
			query: "schema=app",
			connect: func(t *testing.T, u *url.URL) bool {
				u.RawQuery = "" // which is Prisma's own
				return byPgx(t, u)
			},
		},
		"SQLAlchemy": {
			files: map[string]string{"app.py": "app = Flask(__name__)", ".env.example": "DATABASE_URL=postgresql+psycopg://a:b@c/d"},
			connect: func(t *testing.T, u *url.URL) bool {
				require.Equal(t, "postgresql+psycopg", u.Scheme)
				u.Scheme = "postgresql"
				return byPgx(t, u)
			},
		},
		"pgx": {files: map[string]string{"go.mod": "module m\n", "main.go": "package main\n"}, connect: byPgx},
		"lib/pq": {
			files: map[string]string{"go.mod": "module m\n", "main.go": "package main\nimport _ \"github.com/lib/pq\"\n"},
			query: "sslmode=disable",
			connect: func(t *testing.T, u *url.URL) (there bool) {
				conn, err := sql.Open("postgres", u.String())
				require.NoError(t, err)
				require.NoError(t, conn.QueryRowContext(t.Context(), look).Scan(&there))
				require.NoError(t, conn.Close())
				return there
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := draft.Look(project(t, c.files))
			require.NoError(t, err)
			got := filepath.Join(t.TempDir(), "url")
			d.Build, d.Command = nil, []string{"/bin/sh", "-c", `printf %s "$DATABASE_URL" > ` + got + `; exit 1 # {{port}}`}
			d.Race = draft.Same("POST", "/api/things", map[string]any{})
			text, err := d.YAML("interlock.yaml")
			require.NoError(t, err)
			f, err := target.Parse(filepath.Join(t.TempDir(), "interlock.yaml"), text)
			require.NoError(t, err)
			_, err = f.System().Start(t.Context(), p.URL())
			require.ErrorContains(t, err, "it ended before it was ready")
			written, err := os.ReadFile(got)
			require.NoError(t, err)
			u, err := url.Parse(string(written))
			require.NoError(t, err)
			require.Equal(t, c.query, u.RawQuery)
			require.True(t, c.connect(t, u))
		})
	}
}
