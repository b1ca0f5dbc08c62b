package proxy

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/interlock-pg/interlock/harness/wire"
)

const (
	// A client that has not said by then what it wants is let go, as the server does with its own.
	greetWithin = time.Minute
	// What is copied at once, in either direction.
	copySize = 32 << 10
)

// client is a connection to the proxy.
type client struct {
	net.Conn // with TLS, what is inside
	proxy    *Proxy
	address  net.Addr
	secure   bool
	sessions []*wire.Session // that were opened for it; more than one, where there are several hosts
	at       place           // of what was dialed last
	from     io.Reader       // what the server says to the client; nil: the session itself
}

// refusal is what a client is told instead of being served.
type refusal struct{ code, message, try string }

func (r *refusal) Error() string { return r.message + "; " + r.try }

// serve does all for the client that there is to do. It returns why it could not.
func (c *client) serve() error {
	_ = c.SetDeadline(time.Now().Add(greetWithin)) // a connection that takes none is about to fail
	start, err := c.greet()
	if err == nil {
		if pid, key, ok := start.cancels(); ok {
			return c.cancel(pid, key)
		}
		err = c.begin(start)
	}
	if errors.Is(err, errLeft) { // it has only looked whether somebody listens, or what it is asked for
		return nil
	}
	if err != nil {
		c.tell(err)
	}
	return err
}

// greet answers what clients ask before their startup packet, and returns that, or a request to cancel.
func (c *client) greet() (packet, error) {
	for range 3 { // for TLS, for GSSAPI, and the packet itself
		p, err := readPacket(c)
		if errors.Is(err, errEncrypted) && c.proxy.config.TLS != nil && !c.secure {
			if err := c.encrypt(&begun{Conn: c.Conn, first: p}); err != nil {
				return nil, err
			}
			continue
		}
		switch {
		case err != nil:
			return nil, err
		case p.code() == wire.TLSCode && c.proxy.config.TLS != nil && !c.secure:
			if err := c.send([]byte{'S'}); err != nil {
				return nil, err
			}
			if err := c.encrypt(c.Conn); err != nil {
				return nil, err
			}
		case p.code() == wire.TLSCode || p.code() == wire.GSSCode:
			if err := c.send([]byte{'N'}); err != nil {
				return nil, err
			}
		default:
			return p, nil
		}
	}
	return nil, &refusal{code: "08P01", message: "too many questions before the startup packet", try: "try another client"}
}

func (c *client) encrypt(conn net.Conn) error {
	inside := tls.Server(conn, c.proxy.config.TLS)
	if err := inside.HandshakeContext(c.proxy.context); err != nil {
		return fmt.Errorf("TLS: %w; try sslmode=require, or give the client the proxy's certificate as sslrootcert", err)
	}
	c.Conn, c.secure = inside, true
	return nil
}

// begun is a connection of which some bytes have been read.
type begun struct {
	net.Conn
	first []byte
}

// Read implements [net.Conn].
func (b *begun) Read(p []byte) (int, error) {
	if len(b.first) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.first)
	b.first = b.first[n:]
	return n, nil
}

// begin opens a session and lets the client have it.
func (c *client) begin(start packet) error {
	h, err := start.hello()
	if err != nil {
		return err
	}
	h.Address, h.Encrypted = c.address, c.secure
	name := cmp.Or(h.Parameters["application_name"], c.address.String())
	if c.proxy.config.Name != nil {
		name = c.proxy.config.Name(h)
	}
	var s *wire.Session
	if c.proxy.config.Auth == Pass {
		s, err = c.pass(start.with(h, c.proxy.config.Parameters), name)
	} else {
		s, err = c.authenticate(start, h, name)
	}
	if err != nil {
		return err
	}
	if c.from == nil {
		c.from = s
	}
	c.relay(s)
	if state := s.State(); state.PID == 0 && state.Fatal.Err() {
		return fmt.Errorf("the server refused it: %s (%s); try the same connection without the proxy", state.Fatal.Message, state.Fatal.SQLState)
	}
	return nil
}

// relay copies both ways until either side is over.
func (c *client) relay(s *wire.Session) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, copySize)
		for {
			n, err := c.Read(buffer)
			if n > 0 {
				if _, err := s.Write(buffer[:n]); err != nil {
					return // what the server said last is still to be read
				}
			}
			if err != nil {
				_ = s.Close()
				_ = c.Close() // it may not read either
				return
			}
		}
	}()
	buffer := make([]byte, copySize)
	for {
		n, err := c.from.Read(buffer)
		if n > 0 {
			if _, err := c.Write(buffer[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = s.Close()
	_ = c.Close()
	<-done
}

// tell tells the client why it is not served, if it is something that the client can be told.
func (c *client) tell(err error) {
	var ours *refusal
	var theirs *pgconn.PgError
	m := &pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL"}
	switch {
	case errors.As(err, &ours):
		m.Code, m.Message, m.Hint = ours.code, ours.message, ours.try
	case errors.As(err, &theirs):
		m = response(theirs)
	default:
		return
	}
	_ = c.say(m) // it is gone, or not
}

// response is an error of the server in its own form.
func response(e *pgconn.PgError) *pgproto3.ErrorResponse {
	return &pgproto3.ErrorResponse{
		Severity: e.Severity, SeverityUnlocalized: e.SeverityUnlocalized, Code: e.Code, Message: e.Message, Detail: e.Detail, Hint: e.Hint,
		Position: e.Position, InternalPosition: e.InternalPosition, InternalQuery: e.InternalQuery, Where: e.Where,
		SchemaName: e.SchemaName, TableName: e.TableName, ColumnName: e.ColumnName, DataTypeName: e.DataTypeName, ConstraintName: e.ConstraintName,
		File: e.File, Line: e.Line, Routine: e.Routine,
	}
}

// say sends messages in one go.
func (c *client) say(messages ...pgproto3.BackendMessage) error {
	var p []byte
	for _, m := range messages {
		var err error
		if p, err = m.Encode(p); err != nil {
			return err
		}
	}
	return c.send(p)
}

// send sends bytes to a client that has no session yet.
func (c *client) send(p []byte) error {
	_, err := c.Write(p)
	return broken("answering the client", err)
}
