package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/interlock-pg/interlock/harness/wire"
)

// Hello is what a client says of itself when it begins a session.
type Hello struct {
	User       string
	Database   string            // empty: the one that is called like the user
	Parameters map[string]string // what else is in the startup packet, such as application_name
	Address    net.Addr          // the client's; at a socket, the proxy's
	Encrypted  bool              // the connection between the client and the proxy is
}

const (
	versionThree = 3 << 16
	handshake    = 0x16 // what TLS begins with
)

// packet is one that a client sends before the session: it has a length and no type.
type packet []byte

// errEncrypted means that a client begins with TLS instead of asking for it. What was read of that comes with it.
var errEncrypted = errors.New("the client begins with TLS; try sslnegotiation=postgres, or give the proxy a certificate")

// errLeft means that a client has left instead of saying more.
var errLeft = errors.New("the client left")

// broken is what an error means while a connection to a client has no session yet: errLeft, if it is the client that has ended it.
func broken(doing string, err error) error {
	switch {
	case err == nil, errors.As(err, new(*refusal)):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return errLeft
	}
	return fmt.Errorf("%s: %w; try another client", doing, err)
}

// readPacket reads no more than one packet.
func readPacket(r io.Reader) (packet, error) {
	p := make(packet, 4)
	if _, err := io.ReadFull(r, p); err != nil {
		return nil, broken("startup packet", err)
	}
	if p[0] == handshake {
		return p, errEncrypted
	}
	length := binary.BigEndian.Uint32(p)
	if length < 8 || length > wire.LongestStartup {
		return nil, &refusal{code: "08P01", message: "invalid length of startup packet", try: "try a client of PostgreSQL 7.4 or later"}
	}
	p = append(p, make([]byte, length-4)...)
	if _, err := io.ReadFull(r, p[4:]); err != nil {
		return nil, fmt.Errorf("startup packet of %d bytes: %w; try another client", length, io.ErrUnexpectedEOF)
	}
	return p, nil
}

func (p packet) code() uint32 { return binary.BigEndian.Uint32(p[4:]) }

// cancels returns whom a packet asks to cancel, if that is what it does.
func (p packet) cancels() (pid uint32, key []byte, ok bool) { return wire.CancelTarget(p) }

// hello reads a startup packet.
func (p packet) hello() (Hello, error) {
	h := Hello{Parameters: map[string]string{}}
	if v := p.code(); v>>16 != 3 {
		return h, &refusal{
			code: "0A000", message: fmt.Sprintf("unsupported frontend protocol %d.%d", v>>16, v&0xffff), try: "try a client that speaks protocol 3",
		}
	}
	fields, ended := bytes.CutSuffix(p[8:], []byte{0})
	for ended && len(fields) > 0 {
		var name, value []byte
		name, fields, ended = bytes.Cut(fields, []byte{0})
		if len(name) == 0 { // what follows the end
			ended = false
		}
		if ended {
			value, fields, ended = bytes.Cut(fields, []byte{0})
		}
		switch string(name) {
		case "user":
			h.User = string(value)
		case "database":
			h.Database = string(value)
		default:
			h.Parameters[string(name)] = string(value)
		}
	}
	switch {
	case !ended:
		return h, &refusal{code: "08P01", message: "invalid startup packet layout: expected terminator as last byte", try: "try another client"}
	case h.User == "":
		return h, &refusal{code: "28000", message: "no PostgreSQL user name specified in startup packet", try: "give the client a user"}
	}
	return h, nil
}

// with returns a startup packet with parameters added. Of two of one name, the server takes the later.
func (p packet) with(h Hello, parameters map[string]string) packet {
	if len(parameters) == 0 {
		return p
	}
	out := slices.Clone(p[:len(p)-1])
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		value := parameters[name]
		if name == "options" {
			value = joined(h.Parameters[name], value)
		}
		out = append(append(append(append(out, name...), 0), value...), 0)
	}
	out = append(out, 0)
	binary.BigEndian.PutUint32(out, uint32(len(out)))
	return out
}

// joined puts options one behind the other.
func joined(options ...string) string {
	return strings.Join(slices.DeleteFunc(options, func(o string) bool { return o == "" }), " ")
}
