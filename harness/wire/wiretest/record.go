package wiretest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/wire"
)

// Recorder stands between clients and what they connect to. It passes on what is said as it is, and keeps what clients are told, whatever their drivers
// make of it.
type Recorder struct {
	t        testing.TB
	url      string
	dial     func() (net.Conn, error)
	listener net.Listener
	work     sync.WaitGroup
	mu       sync.Mutex
	open     []net.Conn
	sessions []*Told
}

// Told is what a session was told, a line for each thing: "ready" with the status of the transaction, errors and notices with all their fields, tags,
// settings, notifications. What differs from one server process to the next is left out.
type Told []string

// Record listens at network "tcp" or "unix" for clients of a URL, which is not encrypted.
func Record(t testing.TB, network, to string) *Recorder {
	t.Helper()
	config, err := pgconn.ParseConfig(to)
	require.NoError(t, err)
	r := &Recorder{t: t, dial: func() (net.Conn, error) {
		network, address := pgconn.NetworkAddress(config.Host, config.Port)
		return net.Dial(network, address)
	}}
	u, err := url.Parse(to)
	require.NoError(t, err)
	query := u.Query()
	query.Del("host")
	query.Del("port")
	query.Set("sslmode", "disable")
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), ".s.PGSQL.5432")
	}
	r.listener, err = net.Listen(network, address)
	require.NoError(t, err)
	u.Host = r.listener.Addr().String()
	if network == "unix" {
		u.Host = ""
		query.Set("host", filepath.Dir(address))
		query.Set("port", "5432")
	}
	u.RawQuery = query.Encode()
	r.url = u.String()
	r.work.Go(r.accept)
	t.Cleanup(func() {
		_ = r.listener.Close() // perhaps again
		r.mu.Lock()
		for _, conn := range r.open {
			_ = conn.Close()
		}
		r.mu.Unlock()
		r.work.Wait()
	})
	return r
}

// URL is what clients connect with.
func (r *Recorder) URL() string { return r.url }

// Told waits until all sessions are over and returns what each was told, in the order in which they came.
func (r *Recorder) Told() []Told {
	_ = r.listener.Close()
	r.work.Wait()
	all := make([]Told, len(r.sessions))
	for i, told := range r.sessions {
		all[i] = *told
	}
	return all
}

func (r *Recorder) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.work.Go(func() { r.serve(client) })
	}
}

func (r *Recorder) serve(client net.Conn) {
	defer client.Close()
	server, err := r.dial()
	if err != nil {
		r.t.Errorf("recording: %v", err)
		return
	}
	defer server.Close()
	r.mu.Lock()
	r.open = append(r.open, client, server)
	r.mu.Unlock()
	begins := greet(client, server)
	forwarded := make(chan struct{})
	go func() {
		defer close(forwarded)
		_, _ = io.Copy(server, client)
		_ = server.(interface{ CloseWrite() error }).CloseWrite() // what it has sent is still carried out
	}()
	said := passing{server, client}
	if begins {
		told := &Told{}
		r.mu.Lock()
		r.sessions = append(r.sessions, told)
		r.mu.Unlock()
		if err := told.listen(said); err != nil {
			r.t.Errorf("recording: %v after %q", err, *told)
		}
	}
	_, _ = io.Copy(io.Discard, said)
	_ = client.Close()
	<-forwarded
}

// passing reads what is passed on, to the end, although nobody may be there any more.
type passing struct {
	from io.Reader
	to   io.Writer
}

func (p passing) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	_, _ = p.to.Write(b[:n])
	return n, err
}

// greet passes packets without a type on. It returns whether a session begins after them.
func greet(client io.ReadWriter, server io.ReadWriter) (begins bool) {
	for {
		packet := make([]byte, 8)
		if _, err := io.ReadFull(client, packet); err != nil {
			return false
		}
		code := binary.BigEndian.Uint32(packet[4:])
		packet = append(packet, make([]byte, max(8, binary.BigEndian.Uint32(packet))-8)...)
		if _, err := io.ReadFull(client, packet[8:]); err != nil {
			return false
		}
		_, _ = server.Write(packet) // if it is gone, reading tells
		if code != wire.TLSCode && code != wire.GSSCode {
			return code>>16 == 3
		}
		if _, err := io.ReadFull(passing{server, client}, make([]byte, 1)); err != nil {
			return false
		}
	}
}

