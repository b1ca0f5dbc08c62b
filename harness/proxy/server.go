package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/interlock-pg/interlock/harness/wire"
)

// place is what was dialed for a connection to a server: a socket does not know its own name.
type place struct{ network, address string }

// errTaken ends pgconn's connecting where we go on by ourselves.
var errTaken = errors.New("taken over")

// open opens a connection to the server as pgconn does, with its hosts, time limits and TLS, up to where the protocol begins.
func open(ctx context.Context, config *pgconn.Config, dialed func(place)) (net.Conn, error) {
	config = config.Copy()
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	var taken net.Conn
	dial, after := config.DialFunc, config.AfterNetConnect
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		dialed(place{network, address})
		return dial(ctx, network, address)
	}
	config.AfterNetConnect = func(ctx context.Context, config *pgconn.Config, conn net.Conn) (net.Conn, error) {
		if after != nil {
			var err error
			if conn, err = after(ctx, config, conn); err != nil {
				return conn, err
			}
		}
		if inside, ok := conn.(*tls.Conn); ok {
			if err := inside.HandshakeContext(ctx); err != nil {
				return conn, err // there may be a host or a way that does better
			}
		}
		taken = conn
		enough() // no other host is tried
		left, _ := net.Pipe()
		return left, errTaken // it is closed in our connection's stead
	}
	_, err := pgconn.ConnectConfig(ctx, config)
	if taken == nil {
		return nil, unreachable(err)
	}
	return taken, nil
}

// unreachable is what a client is told when there is no server, or what the server itself said.
func unreachable(err error) error {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		return err
	}
	return &refusal{
		code: "08001", message: fmt.Sprintf("Interlock's proxy could not connect to the server: %v", err),
		try: "look whether it runs, with psql from the same machine",
	}
}

// keep notes a session that was opened for the client, so that Close ends it and cancellations find it.
func (c *client) keep(s *wire.Session) error {
	p := c.proxy
	c.sessions = append(c.sessions, s)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return net.ErrClosed
	}
	p.sessions[s] = c.at
	return nil
}

// dialed notes where a connection for the client goes.
func (c *client) dialed(at place) { c.at = at }

// pass opens a session with the client's own startup packet.
func (c *client) pass(start packet, name string) (*wire.Session, error) {
	_ = c.SetDeadline(time.Time{}) // from here on, the server has its own
	conn, err := open(c.proxy.context, c.proxy.config.Server, c.dialed)
	if err != nil {
		return nil, err
	}
	s := c.proxy.config.Gate.Conn(name, conn)
	if err := c.keep(s); err != nil {
		_ = s.Abort()
		return nil, err
	}
	if _, err := s.Write(start); err != nil {
		return nil, fmt.Errorf("startup packet: %w; try the same connection without the proxy", err)
	}
	if _, encrypted := conn.(*tls.Conn); encrypted || !c.local() {
		return s, c.lead(s, encrypted)
	}
	return s, nil
}

