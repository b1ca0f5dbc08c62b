package proxy

import (
	"bytes"
	"maps"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
)

func start(t testing.TB, parameters map[string]string) []byte {
	t.Helper()
	p, err := (&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: parameters}).Encode(nil)
	require.NoError(t, err)
	return p
}

// FuzzHello: whatever a client begins with, no more than a packet is read, and what is taken for a startup packet is what pgproto3 takes for one.
// What is added to it is stronger than what it has.
func FuzzHello(f *testing.F) {
	f.Add(start(f, map[string]string{"user": "u", "database": "d", "application_name": "a", "options": "-c a=b"}))
	f.Add(start(f, map[string]string{"user": "u", "_pq_.x": ""}))
	f.Add(start(f, nil))
	for _, m := range []pgproto3.FrontendMessage{
		&pgproto3.SSLRequest{}, &pgproto3.GSSEncRequest{}, &pgproto3.CancelRequest{ProcessID: 1, SecretKey: []byte("four")},
	} {
		p, err := m.Encode(nil)
		require.NoError(f, err)
		f.Add(append(p, "more"...))
	}
	f.Add([]byte("\x00\x00\x00\x10\x00\x03\x00\x00user\x00u\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x12\x00\x03\x00\x02user\x00u\x00\x00x\x00"))
	f.Add([]byte("\x00\x00\x00\x0d\x00\x03\x00\x00user\x00"))
	f.Add([]byte("\x16\x03\x01\x02\x00"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		r := bytes.NewReader(sent)
		p, err := readPacket(r)
		if err != nil {
			return
		}
		require.Equal(t, sent[:len(sent)-r.Len()], []byte(p))
		if pid, key, ok := p.cancels(); ok {
			again, err := (&pgproto3.CancelRequest{ProcessID: pid, SecretKey: key}).Encode(nil)
			if len(key) <= 256 {
				require.NoError(t, err)
				require.Equal(t, []byte(p), again)
			}
		}
		h, err := p.hello()
		if err != nil {
			return
		}
		var theirs pgproto3.StartupMessage
		if p.code() == versionThree {
			require.NoError(t, theirs.Decode(p[4:]))
			ours := maps.Clone(h.Parameters)
			ours["user"] = h.User
			if name, ok := theirs.Parameters["database"]; ok {
				require.Equal(t, name, h.Database)
				ours["database"] = name
			}
			require.Equal(t, theirs.Parameters, ours)
		}
		with := p.with(h, map[string]string{"options": "-c x=y", "lock_timeout": "1s"})
		require.Equal(t, []byte(p), []byte(p.with(h, nil)))
		more, err := with.hello()
		require.NoError(t, err)
		want := maps.Clone(h.Parameters)
		want["options"], want["lock_timeout"] = joined(h.Parameters["options"], "-c x=y"), "1s"
		require.Equal(t, want, more.Parameters)
		require.Equal(t, h.User, more.User)
	})
}
