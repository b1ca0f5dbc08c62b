package isolation

import (
	"net"
	"syscall"
	"time"
)

// conn is a connection of which can be read what has come, without waiting for more.
type conn struct {
	net.Conn
	raw  syscall.RawConn // nil: there is no such thing, as below TLS
	poll bool
}

func newConn(c net.Conn) *conn {
	made := &conn{Conn: c}
	if s, ok := c.(syscall.Conn); ok && canPoll {
		made.raw, _ = s.SyscallConn()
	}
	return made
}

// wait says how long a Read may wait: until then, but not longer than most; not at all if until is the zero time. A Read that has nothing to return
// then fails with [os.ErrDeadlineExceeded].
func (c *conn) wait(until time.Time, most time.Duration) {
	now := time.Now()
	c.poll = !until.After(now)
	switch latest := now.Add(most); {
	case c.poll && c.raw != nil:
		until = time.Time{}
	case c.poll:
		until = now.Add(time.Millisecond)
	case latest.Before(until):
		until = latest
	}
	_ = c.SetReadDeadline(until) // fails on a closed connection only, as Read does
}

// Read implements [net.Conn].
func (c *conn) Read(p []byte) (int, error) {
	if c.poll && c.raw != nil {
		return readNow(c.raw, p)
	}
	return c.Conn.Read(p)
}
