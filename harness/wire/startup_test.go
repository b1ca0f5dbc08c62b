package wire

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
)

func packet(t *testing.T, m pgproto3.FrontendMessage) []byte {
	t.Helper()
	p, err := m.Encode(nil)
	require.NoError(t, err)
	return p
}

func outputs(c *Core) (toServer, toClient string) {
	p := make([]byte, c.Pending().ForClient)
	c.TakeForClient(p)
	return string(c.TakeForServer(nil)), string(p)
}

func TestNegotiation(t *testing.T) {
	hello := packet(t, &pgproto3.StartupMessage{ProtocolVersion: 196608, Parameters: map[string]string{"user": "u"}})
	for _, size := range []int{1, 1000} {
		c := NewCore(Config{Split: true})
		feed := func(p []byte) {
			for len(p) > 0 {
				n := min(size, len(p))
				c.FromClient(p[:n])
				p = p[n:]
			}
		}
		for _, question := range []pgproto3.FrontendMessage{&pgproto3.GSSEncRequest{}, &pgproto3.SSLRequest{}} {
			feed(packet(t, question))
			toServer, _ := outputs(c)
			require.Equal(t, string(packet(t, question)), toServer)
			c.FromServer([]byte("N"))
			_, toClient := outputs(c)
			require.Equal(t, "N", toClient)
		}
		feed(hello)
		toServer, _ := outputs(c)
		require.Equal(t, string(hello), toServer)
		require.Equal(t, Starting, c.State().Phase)

		password := packet(t, &pgproto3.PasswordMessage{Password: "secret"})
		c.FromServer([]byte("R\x00\x00\x00\x08\x00\x00\x00\x03"))
		feed(append(password, packet(t, &pgproto3.Query{String: "begin"})...))
		toServer, _ = outputs(c)
		require.Equal(t, string(password), toServer, "a query that is early waits")
		c.FromServer([]byte("R\x00\x00\x00\x08\x00\x00\x00\x00K\x00\x00\x00\x0c\x00\x00\x00\x07abcdZ\x00\x00\x00\x05I"))
		toServer, _ = outputs(c)
		require.Equal(t, string(packet(t, &pgproto3.Query{String: "begin"})), toServer)
		require.Equal(t, []Event{{Number: 1, Kind: Started, PID: 7}}, c.TakeEvents(nil))
		require.True(t, c.is(7, []byte("abcd")))
		require.False(t, c.is(7, []byte("abce")))
	}
}

func TestEncrypted(t *testing.T) {
	c := NewCore(Config{Split: true})
	c.FromClient(packet(t, &pgproto3.SSLRequest{}))
	c.FromServer([]byte("S"))
	c.FromClient([]byte("\x16\x03\x01"))
	c.FromServer([]byte("\x16\x03\x03"))
	toServer, toClient := outputs(c)
	require.Equal(t, string(packet(t, &pgproto3.SSLRequest{}))+"\x16\x03\x01", toServer)
	require.Equal(t, "S\x16\x03\x03", toClient)
	require.Equal(t, Opaque, c.State().Phase)
}

func TestCancelTarget(t *testing.T) {
	p := packet(t, &pgproto3.CancelRequest{ProcessID: 7, SecretKey: []byte("abcd")})
	pid, key, ok := CancelTarget(p)
	require.True(t, ok)
	require.EqualValues(t, 7, pid)
	require.Equal(t, "abcd", string(key))
	_, _, ok = CancelTarget(p[:11])
	require.False(t, ok)
	_, _, ok = CancelTarget(packet(t, &pgproto3.SSLRequest{}))
	require.False(t, ok)

	c := NewCore(Config{Split: true})
	c.FromClient(p)
	toServer, _ := outputs(c)
	require.Equal(t, string(p), toServer)
}

func TestReplicationPasses(t *testing.T) {
	c := NewCore(Config{Split: true})
	hello := packet(t, &pgproto3.StartupMessage{ProtocolVersion: 196608, Parameters: map[string]string{"user": "u", "replication": "database"}})
	c.FromClient(append(hello, "anything"...))
	toServer, _ := outputs(c)
	require.Equal(t, string(hello)+"anything", toServer)
}

func TestStartupLevel(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        Level
	}{
		{"user", "u", RepeatableRead},
		{"options", "-c default_transaction_isolation=serializable", Serializable},
		{"options", "--default-transaction-isolation=serializable -c a=repeatable", Serializable},
		{"options", `-c default_transaction_isolation=repeatable\ read -c default_transaction_isolation=read\ committed`, ReadCommitted},
		{"options", "-c application_name=serializable", RepeatableRead},
		{"default_transaction_isolation", "READ UNCOMMITTED", ReadCommitted},
	} {
		core := NewCore(Config{Split: true, Isolation: RepeatableRead})
		core.FromClient(packet(t, &pgproto3.StartupMessage{ProtocolVersion: 196608, Parameters: map[string]string{c.name: c.value}}))
		require.Equal(t, c.want, core.tx.level, c)
	}
	require.Equal(t, ReadCommitted, NewCore(Config{}).tx.level)
}
