//go:build unix

package isolation

import (
	"errors"
	"io"
	"os"
	"syscall"
)

const canPoll = true

// readNow reads what a socket has, and fails with [os.ErrDeadlineExceeded] if that is nothing.
func readNow(raw syscall.RawConn, p []byte) (n int, err error) {
	controlErr := raw.Read(func(fd uintptr) bool {
		for {
			if n, err = syscall.Read(int(fd), p); err != syscall.EINTR {
				return true
			}
		}
	})
	switch {
	case controlErr != nil:
		return 0, controlErr
	case errors.Is(err, syscall.EAGAIN):
		return 0, os.ErrDeadlineExceeded
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