// listen keeps what a server says to the end.
func (t *Told) listen(said io.Reader) error {
	server := pgproto3.NewFrontend(said, io.Discard)
	for begun := false; ; {
		m, err := server.Receive()
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.As(err, new(*net.OpError)):
			return nil
		case err != nil:
			return err
		}
		if _, ready := m.(*pgproto3.ReadyForQuery); ready && !begun {
			begun = true
			slices.Sort(*t) // settings come in any order then
		}
		if line := line(m); line != "" {
			*t = append(*t, process.ReplaceAllString(line, "${1}N"))
		}
	}
}

var process = regexp.MustCompile(`(?i)(process |PID )\d+`)

// line is what is kept of a message; empty: nothing.
func line(m pgproto3.BackendMessage) string {
	switch m := m.(type) {
	case *pgproto3.ReadyForQuery:
		return "ready " + string(m.TxStatus)
	case *pgproto3.ErrorResponse:
		return fmt.Sprintf("error %+v", *m)
	case *pgproto3.NoticeResponse:
		return fmt.Sprintf("notice %+v", *m)
	case *pgproto3.CommandComplete:
		return string(m.CommandTag)
	case *pgproto3.ParameterStatus:
		return m.Name + " = " + strconv.Quote(m.Value)
	case *pgproto3.NotificationResponse:
		return fmt.Sprintf("notified of %s: %q", m.Channel, m.Payload)
	case *pgproto3.EmptyQueryResponse, *pgproto3.PortalSuspended, *pgproto3.CopyInResponse, *pgproto3.CopyOutResponse, *pgproto3.FunctionCallResponse:
		return strings.TrimPrefix(fmt.Sprintf("%T", m), "*pgproto3.")
	}
	return ""
}

// Same wants the sessions of two recordings to have been told the same.
func Same(t testing.TB, want, got []Told) {
	t.Helper()
	require.Len(t, got, len(want), "sessions")
	for i := range want {
		require.Equal(t, want[i], got[i], "session %d", i+1)
	}
}

// SameInAnyOrder wants each transaction, and each command outside of one, to have been told the same as one of the other recording, for clients whose
// sessions take turns as they like.
func SameInAnyOrder(t testing.TB, want, got []Told) {
	t.Helper()
	require.Equal(t, transactions(want), transactions(got))
}

// transactions cuts what was told where no transaction was open. What was done more than once, in one session or another, is returned once; and when a
// session began, or made sure that it was alive, not at all. Clients that leave at an error may not be told any more that the server is ready.
func transactions(all []Told) []string {
	var out []string
	for _, told := range all {
		if last := len(told) - 1; last > 0 && strings.HasPrefix(told[last-1], "error ") && told[last] == "ready I" {
			told = told[:last]
		}
		i := slices.Index(told, "ready I")
		for told = told[i+1:]; len(told) > 0; told = told[i+1:] {
			if i = slices.Index(told, "ready I"); i < 0 {
				i = len(told) - 1
			}
			if says := strings.Join(told[:i+1], "\n"); says != "ready I" && says != "EmptyQueryResponse\nready I" {
				out = append(out, says)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Varied wants a recording to have something of all that can be compared: errors, notices, and every status of a transaction.
func Varied(t testing.TB, all []Told) {
	t.Helper()
	for _, begin := range []string{"ready I", "ready T", "ready E", "error ", "notice "} {
		require.True(t, slices.ContainsFunc(all, func(told Told) bool {
			return slices.ContainsFunc(told, func(line string) bool { return strings.HasPrefix(line, begin) })
		}), "there is no %q", begin)
	}
}