// connect opens a session with the proxy's credentials and what else the client asked for, past its beginning, of which it returns the messages. What follows
// is read from c.from: since a write that took long, as on a busy machine, a goroutine of pgx's may be reading, and has the first answer to the client.
func (c *client) connect(h Hello, name string) (s *wire.Session, messages []pgproto3.BackendMessage, err error) {
	own := &c.proxy.config
	config := own.Server.Copy()
	if own.Database != "" {
		config.Database = own.Database
	}
	config.MinProtocolVersion, config.MaxProtocolVersion = "3.0", "3.0" // what the client has been told
	config.RuntimeParams = maps.Clone(config.RuntimeParams)
	if config.RuntimeParams == nil {
		config.RuntimeParams = map[string]string{}
	}
	options := joined(config.RuntimeParams["options"], h.Parameters["options"], own.Parameters["options"])
	maps.Copy(config.RuntimeParams, h.Parameters)
	maps.Copy(config.RuntimeParams, own.Parameters)
	maps.DeleteFunc(config.RuntimeParams, func(name, _ string) bool { return isExtension(name) || name == "options" && options == "" })
	if options != "" {
		config.RuntimeParams["options"] = options
	}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		messages = append(messages, (*pgproto3.NoticeResponse)(response((*pgconn.PgError)(n))))
	}
	config.OnNotification = nil
	build := config.BuildFrontend
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		c.from = r
		return build(r, w)
	}
	dial, after := config.DialFunc, config.AfterNetConnect
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		c.dialed(place{network, address})
		return dial(ctx, network, address)
	}
	config.AfterNetConnect = func(ctx context.Context, config *pgconn.Config, conn net.Conn) (net.Conn, error) {
		if after != nil {
			var err error
			if conn, err = after(ctx, config, conn); err != nil {
				return conn, err
			}
		}
		s := own.Gate.Conn(name, conn)
		return s, c.keep(s)
	}
	// What a connection is tried with, as for target_session_attrs, is not held: nobody else knows of the session yet.
	if validate := config.ValidateConnect; validate != nil {
		config.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error { return unheld(ctx, conn, validate) }
	}
	if prepare := config.AfterConnect; prepare != nil {
		config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error { return unheld(ctx, conn, prepare) }
	}
	conn, err := pgconn.ConnectConfig(c.proxy.context, config)
	if err != nil {
		return nil, nil, unreachable(err)
	}
	s = wire.SessionOf(conn)
	raw, err := conn.Hijack()
	if err != nil {
		return nil, nil, errors.Join(err, s.Abort())
	}
	for _, name := range slices.Sorted(maps.Keys(raw.ParameterStatuses)) {
		messages = append(messages, &pgproto3.ParameterStatus{Name: name, Value: raw.ParameterStatuses[name]})
	}
	messages = append(messages, &pgproto3.BackendKeyData{ProcessID: raw.PID, SecretKey: raw.SecretKey}, &pgproto3.ReadyForQuery{TxStatus: raw.TxStatus})
	var behind []byte // what has come already, as a notice may
	for raw.Frontend.ReadBufferLen() > 0 {
		m, err := raw.Frontend.Receive()
		if err == nil {
			behind, err = m.Encode(behind)
		}
		if err != nil {
			return nil, nil, errors.Join(unreachable(err), s.Abort())
		}
	}
	c.from = io.MultiReader(bytes.NewReader(behind), c.from)
	return s, messages, nil
}

// unheld does something with a connection while its gate is open.
func unheld(ctx context.Context, conn *pgconn.PgConn, do func(context.Context, *pgconn.PgConn) error) error {
	s := wire.SessionOf(conn)
	s.Open(true)
	defer s.Open(false)
	return do(ctx, conn)
}

// isExtension says whether a parameter of the startup packet is one of the protocol's rather than of the server's.
func isExtension(name string) bool { return strings.HasPrefix(name, "_pq_.") }

// cancelWithin is how long a request to cancel may take to be delivered.
const cancelWithin = 10 * time.Second

// cancel leads a request to cancel through the gate, and on to the server that the session is at.
func (c *client) cancel(pid uint32, key []byte) error {
	p := c.proxy
	s, forward := p.config.Gate.Cancel(pid, key)
	if !forward {
		return nil
	}
	config := p.config.Server.Copy()
	p.mu.Lock()
	at, known := p.sessions[s]
	p.mu.Unlock()
	if known { // else the server may know it: it is not for us to judge
		dial := config.DialFunc
		config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, at.network, at.address) }
	}
	ctx, done := context.WithTimeoutCause(p.context, cancelWithin, fmt.Errorf("not delivered within %v", cancelWithin))
	defer done()
	conn, err := open(ctx, config, func(place) {})
	if err != nil {
		return fmt.Errorf("a request to cancel: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	request, err := (&pgproto3.CancelRequest{ProcessID: pid, SecretKey: key}).Encode(nil)
	if err == nil {
		_, err = conn.Write(request)
	}
	if err != nil {
		return fmt.Errorf("a request to cancel: %w; try again", err)
	}
	_, _ = io.Copy(io.Discard, conn) // the server closes it when it has read the request
	return nil
}

// readMessage reads no more than one message, of at most so many bytes.
func readMessage(r io.Reader, most int) (message []byte, err error) {
	message = make([]byte, 5)
	if _, err := io.ReadFull(r, message); err != nil {
		return nil, err
	}
	length := int(binary.BigEndian.Uint32(message[1:]))
	if length < 4 || length > most {
		return nil, &refusal{code: "08P01", message: "invalid message length", try: "try another client"}
	}
	message = append(message, make([]byte, length-4)...)
	_, err = io.ReadFull(r, message[5:])
	return message, err
}
