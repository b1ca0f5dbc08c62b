package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/wire"
)

// script is a conversation, from a file in testdata/scripts. A line is a message of the client, written as its type and its fields, or
//
//	< XY   send what was written above, and read up to a message of type X or Y; "< eof" up to the end of the connection
//	= …    what steps the gate is to make of it, by kind, or a | b where versions of the server differ; go test -rewrite fills it in
//	! …    why what the client sees is known to differ; then it must
//
// A line that begins with a tab goes on with the line before.
type script struct {
	file, name string
	lines      []string
	steps      string
	differs    string
}

func scripts(t testing.TB) []script {
	t.Helper()
	files, err := filepath.Glob("testdata/scripts/*.txt")
	require.NoError(t, err)
	var all []script
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(strings.ReplaceAll(string(text), "\n\t", "\x00")) {
			line = strings.ReplaceAll(strings.TrimRight(line, "\n"), "\x00", "\n")
			switch {
			case strings.HasPrefix(line, "== "):
				all = append(all, script{file: file, name: strings.TrimSuffix(filepath.Base(file), ".txt") + "/" + line[3:]})
			case line == "" || line[0] == '#' || len(all) == 0:
			case line[0] == '=':
				all[len(all)-1].steps = strings.TrimSpace(line[1:])
			case line[0] == '!':
				all[len(all)-1].differs = strings.TrimSpace(line[1:])
			default:
				s := &all[len(all)-1]
				s.lines = append(s.lines, line)
			}
		}
	}
	return all
}

// rewrite puts the steps that were seen into the files.
func rewrite(t *testing.T, all []script, seen map[string]string) {
	t.Helper()
	files := map[string]*strings.Builder{}
	for _, s := range all {
		if files[s.file] == nil {
			files[s.file] = &strings.Builder{}
			text, err := os.ReadFile(s.file)
			require.NoError(t, err)
			head, _, _ := strings.Cut(string(text), "== ")
			files[s.file].WriteString(head)
		}
		f := files[s.file]
		_, name, _ := strings.Cut(s.name, "/")
		fmt.Fprintf(f, "== %s\n", name)
		for _, line := range s.lines {
			f.WriteString(strings.ReplaceAll(line, "\n", "\n\t") + "\n")
		}
		if s.differs != "" {
			fmt.Fprintf(f, "! %s\n", s.differs)
		}
		if slices.Contains(strings.Split(s.steps, " | "), seen[s.name]) {
			seen[s.name] = s.steps // with what other versions do
		}
		f.WriteString(strings.TrimRight("= "+seen[s.name], " ") + "\n\n")
	}
	for file, f := range files {
		require.NoError(t, os.WriteFile(file, []byte(strings.TrimRight(f.String(), "\n")+"\n"), 0o644))
	}
}

// fields splits a line at blanks; quoted fields are Go strings, a plain - is the empty string.
func fields(line string) []string {
	var out []string
	for line = strings.TrimLeft(line, " "); line != ""; line = strings.TrimLeft(line, " ") {
		if line[0] == '"' {
			if quoted, err := strconv.QuotedPrefix(line); err == nil {
				s, _ := strconv.Unquote(quoted)
				out = append(out, s)
				line = line[len(quoted):]
				continue
			}
		}
		field, rest, _ := strings.Cut(line, " ")
		if field == "-" {
			field = ""
		}
		out, line = append(out, field), rest
	}
	return out
}

// message is the bytes of a line.
func message(t testing.TB, line string) []byte {
	t.Helper()
	kind, rest, _ := strings.Cut(line, " ")
	f := fields(rest)
	at := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	var m pgproto3.FrontendMessage
	switch kind {
	case "Q":
		m = &pgproto3.Query{String: repeated(rest)}
	case "P":
		name, sql, _ := strings.Cut(rest, " ")
		if name == "-" {
			name = ""
		}
		m = &pgproto3.Parse{Name: name, Query: repeated(sql)}
	case "B":
		b := &pgproto3.Bind{DestinationPortal: at(0), PreparedStatement: at(1)}
		for _, value := range f[2:] {
			if value == "NULL" {
				b.Parameters = append(b.Parameters, nil)
			} else {
				b.Parameters = append(b.Parameters, []byte(repeated(value)))
			}
		}
		m = b
	case "D":
		m = &pgproto3.Describe{ObjectType: at(0)[0], Name: at(1)}
	case "C":
		m = &pgproto3.Close{ObjectType: at(0)[0], Name: at(1)}
	case "E":
		n, _ := strconv.Atoi(at(1))
		m = &pgproto3.Execute{Portal: at(0), MaxRows: uint32(n)}
	case "S":
		m = &pgproto3.Sync{}
	case "H":
		m = &pgproto3.Flush{}
	case "X":
		m = &pgproto3.Terminate{}
	case "d":
		m = &pgproto3.CopyData{Data: []byte(repeated(at(0)))}
	case "c":
		m = &pgproto3.CopyDone{}
	case "f":
		m = &pgproto3.CopyFail{Message: at(0)}
	case "F":
		oid, err := strconv.Atoi(at(0))
		require.NoError(t, err)
		call := &pgproto3.FunctionCall{Function: uint32(oid), ArgFormatCodes: []uint16{0}, ResultFormatCode: 0}
		for _, value := range f[1:] {
			call.Arguments = append(call.Arguments, []byte(value))
		}
		m = call
	case "raw":
		return []byte(at(0))
	default:
		t.Fatalf("%q is no message", line)
	}
	p, err := m.Encode(nil)
	require.NoError(t, err)
	return p
}

