package wire

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
)

// FuzzReader feeds the core with bytes from either side, cut up in any way. A script is read as turns: a byte that says who speaks and how much,
// and what is said.
func FuzzReader(f *testing.F) {
	hello, _ := (&pgproto3.StartupMessage{ProtocolVersion: 196608, Parameters: map[string]string{"user": "u"}}).Encode(nil)
	ready := []byte("R\x00\x00\x00\x08\x00\x00\x00\x00K\x00\x00\x00\x0c\x00\x00\x00\x07abcdZ\x00\x00\x00\x05I")
	seed := func(turns ...string) {
		var script []byte
		for _, turn := range append([]string{"c" + string(hello), "s" + string(ready)}, turns...) {
			who := byte(0)
			if turn[0] == 's' {
				who = 0x80
			}
			for said := turn[1:]; said != ""; {
				n := min(len(said), 0x7f)
				script = append(append(script, who|byte(n)), said[:n]...)
				said = said[n:]
			}
		}
		for _, chunk := range []uint8{0, 1, 3} {
			f.Add(script, chunk, true, true)
			f.Add(script, chunk, true, false)
		}
		f.Add(script, uint8(1), false, false)
	}
	batch := string(encode(&pgproto3.Parse{Query: "insert into t values ($1)"}, &pgproto3.Bind{Parameters: [][]byte{[]byte("1")}},
		&pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{}))
	done := "1\x00\x00\x00\x042\x00\x00\x00\x04n\x00\x00\x00\x04C\x00\x00\x00\x0fINSERT 0 1\x00"
	failed := "E\x00\x00\x00\x1aSERROR\x00C23505\x00Mno\x00\x00"
	idle, block := "Z\x00\x00\x00\x05I", "Z\x00\x00\x00\x05T"
	copyIn, row, end := "G\x00\x00\x00\x07\x00\x00\x00", "d\x00\x00\x00\x061\n", "c\x00\x00\x00\x04"
	q := func(sql string) string { return string(encode(&pgproto3.Query{String: sql})) }
	seed("c"+batch, "s"+done, "s"+idle)
	seed("c"+batch+batch+q("select 1"), "s"+done, "s"+idle, "s"+failed, "s"+idle)
	seed("c"+q("select 1; select 2"), "s"+"C\x00\x00\x00\x0aBEGIN\x00"+block, "s"+done[15:]+done[15:]+block, "s"+failed+idle)
	seed("c"+q("copy t from stdin")+row+end, "s"+done[:15]+copyIn, "s"+done[15:], "s"+idle)
	seed("c"+batch[:len(batch)-5]+"S\x00\x00\x00\x04"+row+end+"S\x00\x00\x00\x04", "s"+copyIn, "s"+done[15:]+idle)
	seed("c"+q("begin"), "s"+"C\x00\x00\x00\x0aBEGIN\x00"+block, "c"+batch, "s"+done+block+"N\x00\x00\x00\x0aSLOG\x00\x00")
	table, _ := (&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("a"), DataTypeOID: 23, Format: 1}, {Name: []byte("b"), DataTypeOID: 25}}}).Encode(nil)
	for _, values := range [][][]byte{{{0, 0, 0, 7}, []byte("x")}, {nil, {}}, {{0, 0, 0, 8}, bytes.Repeat([]byte("y"), shown+1)}} {
		table, _ = (&pgproto3.DataRow{Values: values}).Encode(table)
	}
	seed("c"+batch, "s"+done[:10]+string(table)+"C\x00\x00\x00\x0dSELECT 3\x00", "s"+idle)
	seed("c"+q("select 1; select 2"), "s"+"C\x00\x00\x00\x0aBEGIN\x00"+block, "s"+string(table)+string(table)+"C\x00\x00\x00\x0dSELECT 3\x00"+block)
	seed("cQ\x00\x00\x00\x01", "sZ\x00\x00\x00\x00")
	f.Add([]byte("\x08\x00\x00\x00\x08\x04\xd2\x16\x2f\x81N"), uint8(0), true, true)
	f.Add([]byte("\x08\x00\x00\x00\x08\x04\xd2\x16\x30\x81S\x03abc\x83xyz"), uint8(0), true, true)

	f.Fuzz(func(t *testing.T, script []byte, chunk uint8, split, hold bool) {
		config := Config{Split: split, Keep: 2, Hold: func(s Step) bool { return hold && s.Index%3 == 0 }}
		whole, pieces := NewCore(config), NewCore(config)
		var client, server []byte // what each said
		var fromWhole, fromPieces sides
		for len(script) > 0 {
			toServer, n := script[0]&0x80 == 0, min(int(script[0]&0x7f), len(script)-1)
			said := script[1 : 1+n]
			script = script[1+n:]
			feed := (*Core).FromServer
			if toServer {
				feed = (*Core).FromClient
				client = append(client, said...)
			} else {
				server = append(server, said...)
			}
			if n == 0 { // a turn of whoever releases, cancels, or goes away
				switch len(client) % 3 {
				case 0:
					whole.Release(whole.State().Step.Index)
					pieces.Release(pieces.State().Step.Index)
				case 1:
					require.Equal(t, whole.Cancel(), pieces.Cancel())
				case 2:
					if !toServer {
						whole.ClientGone()
						pieces.ClientGone()
					}
				}
			}
			feed(whole, said)
			size := max(1, int(chunk))
			if toServer && split { // a Sync that comes with its Execute may go with it, so that other answers are due
				size = max(1, n)
			}
			for len(said) > 0 {
				size = min(size, len(said))
				feed(pieces, said[:size])
				said = said[size:]
			}
			fromWhole.take(t, whole)
			fromPieces.take(t, pieces)
		}
		if !split {
			require.True(t, bytes.Equal(client, fromPieces.server), "what the client said went to the server as it was")
			if !pieces.State().Gone {
				require.True(t, bytes.Equal(server, fromPieces.client), "what the server said went to the client as it was")
			}
		}
		require.Equal(t, fromWhole.answered, fromPieces.answered)
		require.True(t, bytes.Equal(fromWhole.server, fromPieces.server), "%q %q", fromWhole.server, fromPieces.server)
		require.True(t, bytes.Equal(fromWhole.client, fromPieces.client), "%q %q", fromWhole.client, fromPieces.client)
		for _, c := range []*Core{whole, pieces} {
			c.Open(true)
			c.ServerGone()
			s := c.State()
			require.Equal(t, Ended, s.Phase)
			require.Equal(t, s.Steps, s.Answered, "each step ends once")
		}
	})
}

