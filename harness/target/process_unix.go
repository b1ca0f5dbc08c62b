//go:build unix

package target

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/interlock-pg/interlock/harness/internal/pause"
)

//go:embed guard.sh
var guard string

// process is a command with all that it starts, in a session of its own: what is typed at our terminal does not reach it. A guard beside it ends
// the group if we do not live to do it.
type process struct {
	command *exec.Cmd
	guard   *exec.Cmd
	pipe    *os.File // the end that keeps the guard waiting
	output  *tail
	copied  chan struct{} // closed when nobody writes output any more
	reading *os.File
	ended   chan struct{} // closed when the command itself has ended
	err     error         // how it ended; to be read when it has

	stopping sync.Once
	stopped  error
}

// gate keeps the command from beginning before its guard knows of it. The end of the pipe, when we are gone before that, ends it.
const gate = `read -r _ <&3 || exit 1; exec "$@" 3<&-`

// run starts a command. Grace is how long it may take to end when it is told to.
func run(directory string, words, environment []string, grace time.Duration) (_ *process, err error) {
	if _, err := os.Stat(directory); err != nil {
		return nil, fmt.Errorf("its directory: %w; try a path relative to the target file", err)
	}
	p := &process{output: &tail{}, copied: make(chan struct{}), ended: make(chan struct{})}
	theirs, pipe, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe to the guard of a process: %w", err)
	}
	defer theirs.Close()
	p.pipe = pipe
	p.guard = exec.Command("/bin/sh", "-c", guard, "interlock", strconv.Itoa(int(grace/(100*time.Millisecond))))
	p.guard.Dir, p.guard.SysProcAttr, p.guard.ExtraFiles = "/", &syscall.SysProcAttr{Setsid: true}, []*os.File{theirs}
	if err := p.guard.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("guard of a process: %w", err), pipe.Close())
	}
	if err := p.begin(directory, words, environment); err != nil {
		err = errors.Join(err, pipe.Close())
		p.guard.Wait() //nolint:errcheck // it has been told of no group, so it ends without having done anything
		return nil, err
	}
	return p, nil
}

// begin starts the command itself, under the guard.
func (p *process) begin(directory string, words, environment []string) error {
	reading, writing, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe for the output of a process: %w", err)
	}
	defer writing.Close()
	theirs, ours, err := os.Pipe()
	if err != nil {
		return errors.Join(fmt.Errorf("pipe to a process: %w", err), reading.Close())
	}
	defer theirs.Close()
	defer ours.Close()
	p.command = exec.Command("/bin/sh", append([]string{"-c", gate, "interlock"}, words...)...)
	p.command.Dir, p.command.Env, p.command.SysProcAttr = directory, environment, &syscall.SysProcAttr{Setsid: true}
	p.command.Stdout, p.command.Stderr, p.command.ExtraFiles = writing, writing, []*os.File{theirs}
	if err := p.command.Start(); err != nil {
		return errors.Join(err, reading.Close())
	}
	p.reading = reading
	go func() {
		defer close(p.copied)
		p.output.copy(reading)
	}()
	go func() {
		defer close(p.ended)
		p.err = p.command.Wait()
	}()
	_, err = fmt.Fprintln(p.pipe, p.pid())
	if err == nil {
		_, err = fmt.Fprintln(ours)
	}
	if err != nil {
		return errors.Join(err, ours.Close(), p.finish()) // without its line, it ends
	}
	return nil
}

// pid is that of the command, and of its group.
func (p *process) pid() int { return p.command.Process.Pid }

// group sends a signal to all processes of the group. The error is [syscall.ESRCH] when there is none left.
func (p *process) group(signal syscall.Signal) error { return syscall.Kill(-p.pid(), signal) }

// stop ends the group and waits until nothing is left of it: it is told to end, and killed after the grace period, or when the context ends.
// Further calls return what the first one did.
func (p *process) stop(ctx context.Context, grace time.Duration) error {
	p.stopping.Do(func() {
		p.group(syscall.SIGTERM) //nolint:errcheck // it may have ended
		told, cancel := context.WithTimeout(ctx, grace)
		defer cancel()
		if p.gone(told) != nil {
			p.group(syscall.SIGKILL) //nolint:errcheck // it may have ended now
		}
		p.stopped = p.finish()
	})
	return p.stopped
}

// afterKill is how long the kernel may take to end what was killed.
const afterKill = 30 * time.Second

// finish waits for the end of the group, which is ending, and dismisses the guard.
func (p *process) finish() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), afterKill, errors.New("processes that were killed are still there"))
	defer cancel()
	err := p.gone(ctx)
	if err == nil {
		_, err = fmt.Fprintln(p.pipe)
	}
	err = errors.Join(err, p.pipe.Close())
	p.guard.Wait() //nolint:errcheck // how it ended says nothing
	// What has left the group with setsid may still write.
	p.reading.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) //nolint:errcheck // a pipe has deadlines
	<-p.copied
	return errors.Join(err, p.reading.Close())
}

// gone waits until no process of the group is left.
func (p *process) gone(ctx context.Context) error {
	select {
	case <-p.ended:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for wait := time.Millisecond; p.left(); wait = min(2*wait, 50*time.Millisecond) {
		if pause.For(ctx, wait) != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// left reports whether processes of the group are left. Those that have ended and that nobody waits for, as in a container whose first process does
// not, are none: they are looked for where there is a /proc.
func (p *process) left() bool {
	if errors.Is(p.group(0), syscall.ESRCH) {
		return false
	}
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the only error is of the pattern
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(content[bytes.LastIndexByte(content, ')')+1:]), " ") // pid (name) state parent group …
		fields := strings.Fields(rest)
		if len(fields) < 18 || fields[2] != strconv.Itoa(p.pid()) {
			continue
		}
		if over := fields[0] == "Z" || fields[0] == "X"; !over || fields[17] != "1" { // some of its threads may not be over yet
			return true
		}
	}
	return len(files) == 0
}
