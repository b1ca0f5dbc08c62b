package embedded

import (
	"archive/tar"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewest(t *testing.T) {
	t.Parallel()
	list := []byte(`["15.9.0-beta.15", "16.9.0-beta.15", "16.10.0-beta.15", "16.10.0-beta.9", "17.0.0-beta.13"]`)
	for major, want := range map[int]string{15: "15.9.0-beta.15", 16: "16.10.0-beta.15", 17: "17.0.0-beta.13"} {
		got, err := newest(list, major)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := newest(list, 14)
	require.ErrorContains(t, err, "no version of PostgreSQL 14 among 5")
	_, err = newest([]byte("<html>"), 14)
	require.Error(t, err)
}

// A package gives its files, with their modes and links; one that would write elsewhere is refused.
func TestUnpack(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "good")
	require.NoError(t, unpack(pack(t, map[string]string{
		"package/package.json": "{}", "package/native/bin/postgres": "program", "package/native/lib/libpq.so.5.16": "library",
		"package/native/pg-symlinks.json": `[{"source":"native/lib/libpq.so.5.16","target":"native/lib/libpq.so.5"}, {"source":"native/lib/libpq.so.5.16","target":"native/libpq.so"}]`,
	}), dir))
	for _, name := range []string{"lib/libpq.so.5", "libpq.so"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, "library", string(content))
	}
	info, err := os.Stat(filepath.Join(dir, "bin", "postgres"))
	require.NoError(t, err)
	require.EqualValues(t, 0o755, info.Mode().Perm())
	require.NoFileExists(t, filepath.Join(dir, "package.json"))

	for name, files := range map[string]map[string]string{
		"file":        {"package/native/../../../evil": ""},
		"absolute":    {"package/native//evil": "", "package/native//../evil": ""},
		"link target": {"package/native/pg-symlinks.json": `[{"source":"native/lib/x","target":"native/../../evil"}]`},
		"link source": {"package/native/pg-symlinks.json": `[{"source":"native/../../evil","target":"native/lib/x"}]`},
		"elsewhere":   {"package/native/pg-symlinks.json": `[{"source":"/etc/passwd","target":"native/lib/x"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			require.Error(t, unpack(pack(t, files), filepath.Join(root, "a")))
			entries, err := os.ReadDir(root)
			require.NoError(t, err)
			require.Len(t, entries, 1) // a
		})
	}
}

// pack makes a package of files.
func pack(t *testing.T, files map[string]string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "package.tgz"))
	require.NoError(t, err)
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	for name, content := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}))
		_, err := w.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
	return f.Name()
}