var many = regexp.MustCompile(`\{(.*?)\*(\d+)\}`)

// repeated turns {x*1000} into a thousand x.
func repeated(s string) string {
	return many.ReplaceAllStringFunc(s, func(match string) string {
		m := many.FindStringSubmatch(match)
		n, _ := strconv.Atoi(m[2])
		return strings.Repeat(m[1], n)
	})
}

// dial opens a connection by hand, through the gate if there is one. One that pgx has opened cannot be taken over: where writing to it was slow,
// somebody else still reads from it.
func dial(t testing.TB, config *pgx.ConnConfig, gate *wire.Gate) net.Conn {
	t.Helper()
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	conn, err := net.Dial(network, address)
	require.NoError(t, err)
	if gate != nil {
		conn = gate.Conn("client", conn)
	}
	begin(t, config, conn)
	return conn
}

// begin begins a session on a connection.
func begin(t testing.TB, config *pgx.ConnConfig, conn net.Conn) {
	t.Helper()
	parameters := map[string]string{"user": config.User, "database": config.Database}
	maps.Copy(parameters, config.RuntimeParams)
	hello, err := (&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: parameters}).Encode(nil)
	require.NoError(t, err)
	require.NoError(t, converse(conn, hello, 'Z'))
	require.NoError(t, conn.SetDeadline(time.Time{}))
}

// play has the conversation and returns what the server said.
func (s script) play(t testing.TB, conn net.Conn, chunk int) (said []byte) {
	t.Helper()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	var pending []byte
	var in inbox
	for _, line := range s.lines {
		until, reads := strings.CutPrefix(line, "< ")
		if !reads {
			pending = append(pending, message(t, line)...)
			continue
		}
		said = append(said, in.read(t, s, conn, pending, chunk, until)...)
		pending = nil
	}
	return append(said, in.read(t, s, conn, pending, chunk, "")...)
}

// inbox keeps what was read beyond a message.
type inbox struct {
	data []byte
}

func (in *inbox) read(t testing.TB, s script, conn net.Conn, out []byte, chunk int, until string) (said []byte) {
	t.Helper()
	if len(out) == 0 && until == "" {
		return nil
	}
	wrote := make(chan error, 1)
	go func() {
		var err error
		if chunk == 0 || len(out) > 1<<14 {
			_, err = conn.Write(out)
		} else {
			for len(out) > 0 && err == nil {
				n := min(chunk, len(out))
				_, err = conn.Write(out[:n])
				out = out[n:]
			}
		}
		wrote <- err
	}()
	defer func() {
		if err := <-wrote; err != nil && until != "eof" {
			t.Errorf("%s: write: %v", s.name, err)
		}
	}()
	if until == "" {
		return nil
	}
	buffer := make([]byte, 1<<16)
	for {
		for len(in.data) >= 5 {
			n := int(binary.BigEndian.Uint32(in.data[1:])) + 1
			if n > len(in.data) {
				break
			}
			m := in.data[:n]
			in.data = in.data[n:]
			said = append(said, normal(m)...)
			if until != "eof" && strings.IndexByte(until, m[0]) >= 0 {
				return said
			}
		}
		n, err := conn.Read(buffer)
		in.data = append(in.data, buffer[:n]...)
		if n == 0 && err != nil {
			if until != "eof" || !errors.Is(err, io.EOF) {
				t.Errorf("%s: reading to %s: %v after\n%s", s.name, until, err, transcript(said))
			}
			return append(said, "eof"...)
		}
	}
}

var process = regexp.MustCompile(`process \d+`)

// normal takes out of a message what differs between two runs on a server: process numbers, and the numbers of tables.
func normal(m []byte) []byte {
	m = bytes.Clone(m)
	switch m[0] {
	case 'A':
		clear(m[5:9])
	case 'T':
		var d pgproto3.RowDescription
		if d.Decode(m[5:]) == nil {
			for i := range d.Fields {
				if d.Fields[i].TableOID >= 16384 {
					d.Fields[i].TableOID = 16384
				}
			}
			m, _ = d.Encode(nil)
		}
	case 'E', 'N':
		m = process.ReplaceAll(m, []byte("process N")) // the length is not looked at again
	}
	return m
}

// transcript shows messages of the server for people.
func transcript(p []byte) string {
	var out strings.Builder
	for len(p) >= 5 {
		n := min(int(binary.BigEndian.Uint32(p[1:]))+1, len(p))
		if i := bytes.Index(p, []byte("process N")); (p[0] == 'E' || p[0] == 'N') && i >= 0 && i < n {
			n = bytes.Index(p, []byte("\x00\x00")) + 2
		}
		body := p[5:n]
		if len(body) > 300 {
			body = body[:300]
		}
		fmt.Fprintf(&out, "%c %q\n", p[0], body)
		p = p[n:]
	}
	fmt.Fprintf(&out, "%s\n", p)
	return out.String()
}
