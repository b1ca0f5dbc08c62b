package wire

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
)

// pair is a core between a client and a server that a test plays.
type pair struct {
	*Core
	t *testing.T
}

func newPair(t *testing.T, config Config) pair {
	p := pair{NewCore(config), t}
	p.client(&pgproto3.StartupMessage{ProtocolVersion: 196608, Parameters: map[string]string{"user": "u"}})
	p.server(&pgproto3.AuthenticationOk{}, &pgproto3.BackendKeyData{ProcessID: 7, SecretKey: []byte{1, 2, 3, 4}}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	p.taken()
	p.TakeEvents(nil)
	return p
}

func (p pair) client(messages ...pgproto3.FrontendMessage) { p.FromClient(encode(messages...)) }

func (p pair) server(messages ...pgproto3.BackendMessage) {
	var out []byte
	for _, m := range messages {
		var err error
		out, err = m.Encode(out)
		require.NoError(p.t, err)
	}
	p.FromServer(out)
}

// taken returns the types of the messages that went to the server and to the client since the last time.
func (p pair) taken() string {
	client := make([]byte, p.Pending().ForClient)
	p.TakeForClient(client)
	return "> " + types(p.TakeForServer(nil)) + " < " + types(client)
}

func types(p []byte) string {
	out := ""
	for len(p) >= header {
		out += string(p[0])
		p = p[min(len(p), int(uint32At(p, 1))+1):]
	}
	return out
}

func TestSplitExtended(t *testing.T) {
	p := newPair(t, Config{Split: true})
	p.client(&pgproto3.Parse{Query: "insert into t values ($1)"}, &pgproto3.Bind{Parameters: [][]byte{[]byte("5")}}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{})
	require.Equal(t, ">  < ", p.taken())
	step := Step{Index: 1, Kind: Statement, SQL: "insert into t values ($1)", Parameters: []Parameter{{Text: "5"}}, Level: ReadCommitted}
	require.Equal(t, []Event{{Number: 2, Kind: Held, Step: step}}, p.TakeEvents(nil))
	require.False(t, p.Release(2))
	require.True(t, p.Release(1))
	require.False(t, p.Release(1))
	require.Equal(t, "> PBDEH < ", p.taken())
	p.client(&pgproto3.Sync{})
	p.server(&pgproto3.ParseComplete{}, &pgproto3.BindComplete{}, &pgproto3.NoData{}, &pgproto3.CommandComplete{CommandTag: []byte("INSERT 0 1")})
	require.Equal(t, ">  < 12nC", p.taken())
	require.Equal(t, Holding, p.State().Phase)
	require.Equal(t, Result{Tag: "INSERT 0 1", Rows: 1, Status: Implicit}, p.State().Result)
	require.Equal(t, Step{Index: 2, Kind: Commit, SQL: "insert into t values ($1)", Level: ReadCommitted}, p.State().Step)
	require.True(t, p.Release(2))
	require.Equal(t, "> S < ", p.taken())
	p.server(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	require.Equal(t, ">  < Z", p.taken())
	require.Equal(t, Quiet, p.State().Phase)
	require.Equal(t, Result{Status: Idle}, p.State().Result)
}
