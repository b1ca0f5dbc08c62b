//go:build unix

package local

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/interlock-pg/interlock/harness/internal/filelock"
)

const (
	prefix     = "il-"           // of private directories: a socket path has 103 bytes at most
	logName    = "interlock.log" // tells ours from what others call il-…
	readyEvery = time.Millisecond
	readyAfter = 30 * time.Second // far more than a start takes on a machine that is busy
	stopAfter  = 30 * time.Second
	staleAfter = time.Minute
)

//go:embed supervise.sh
var supervise string

// run is a supervised server in a private directory, from before its start to after its end.
type run struct {
	dir   string
	root  *os.Root      // dir, opened when it was still ours alone
	log   *os.File      // what the server writes; readable when the directory has gone
	pipe  *os.File      // the end that keeps the server running
	ended chan struct{} // closed when the supervisor has exited: the server and the directory are gone

	ready              bool // the server has taken connections
	stopping, cleaning sync.Once
	early              bool // and had ended when stop was called
	err                error
}

// dataName is the directory of the cluster within the private directory.
const dataName = "data"

func dataOf(dir string) string { return filepath.Join(dir, dataName) }

func (r *run) data() string { return dataOf(r.dir) }

// newRun makes the private directory and starts a supervisor for it, which waits for start.
func newRun(as *account, command func(dir string) []string) (_ *run, err error) {
	base := base()
	sweep(base)
	r := &run{ended: make(chan struct{})}
	if r.dir, err = os.MkdirTemp(base, prefix); err != nil {
		return nil, fmt.Errorf("private directory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(r.dir))
		}
	}()
	if r.root, err = os.OpenRoot(r.dir); err != nil {
		return nil, fmt.Errorf("private directory: %w", err)
	}
	defer func() {
		if err != nil {
			r.root.Close()
		}
	}()
	if r.log, err = r.root.OpenFile(logName, os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND, 0o600); err != nil {
		return nil, fmt.Errorf("log of the server: %w", err)
	}
	defer func() {
		if err != nil {
			r.log.Close()
		}
	}()
	// All processes of the server inherit the lock with their standard error: see sweep.
	if _, err := filelock.Try(r.log); err != nil {
		return nil, fmt.Errorf("locking %s: %w", r.log.Name(), err)
	}
	if err := errors.Join(as.own(r.log), as.ownDir(r.root)); err != nil {
		return nil, fmt.Errorf("%s: %w", r.dir, err)
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe to the supervisor: %w", err)
	}
	defer theirs.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", supervise, "interlock", r.dir}, command(r.dir)...)...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", environment(), as.attributes()
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = r.log, r.log, []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, fmt.Errorf("supervisor of the server: %w", err)
	}
	r.pipe = ours
	go func() {
		defer close(r.ended)
		cmd.Wait() //nolint:errcheck // how it ended says nothing: the log does
	}()
	return r, nil
}

// start has the supervisor run the server, on the cluster that is in data by now, and waits until it takes connections.
func (r *run) start(ctx context.Context) error {
	if _, err := r.pipe.WriteString("\n"); err != nil {
		return fmt.Errorf("telling the supervisor: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyAfter, fmt.Errorf("not ready after %v", readyAfter))
	defer cancel()
	poll := time.NewTicker(readyEvery)
	defer poll.Stop()
	for !r.isReady() {
		select {
		case <-r.ended:
			return fmt.Errorf("the server ended at once: %s", r.tail())
		case <-ctx.Done():
			return fmt.Errorf("waiting for the server: %w: %s", context.Cause(ctx), r.tail())
		case <-poll.C:
		}
	}
	r.ready = true
	return nil
}

// isReady reads what the server says of itself in the eighth line of its lock file, as pg_ctl does: a connection that comes too early costs
// the server a process.
func (r *run) isReady() bool {
	content, err := os.ReadFile(filepath.Join(r.data(), "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := bytes.Split(content, []byte("\n"))
	return len(lines) > 7 && string(bytes.TrimSpace(lines[7])) == "ready"
}

// stop ends the server and waits until nothing is left of it. Further calls only wait. When the server had ended by itself
// after it was ready, the error says so.
func (r *run) stop(ctx context.Context) error {
	r.stopping.Do(func() {
		_, err := os.Lstat(r.dir) // gone just before the supervisor is
		r.early = r.ready && errors.Is(err, fs.ErrNotExist)
		r.pipe.Close()
	})
	ctx, cancel := context.WithTimeoutCause(ctx, stopAfter, fmt.Errorf("still running after %v", stopAfter))
	defer cancel()
	select {
	case <-r.ended:
	case <-ctx.Done():
		return fmt.Errorf("waiting for the server in %s to stop: %w", r.dir, context.Cause(ctx))
	}
	r.cleaning.Do(func() {
		if r.early {
			r.err = fmt.Errorf("the server in %s had ended before it was stopped: %s", r.dir, r.tail())
		}
		// The supervisor has removed the directory, unless somebody killed it.
		r.err = errors.Join(r.err, r.log.Close(), r.root.Close(), os.RemoveAll(r.dir))
	})
	return r.err
}

// tail returns the last lines of the log.
func (r *run) tail() string {
	content := make([]byte, 4096)
	info, err := r.log.Stat()
	if err != nil {
		return "its log cannot be read: " + err.Error()
	}
	n, _ := r.log.ReadAt(content, max(0, info.Size()-int64(len(content)))) // ends with io.EOF
	lines := strings.Split(strings.TrimSpace(string(content[:n])), "\n")
	text := strings.Join(lines[max(0, len(lines)-10):], "\n")
	if text == "" {
		return "it logged nothing"
	}
	return text
}

// base returns where private directories go: into memory, if there is room, and where the path of a socket is short.
func base() string {
	if dir, ok := memory(); ok {
		return dir
	}
	if info, err := os.Stat("/tmp"); err == nil && info.IsDir() {
		return "/tmp"
	}
	return os.TempDir()
}

// sweep removes the private directories of servers whose supervisor was killed too. All that runs in one holds the lock on its log; one without a log is
// not ours, unless it is empty.
func sweep(base string) {
	dirs, _ := filepath.Glob(filepath.Join(base, prefix+"*")) // the only error is of the pattern
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < staleAfter {
			continue
		}
		log, err := os.OpenFile(filepath.Join(dir, logName), os.O_RDWR, 0)
		if err != nil {
			os.Remove(dir)
			continue
		}
		if dead, err := filelock.Try(log); err == nil && dead {
			os.RemoveAll(dir)
		}
		log.Close()
	}
}
