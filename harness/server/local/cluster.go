//go:build unix

package local

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/interlock-pg/interlock/harness/internal/filelock"
	"github.com/interlock-pg/interlock/harness/server"
)

// initArguments are those of initdb. Anybody who reaches the socket is let in: its directory is private. The locale C sorts the same
// everywhere. A new cluster has one segment of write-ahead log, and the smaller it is, the less there is to copy.
var initArguments = []string{"-A", "trust", "-U", superuser, "-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1"}

// prepareCluster puts a fresh cluster into the data directory of r, which does not exist yet, from the cache if it can. A cluster is kept as one
// archive, which appears under its name when it is complete. A cache that cannot be read or written costs time and nothing else.
func prepareCluster(ctx context.Context, config server.Config, binaries Installation, as *account, r *run) error {
	archive, err := archivePath(config, binaries)
	if err != nil {
		return err
	}
	if unpack(archive, r.root, as) == nil {
		return nil
	}
	unlock, err := filelock.Lock(ctx, archive+".lock") // of many who find no archive, one makes it
	switch {
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		config.Logf("local: the cache is not used: %v", err)
		return initialise(ctx, binaries, as, r)
	}
	defer unlock()
	err = unpack(archive, r.root, as)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		config.Logf("local: a cached cluster cannot be used and is made again: %v", err)
	}
	if err := initialise(ctx, binaries, as, r); err != nil {
		return err
	}
	if err := pack(r.root, archive); err != nil {
		config.Logf("local: the cluster is not cached: %v", err)
	}
	return nil
}

// archivePath names the archive after all that it depends on. The size and time of the program stand for rebuilds under one version.
func archivePath(config server.Config, binaries Installation) (string, error) {
	postgres := filepath.Join(binaries.BinDir, "postgres")
	info, err := os.Stat(postgres)
	if err != nil {
		return "", err
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d\n%d\n%q", postgres, binaries.Version, info.Size(), info.ModTime().UnixNano(), initArguments))
	return config.Cache("clusters", fmt.Sprintf("%s-%x.zip", binaries.Version, key[:8]))
}

// initialise runs initdb. It holds the pipe to the supervisor as well, and so do the programs that it runs: if this process is killed, the
// directory goes after their end. Without their directory they would panic, and leave shared memory behind.
func initialise(ctx context.Context, binaries Installation, as *account, r *run) error {
	cmd := exec.CommandContext(ctx, filepath.Join(binaries.BinDir, "initdb"), append([]string{"-D", r.data()}, initArguments...)...)
	cmd.ExtraFiles = []*os.File{r.pipe}
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", environment(), as.attributes()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it ends when the program has that it runs
	cmd.WaitDelay = 5 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", errors.Join(ctx.Err(), err), strings.TrimSpace(string(out)))
	}
	return nil
}

// pack writes the cluster below root into an archive, which replaces any other. The caller holds the lock.
func pack(root *os.Root, archive string) (err error) {
	data, err := root.OpenRoot(dataName)
	if err != nil {
		return err
	}
	defer data.Close()
	temporary, err := os.Create(archive + ".tmp")
	if err != nil {
		return err
	}
	w := zip.NewWriter(temporary)
	err = fs.WalkDir(data.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if entry.IsDir() {
			_, err := w.Create(name + "/")
			return err
		}
		if !entry.Type().IsRegular() {
			return fmt.Errorf("%s is neither file nor directory", name)
		}
		content, err := data.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			return err
		}
		_, err = f.Write(content)
		return err
	})
	if err := errors.Join(err, w.Close(), temporary.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return os.Rename(temporary.Name(), archive)
}

// unpack makes a cluster below root from an archive, with as many hands as there are processors. On an error there is none. Root, for whom it
// may work, does not leave the directory that it opened when nobody else could, whatever its new owner does there meanwhile.
func unpack(archive string, root *os.Root, as *account) (err error) {
	r, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer r.Close()
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", archive, err), root.RemoveAll(dataName))
		}
	}()
	if !slices.ContainsFunc(r.File, func(f *zip.File) bool { return f.Name == "PG_VERSION" }) {
		return errors.New("no PG_VERSION")
	}
	dirs := map[string]*os.Root{} // by path within the cluster
	defer func() {
		for _, dir := range dirs {
			dir.Close()
		}
	}()
	makeDir := func(name string) error {
		full := path.Join(dataName, name)
		if err := root.Mkdir(full, 0o700); err != nil {
			return err
		}
		dir, err := root.OpenRoot(full)
		if err != nil {
			return err
		}
		dirs[name] = dir
		return as.ownDir(dir)
	}
	if err := makeDir("."); err != nil {
		return err
	}
	var files []*zip.File
	for _, f := range r.File {
		if name, isDir := strings.CutSuffix(f.Name, "/"); !isDir {
			files = append(files, f)
		} else if err := makeDir(name); err != nil {
			return err
		}
	}
	var group errgroup.Group
	hands := runtime.GOMAXPROCS(0)
	for hand := range hands {
		group.Go(func() error {
			var buffer []byte
			for i := hand; i < len(files); i += hands {
				dir := dirs[path.Dir(files[i].Name)]
				if dir == nil {
					return fmt.Errorf("no directory of %s", files[i].Name)
				}
				if err := unpackFile(files[i], dir, as, &buffer); err != nil {
					return fmt.Errorf("%s: %w", files[i].Name, err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// unpackFile makes one file in dir. The content goes through buffer, which grows to the size of the largest file.
func unpackFile(from *zip.File, dir *os.Root, as *account, buffer *[]byte) (err error) {
	size := int(from.UncompressedSize64)
	if size >= len(*buffer) {
		*buffer = make([]byte, size+1)
	}
	r, err := from.Open()
	if err != nil {
		return err
	}
	// One byte more than there is: the checksum is compared at the end.
	n, err := io.ReadFull(r, (*buffer)[:size+1])
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) || n != size {
		return fmt.Errorf("%d bytes of %d: %w", n, size, errors.Join(err, r.Close()))
	}
	if err := r.Close(); err != nil {
		return err
	}
	file, err := dir.OpenFile(path.Base(from.Name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write((*buffer)[:size]); err != nil {
		return err
	}
	return as.own(file)
}
