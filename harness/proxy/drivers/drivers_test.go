package drivers_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/proxy"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire"
	"github.com/interlock-pg/interlock/harness/wire/wiretest"
)

const schema = `
	create table item (id int generated always as identity primary key, name text constraint item_name unique, n numeric, at timestamptz, data bytea,
		doc jsonb, tags text[]);
	create table late (id int constraint late_unique unique deferrable initially deferred);
	create function noisy(n int) returns int language plpgsql as $$ begin
		for i in 1..n loop raise notice 'notice %', i using detail = 'a detail'; end loop; return n; end $$;
`

// TestNode: the drivers of npm are told the same directly and through the proxy.
func TestNode(t *testing.T) {
	servertest.Slow(t)
	dir := node(t)
	for _, driver := range []string{"pg", "postgres", "prisma", "knex", "sequelize", "drizzle", "typeorm"} {
		t.Run(driver, func(t *testing.T) {
			lines := alike(t, 25, wiretest.SameInAnyOrder, func(url string) *exec.Cmd { // they have pools
				cmd := exec.CommandContext(t.Context(), "node", "--no-warnings", "talk.mjs", driver, url)
				cmd.Dir = dir
				return cmd
			})
			require.Contains(t, lines[len(lines)-1], `"message":"notice 2"`, "what the driver makes of notices")
		})
	}
}

// alike wants a program to print the same lines, and some, and its sessions to be told the same, whether it connects to a fresh database itself, or to the
// proxy before one, with nothing split, with nothing held, or with each step released from elsewhere.
func alike(
	t *testing.T, least int, same func(t testing.TB, want, got []wiretest.Told), program func(url string) *exec.Cmd,
) (lines []string) {
	t.Helper()
	servertest.Slow(t)
	template := servertest.Template(t, schema)
	talk := func(t *testing.T, gate *wire.Config, held bool) ([]string, []wiretest.Told) {
		db, err := template.Database(t.Context())
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Drop(context.Background())) }()
		url := db.DSN()
		if gate != nil {
			var steps, holds atomic.Int64
			gate.Events = func(e wire.Event) {
				switch e.Kind {
				case wire.Held:
					holds.Add(1)
				case wire.Answered:
					steps.Add(1)
				}
			}
			defer func() {
				require.Equal(t, gate.Split, steps.Load() > 0)
				require.Equal(t, held, holds.Load() > 0)
			}()
			g := wire.New(*gate)
			config := db.Config("proxy")
			delete(config.RuntimeParams, "application_name") // which clients without one would get
			p, err := proxy.Listen(t.Context(), "tcp", "127.0.0.1:0", proxy.Config{
				Server: &config.Config, Gate: g, Auth: proxy.SCRAM, User: "app", Password: "secret", Lost: func(err error) { t.Error(err) },
			})
			require.NoError(t, err)
			defer func() { require.NoError(t, p.Close()) }()
			url = p.URL()
			if held {
				defer wiretest.ReleaseAll(g)()
			}
		}
		recorder := wiretest.Record(t, "tcp", url)
		cmd := program(recorder.URL())
		cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C.UTF-8")
		var complaints strings.Builder
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		require.NoError(t, err, "%s%s", out, &complaints)
		return strings.Split(strings.TrimSpace(string(out)), "\n"), recorder.Told()
	}
	lines, direct := talk(t, nil, false)
	t.Log(strings.Join(lines, "\n"))
	require.GreaterOrEqual(t, len(lines), least)
	wiretest.Varied(t, direct)
	for name, w := range map[string]struct {
		gate wire.Config
		held bool
	}{
		"unheld": {},
		"split":  {gate: wire.Config{Split: true, Hold: func(wire.Step) bool { return false }}},
		"held":   {gate: wire.Config{Split: true}, held: true},
	} {
		t.Run(name, func(t *testing.T) {
			said, told := talk(t, &w.gate, w.held)
			for i := range min(len(lines), len(said)) {
				require.Equal(t, lines[i], said[i])
			}
			require.Len(t, said, len(lines))
			same(t, direct, told)
		})
	}
	return lines
}

// node installs the drivers, once for what package-lock.json says, and returns where.
func node(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s; try installing Node.js 20 or later", program)
		}
	}
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	files := map[string][]byte{}
	require.NoError(t, fs.WalkDir(os.DirFS("testdata/node"), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[name], err = os.ReadFile(filepath.Join("testdata/node", name))
		return err
	}))
	sum := sha256.New()
	for _, name := range []string{".npmrc", "package-lock.json", "schema.prisma"} {
		sum.Write(files[name])
	}
	dir := filepath.Join(cache, "interlock", "drivers-"+hex.EncodeToString(sum.Sum(nil))[:16])
	write := func(dir string) {
		for name, content := range files {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
		}
	}
	if _, err := os.Stat(dir); err == nil {
		write(dir)
		return dir
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(dir), 0o700))
	made, err := os.MkdirTemp(filepath.Dir(dir), "drivers-")
	require.NoError(t, err)
	defer os.RemoveAll(made)
	write(made)
	npm := exec.CommandContext(t.Context(), "npm", "ci", "--no-progress")
	npm.Dir = made
	if out, err := npm.CombinedOutput(); err != nil {
		t.Skipf("npm ci: %v; try it in %s, with a registry that can be reached:\n%s", err, "testdata/node", out)
	}
	generate := exec.CommandContext(t.Context(), "node", "node_modules/prisma/build/index.js", "generate")
	generate.Dir = made
	program, err := exec.LookPath("node")
	require.NoError(t, err)
	generate.Env = append(os.Environ(), "PRISMA_SCHEMA_ENGINE_BINARY="+program) // which is not run, and need not be downloaded
	out, err := generate.CombinedOutput()
	require.NoError(t, err, string(out))
	if err := os.Rename(made, dir); err != nil { // somebody else was faster
		_, err := os.Stat(dir)
		require.NoError(t, err)
	}
	return dir
}
