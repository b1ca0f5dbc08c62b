//go:build unix

package local_test

import (
	"archive/zip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/local"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// archives returns the files of the cache of clusters, but for locks.
func archives(t *testing.T, config server.Config) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(config.CacheDir, "clusters", "*"))
	require.NoError(t, err)
	var rest []string
	for _, file := range files {
		if filepath.Ext(file) != ".lock" {
			rest = append(rest, file)
		}
	}
	return rest
}

// Many processes, and goroutines of one, that find an empty cache make one cluster.
func TestParallelStarts(t *testing.T) {
	t.Parallel()
	config := server.Config{CacheDir: t.TempDir()}
	var said []func() started
	for range 3 {
		_, s := startChild(t, config)
		said = append(said, s)
	}
	var wait sync.WaitGroup
	dirs := make([]string, 3)
	errs := make([]error, 3)
	for i := range dirs {
		wait.Go(func() {
			s, err := local.Provider{}.Start(t.Context(), config)
			if errs[i] = err; err == nil {
				dirs[i] = s.Where
				errs[i] = s.Stop(t.Context())
			}
		})
	}
	wait.Wait()
	seen := map[string]bool{}
	for i, err := range errs {
		require.NoError(t, err)
		seen[dirs[i]] = true
	}
	for _, s := range said {
		seen[s().Dir] = true
	}
	require.Len(t, seen, 6)
	require.Len(t, archives(t, config), 1)
}

func TestDamagedCache(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, archive string){
		"empty":   func(t *testing.T, archive string) { require.NoError(t, os.Truncate(archive, 0)) },
		"half":    func(t *testing.T, archive string) { require.NoError(t, os.Truncate(archive, 1<<20)) },
		"garbled": func(t *testing.T, archive string) { garble(t, archive) },
		"no PG_VERSION": func(t *testing.T, archive string) {
			f, err := os.Create(archive)
			require.NoError(t, err)
			w := zip.NewWriter(f)
			_, err = w.Create("base/")
			require.NoError(t, err)
			require.NoError(t, w.Close())
			require.NoError(t, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "garbled" {
				servertest.Slow(t)
			}
			t.Parallel()
			config := server.Config{CacheDir: t.TempDir()}
			require.NoError(t, start(t, config).Stop(t.Context()))
			before := archives(t, config)
			require.Len(t, before, 1)
			damage(t, before[0])
			var lines []string
			config.Log = func(line string) { lines = append(lines, line) }
			require.NoError(t, start(t, config).Stop(t.Context()))
			require.Contains(t, lines[0], "made again")
			require.Equal(t, before, archives(t, config))
			lines = nil
			require.NoError(t, start(t, config).Stop(t.Context()))
			require.Len(t, lines, 1) // that it runs
		})
	}
}

// garble changes one byte in the middle, which only a checksum shows.
func garble(t *testing.T, archive string) {
	t.Helper()
	f, err := os.OpenFile(archive, os.O_RDWR, 0)
	require.NoError(t, err)
	info, err := f.Stat()
	require.NoError(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, info.Size()/2)
	require.NoError(t, err)
	b[0] ^= 1
	_, err = f.WriteAt(b, info.Size()/2)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// Without a cache a start takes longer.
func TestNoCache(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	var lines []string
	s := start(t, server.Config{CacheDir: filepath.Join(file, "below"), Log: func(line string) { lines = append(lines, line) }})
	require.NoError(t, s.Stop(t.Context()))
	require.Contains(t, lines[0], "the cache is not used")
}

// What a server left whose supervisor was killed as well, the next start removes; what still runs, it lets alone.
func TestSweep(t *testing.T) {
	t.Parallel()
	alive := startFor(t, sharedCache())
	long := time.Now().Add(-time.Hour)
	leave := func(when time.Time, files ...string) string {
		dir, err := os.MkdirTemp(filepath.Dir(alive.Where), "il-")
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
		for _, name := range files {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		}
		require.NoError(t, os.Chtimes(dir, when, when))
		return dir
	}
	dead, empty := leave(long, "interlock.log"), leave(long)
	young, others := leave(time.Now(), "interlock.log"), leave(long, "log", "PG_VERSION")
	require.NoError(t, os.Chtimes(alive.Where, long, long))
	require.NoError(t, start(t, sharedCache()).Stop(t.Context()))
	require.True(t, isGone(dead))
	require.True(t, isGone(empty))
	require.False(t, isGone(young))
	require.False(t, isGone(others), "it is not ours")
	require.False(t, isGone(alive.Where))
}