// sides is what a core put out.
type sides struct {
	client, server []byte
	answered       []Event
}

func (s *sides) take(t *testing.T, c *Core) {
	waiting := len(c.segment.bytes)
	for i := range c.queue {
		waiting += c.queue[i].size()
	}
	require.Equal(t, waiting, c.queued)
	p := make([]byte, c.Pending().ForClient)
	s.client = append(s.client, p[:c.TakeForClient(p)]...)
	s.server = c.TakeForServer(s.server)
	for _, e := range c.TakeEvents(nil) {
		if e.Kind == Answered {
			s.answered = append(s.answered, e)
		}
	}
}

// FuzzPrinted shows values that are not what their type says.
func FuzzPrinted(f *testing.F) {
	for _, oid := range []uint32{16, 17, 20, 25, 114, 600, 700, 701, 869, 1007, 1009, 1082, 1114, 1184, 1186, 1560, 1700, 2249, 2950, 3802, 3904, 4451} {
		f.Add(oid, []byte{})
		f.Add(oid, []byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 25, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 'x'})
		f.Add(oid, []byte("\x00\x01\x00\x00\x00\x00\x00\x02\x00\x0c"))
	}
	f.Fuzz(func(t *testing.T, oid uint32, value []byte) {
		printed(oid, value)
	})
}
