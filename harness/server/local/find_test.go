//go:build unix

package local_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/local"
)

// fake makes an installation below root that only knows its version, where every user can run it.
func fake(t *testing.T, root, name, version string) (dir string) {
	t.Helper()
	dir = filepath.Join(root, name)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	script := fmt.Sprintf("#!/bin/sh\necho 'postgres (PostgreSQL) %s (Fake %[1]s-1)'\n", version)
	for _, program := range []string{"postgres", "initdb"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755))
	}
	return dir
}

func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "interlock-test-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	dir, err = filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	return dir
}

func TestFind(t *testing.T) {
	root := openDir(t)
	config := server.Config{CacheDir: filepath.Join(root, "cache")}
	old := fake(t, root, "old", "9.6.24")
	newest := fake(t, root, "new", "97.3")
	devel := fake(t, root, "cache/postgres/98devel/bin", "98devel")
	broken := fake(t, root, "broken", "99.1")
	require.NoError(t, os.WriteFile(filepath.Join(broken, "postgres"), []byte("#!/bin/sh\necho no such library >&2; exit 127\n"), 0o755))
	wrapper := filepath.Join(root, "wrapper")
	require.NoError(t, os.Mkdir(wrapper, 0o755))
	require.NoError(t, os.Symlink("../new/postgres", filepath.Join(wrapper, "postgres")))
	alone := filepath.Join(root, "alone")
	require.NoError(t, os.Mkdir(alone, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(alone, "postgres"), nil, 0o755))
	var path string
	for _, dir := range []string{old, wrapper, newest, alone, broken} {
		path += dir + string(filepath.ListSeparator)
	}
	t.Setenv("PATH", path+os.Getenv("PATH"))
	t.Setenv("HOME", root)

	for range 2 { // the second time from the cache
		found, err := local.Find(t.Context(), config)
		require.ErrorContains(t, err, "no such library")
		require.GreaterOrEqual(t, len(found), 3)
		require.Equal(t, local.Installation{BinDir: newest, Version: "97.3", Major: 97}, found[0])
		require.Equal(t, local.Installation{BinDir: old, Version: "9.6.24", Major: 9}, found[len(found)-2])
		require.Equal(t, local.Installation{BinDir: devel, Version: "98devel", Major: 98, Downloaded: true}, found[len(found)-1])
	}
	fake(t, root, "new", "97.14") // upgraded in place
	found, _ := local.Find(t.Context(), config)
	require.Equal(t, "97.14", found[0].Version)

	// It is the version that counts, and whether it runs is seen when it is run.
	config.Version = 97
	_, err := local.Provider{}.Start(t.Context(), config)
	require.ErrorContains(t, err, "starting PostgreSQL 97.14 of "+newest+": the server ended at once")
}

func TestVersionNotThere(t *testing.T) {
	t.Parallel()
	_, err := local.Provider{}.Start(t.Context(), server.Config{Version: 96, CacheDir: t.TempDir()})
	var unavailable *server.UnavailableError
	require.ErrorAs(t, err, &unavailable)
	require.Equal(t, "local", unavailable.Provider)
	require.Contains(t, unavailable.Why, "no initdb and postgres of PostgreSQL 96 in PATH, /usr/lib/postgresql/*/bin")
	require.Regexp(t, `there is (\d+\.\d+ in /[^,]+(, )?)+`, unavailable.Why)
	require.Contains(t, unavailable.Try, "--postgres embedded --pg-version 96")
}

func TestBinDir(t *testing.T) {
	t.Parallel()
	config := server.Config{CacheDir: t.TempDir(), BinDir: t.TempDir()}
	_, err := local.Provider{}.Start(t.Context(), config)
	var unavailable *server.UnavailableError
	require.ErrorAs(t, err, &unavailable)
	require.Contains(t, unavailable.Why, config.BinDir)

	found, _ := local.Find(t.Context(), server.Config{CacheDir: t.TempDir()})
	require.NotEmpty(t, found)
	config.BinDir = found[0].BinDir
	require.NoError(t, start(t, config).Stop(t.Context()))
	config.Version = found[0].Major + 1
	_, err = local.Provider{}.Start(t.Context(), config)
	require.ErrorAs(t, err, &unavailable)
	require.Contains(t, unavailable.Why, "there is "+found[0].Version)
}

// Root's programs are of no use where the user who runs them cannot go.
func TestOutOfReach(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("of concern to root alone")
	}
	root := openDir(t)
	require.NoError(t, os.Chmod(root, 0o700))
	_, err := local.Provider{}.Start(t.Context(), server.Config{CacheDir: t.TempDir(), BinDir: fake(t, root, "bin", "16.1")})
	var unavailable *server.UnavailableError
	require.ErrorAs(t, err, &unavailable)
	require.Regexp(t, "Postgres does not run as root, and user (postgres|nobody) cannot reach it there", err.Error())
}

// All versions there are start, with their extensions.
func TestEveryInstallation(t *testing.T) {
	t.Parallel()
	found, _ := local.Find(t.Context(), sharedCache())
	require.NotEmpty(t, found)
	for _, in := range found {
		if in.Major < server.MinVersion {
			continue
		}
		t.Run(in.Version, func(t *testing.T) {
			t.Parallel()
			s := startFor(t, server.Config{BinDir: in.BinDir, Version: in.Major})
			require.Equal(t, in.Major, s.Version/10000)
			require.Equal(t, in.Version, s.Release)
			conn, err := connect(t, s)
			require.NoError(t, err)
			defer conn.Close(t.Context())
			_, err = conn.Exec(t.Context(), `create extension btree_gist`)
			require.NoError(t, err)
			var minimum string
			require.NoError(t, conn.QueryRow(t.Context(), `select current_setting('min_wal_size') || ' of ' || current_setting('wal_segment_size')`).Scan(&minimum))
			require.Equal(t, "5MB of 1MB", minimum)
		})
	}
}
