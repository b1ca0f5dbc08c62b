//go:build unix

package load

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// direct has a client's thread wait for its answers in the kernel, as a program in C does, and not in Go's poller, whose way to a goroutine that a
// single client waits for is some ten microseconds longer.
func direct(config *pgx.ConnConfig) {
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return newBlocking(conn)
	}
}

// blocking is a socket whose reads and writes block the thread. When a deadline is over, it is shut down, for good.
type blocking struct {
	net.Conn // closed already; it knows the addresses
	file     *os.File
	fd       int

	mu      sync.Mutex // guards what follows
	closed  bool       // and fd may be somebody else's
	timer   *time.Timer
	expired bool
}

func newBlocking(conn net.Conn) (net.Conn, error) {
	filer, ok := conn.(interface{ File() (*os.File, error) })
	if !ok {
		return conn, nil
	}
	file, err := filer.File()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	fd := int(file.Fd()) // which makes it block //nolint:gosec // a descriptor is small
	return &blocking{Conn: conn, file: file, fd: fd}, conn.Close()
}

func (b *blocking) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(b.fd, p)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, &net.OpError{Op: "read", Net: "pg", Err: b.why(err)}
		case n == 0 && b.why(nil) != nil:
			return 0, &net.OpError{Op: "read", Net: "pg", Err: b.why(nil)}
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (b *blocking) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := syscall.Write(b.fd, p[done:])
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return done, &net.OpError{Op: "write", Net: "pg", Err: b.why(err)}
		}
		done += max(n, 0)
	}
	return done, nil
}

// why returns why a read or a write failed.
func (b *blocking) why(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.expired {
		return os.ErrDeadlineExceeded
	}
	return err
}

func (b *blocking) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	b.disarm()
	return b.file.Close()
}

func (b *blocking) SetDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.disarm()
	switch left := time.Until(t); {
	case t.IsZero() || b.closed:
	case left <= 0:
		b.expire()
	default:
		b.timer = time.AfterFunc(left, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.expire()
		})
	}
	return nil
}

// disarm forgets the deadline.
func (b *blocking) disarm() {
	if b.timer != nil {
		b.timer.Stop()
	}
}

// expire shuts the socket down, whoever reads from it. The caller holds mu.
func (b *blocking) expire() {
	if !b.closed {
		b.expired = true
		_ = syscall.Shutdown(b.fd, syscall.SHUT_RDWR)
	}
}

func (b *blocking) SetReadDeadline(t time.Time) error  { return b.SetDeadline(t) }
func (b *blocking) SetWriteDeadline(t time.Time) error { return b.SetDeadline(t) }
