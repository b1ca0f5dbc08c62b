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
	"github.com/jackc/pgx/v5/pgconn"
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
	var _ pgconn.DialFunc = config.DialFunc
}

// blocking is a socket whose reads and writes block the thread. A deadline that is over shuts it down; others are not heeded.
type blocking struct {
	net.Conn // closed already; it knows the addresses
	file     *os.File
	fd       int
	once     sync.Once
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
		case err == syscall.EINTR: //nolint:errorlint // an errno as it is
		case err != nil:
			return 0, &net.OpError{Op: "read", Net: "pg", Err: err}
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
		case err == syscall.EINTR: //nolint:errorlint // an errno as it is
		case err != nil:
			return done, &net.OpError{Op: "write", Net: "pg", Err: err}
		}
		done += max(n, 0)
	}
	return done, nil
}

func (b *blocking) Close() (err error) {
	b.once.Do(func() { err = b.file.Close() })
	return err
}

func (b *blocking) SetDeadline(t time.Time) error {
	if !t.IsZero() && !t.After(time.Now()) {
		_ = syscall.Shutdown(b.fd, syscall.SHUT_RDWR)
	}
	return nil
}

func (b *blocking) SetReadDeadline(t time.Time) error  { return b.SetDeadline(t) }
func (b *blocking) SetWriteDeadline(t time.Time) error { return b.SetDeadline(t) }
