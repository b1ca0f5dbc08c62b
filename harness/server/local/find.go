//go:build unix

package local

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/interlock-pg/interlock/harness/server"
)

// patterns are where package managers put the binaries of servers, beside PATH; $HOME is expanded.
var patterns = []string{
	"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
	"/usr/pgsql-*/bin",          // Red Hat, Fedora, of postgresql.org
	"/usr/lib/postgresql*/bin",  // SUSE
	"/usr/libexec/postgresql*",  // Alpine
	"/usr/local/pgsql/bin",      // built from source
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"$HOME/.asdf/installs/postgres/*/bin",
	"$HOME/.local/share/mise/installs/postgres/*/bin",
}

// Find returns the installations there are: what is installed, the newest first, before what Interlock has downloaded; of the same major
// version, those on PATH come first. With
// [server.Config.BinDir] that one is all there is. The error says why directories that look like an installation are none, and comes beside those
// that were found.
func Find(ctx context.Context, config server.Config) ([]Installation, error) {
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	return find(ctx, config, as)
}

func find(ctx context.Context, config server.Config, as *account) ([]Installation, error) {
	dirs := candidates(config)
	found := make([]Installation, len(dirs))
	errs := make([]error, len(dirs))
	var asking sync.WaitGroup
	for i, dir := range dirs {
		asking.Go(func() { found[i], errs[i] = identify(ctx, config, dir, as) })
	}
	asking.Wait()
	found = slices.DeleteFunc(found, func(in Installation) bool { return in.Major == 0 })
	downloads, err := config.Cache("postgres")
	for i, in := range found {
		found[i].Downloaded = err == nil && filepath.Dir(filepath.Dir(in.BinDir)) == downloads
	}
	slices.SortStableFunc(found, func(a, b Installation) int {
		if a.Downloaded != b.Downloaded {
			if a.Downloaded {
				return 1
			}
			return -1
		}
		return cmp.Compare(b.Major, a.Major)
	})
	return found, errors.Join(errs...)
}

// choose returns the first installation that config allows.
func choose(ctx context.Context, provider string, config server.Config, as *account) (Installation, error) {
	found, rejected := find(ctx, config, as)
	var versions []string
	for _, in := range found {
		if in.Major == config.Version || config.Version == 0 && in.Major >= server.MinVersion {
			return in, nil
		}
		versions = append(versions, in.Version+" in "+in.BinDir)
	}
	if err := ctx.Err(); err != nil {
		return Installation{}, err
	}

	wanted, install := "PostgreSQL", "17"
	if config.Version != 0 {
		install = strconv.Itoa(config.Version)
		wanted += " " + install
	}
	looked := config.BinDir
	try := "another directory, or none, to have it searched for"
	if looked == "" {
		looked = strings.Join(append([]string{"PATH"}, places(config)...), ", ")
		try = fmt.Sprintf("install postgresql-%s (apt), postgresql%s-server (dnf) or postgresql@%s (brew), or --postgres embedded --pg-version %s, which downloads it",
			install, install, install, install)
	}
	why := fmt.Sprintf("no initdb and postgres of %s in %s", wanted, looked)
	if len(versions) > 0 {
		why += "; there is " + strings.Join(versions, ", ")
	}
	return Installation{}, &server.UnavailableError{Provider: provider, Why: why, Err: rejected, Try: try}
}

// candidates returns the directories that hold both programs, each once, links resolved: the programs look for their files relative to
// where they really are.
func candidates(config server.Config) []string {
	var dirs []string
	if config.BinDir != "" {
		dirs = []string{config.BinDir}
	} else {
		dirs = filepath.SplitList(os.Getenv("PATH"))
		for _, place := range places(config) {
			matches, _ := filepath.Glob(place) // the only error is of the pattern
			dirs = append(dirs, matches...)
		}
	}
	var real []string
	for _, dir := range dirs {
		postgres, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
		if err != nil || !filepath.IsAbs(dir) && config.BinDir == "" {
			continue
		}
		if postgres, err = filepath.Abs(postgres); err != nil {
			continue
		}
		dir = filepath.Dir(postgres)
		if info, err := os.Stat(filepath.Join(dir, "initdb")); err == nil && !info.IsDir() && !slices.Contains(real, dir) {
			real = append(real, dir)
		}
	}
	return real
}

// places returns the patterns that are searched, in order.
func places(config server.Config) []string {
	var all []string
	home, err := os.UserHomeDir()
	for _, pattern := range patterns {
		if rest, ok := strings.CutPrefix(pattern, "$HOME"); ok {
			if err != nil {
				continue
			}
			pattern = home + rest
		}
		all = append(all, pattern)
	}
	if downloaded, err := config.Cache("postgres", "*", "bin"); err == nil {
		all = append(all, downloaded)
	}
	return all
}

// identify says what is in dir. The answer is kept in the cache, as asking takes longer than unpacking a small cluster; the size and time of
// the program stand for its content.
func identify(ctx context.Context, config server.Config, dir string, as *account) (Installation, error) {
	kept := ""
	if info, err := os.Stat(filepath.Join(dir, "postgres")); err == nil {
		key := sha256.Sum256(fmt.Appendf(nil, "%s\n%d\n%d\n%v", dir, info.Size(), info.ModTime().UnixNano(), as))
		if kept, err = config.Cache("versions", fmt.Sprintf("%x", key[:8])); err != nil {
			kept = ""
		}
	}
	if content, err := os.ReadFile(kept); err == nil && bytes.HasSuffix(content, []byte("\n")) { // else it is still being written
		if version, major := parseVersion(string(content)); major != 0 {
			return Installation{BinDir: dir, Version: version, Major: major}, nil
		}
	}
	line, err := ask(ctx, dir, as)
	if err != nil {
		return Installation{}, fmt.Errorf("asking %s for its version: %w", filepath.Join(dir, "postgres"), err)
	}
	version, major := parseVersion(line)
	if major == 0 {
		return Installation{}, fmt.Errorf("%s says %q for its version", filepath.Join(dir, "postgres"), line)
	}
	if os.MkdirAll(filepath.Dir(kept), 0o755) == nil {
		os.WriteFile(kept, []byte(line+"\n"), 0o644) //nolint:errcheck // then it is asked again
	}
	return Installation{BinDir: dir, Version: version, Major: major}, nil
}

// ask runs postgres for its version, as the user who will run it: a program that this user cannot reach or load is none.
func ask(ctx context.Context, dir string, as *account) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version")
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", environment(), as.attributes()
	out, err := cmd.Output()
	if err != nil {
		if exit := new(exec.ExitError); errors.As(err, &exit) && len(exit.Stderr) > 0 {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		if as != nil && errors.Is(err, os.ErrPermission) {
			err = fmt.Errorf("%w (Postgres does not run as root, and user %s cannot reach it there)", err, as.name)
		}
		return "", err
	}
	return strings.TrimSpace(string(out)), nil
}

// parseVersion takes "15.18" and 15 from "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"; also "19devel" and 19.
func parseVersion(line string) (version string, major int) {
	fields := strings.Fields(line)
	if len(fields) < 3 {
		return "", 0
	}
	version = fields[2]
	digits := strings.TrimLeft(version, "0123456789")
	major, err := strconv.Atoi(strings.TrimSuffix(version, digits))
	if err != nil {
		return "", 0
	}
	return version, major
}
