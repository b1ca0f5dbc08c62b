//go:build unix

// Package filelock keeps parallel processes from doing the same work twice.
package filelock

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// every is how often a taken lock is tried again.
const every = 5 * time.Millisecond

// Lock takes the lock that the file at path stands for, creating the file and its directory, and waits for it as long as ctx allows. Another
// goroutine of this process is kept out like any other process. The lock ends with the call of unlock, or with this process.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		locked, err := Try(file)
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if locked {
			return func() { file.Close() }, nil
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, fmt.Errorf("waiting for the lock on %s: %w", path, ctx.Err())
		case <-time.After(every):
		}
	}
}

// Try takes the lock on an open file if nobody holds it. It is held until the last copy of the descriptor, in this process and in those that
// inherited it, is closed.
func Try(file *os.File) (bool, error) {
	for {
		switch err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err {
		case nil:
			return true, nil
		case syscall.EWOULDBLOCK:
			return false, nil
		case syscall.EINTR:
		default:
			return false, err
		}
	}
}
