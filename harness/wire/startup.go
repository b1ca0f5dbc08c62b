package wire

import (
	"bytes"
	"cmp"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// The codes in the place of a protocol version, of packets that ask for encryption, and the longest startup packet that the server takes.
const (
	TLSCode        = 80877103
	GSSCode        = 80877104
	LongestStartup = 10000
	cancelCode     = 80877102
)

// greet reads packets without a type: they come before the session.
func (c *Core) greet(p []byte) []byte {
	if c.stage == negotiating { // it has to wait for the answer before we can tell what it is
		c.hello = append(c.hello, p...)
		return nil
	}
	need := 4
	if len(c.hello) >= need {
		need = int(uint32At(c.hello, 0))
	}
	n := min(need-len(c.hello), len(p))
	c.hello = append(c.hello, p[:n]...)
	p = p[n:]
	switch {
	case len(c.hello) < 4:
		return p
	case uint32At(c.hello, 0) < 8 || uint32At(c.hello, 0) > LongestStartup:
		c.obscure()
		return p
	case len(c.hello) < int(uint32At(c.hello, 0)):
		return p // of which nothing is left, or the packet
	}
	packet := c.hello
	c.hello = nil
	c.sendRaw(packet)
	switch code := uint32At(packet, 4); {
	case code == TLSCode || code == GSSCode:
		c.stage = negotiating
	case code == cancelCode:
		c.stage = opaque
	case code>>16 == 3:
		c.start(packet[8:])
	default:
		c.obscure()
	}
	return p
}

// negotiated reads the server's answer to the question whether it wants TLS or GSS encryption.
func (c *Core) negotiated(answer byte) {
	c.giveRaw([]byte{answer})
	if answer == 'N' {
		early := c.hello
		c.stage, c.hello = greeting, nil
		c.readClient(early)
		return
	}
	c.obscure() // what follows is encrypted, or the error of a server that does not know the question
}

// start reads the parameters of a startup packet.
func (c *Core) start(parameters []byte) {
	c.stage = authenticating
	var set, option Level
	fields := strings.Split(string(parameters), "\x00")
	for i := 0; i+1 < len(fields) && fields[i] != ""; i += 2 {
		switch name, value := fields[i], strings.ToLower(fields[i+1]); name {
		case "replication":
			if value != "false" && value != "off" && value != "no" && value != "0" {
				c.obscure()
				return
			}
		case "default_" + variable:
			set = levelIn(value)
		case "options":
			// In a name, a dash is an underscore; in a value, a blank has a backslash before it.
			value = strings.NewReplacer("-", "_", `\ `, "_").Replace(value)
			if at := strings.LastIndex(value, "default_"+variable+"="); at >= 0 {
				value, _, _ = strings.Cut(value[at:], " ")
				option = levelIn(value)
			}
		}
	}
	c.tx.start(cmp.Or(set, option, c.tx.later))
}

// CancelTarget returns whom a startup packet asks to cancel; false if that is not what it is.
func CancelTarget(packet []byte) (pid uint32, key []byte, ok bool) {
	if len(packet) < 12 || int(uint32At(packet, 0)) != len(packet) || uint32At(packet, 4) != cancelCode {
		return 0, nil, false
	}
	return uint32At(packet, 8), packet[12:], true
}

// authenticate reads what the server says before the first ReadyForQuery.
func (c *Core) authenticate(message []byte) {
	switch message[0] {
	case 'K':
		if len(message) >= header+4 {
			c.pid, c.key = uint32At(message, header), bytes.Clone(message[header+4:])
		}
	case 'S':
		c.named(message)
	case 'N':
		c.notice(message)
		return
	case 'E':
		c.fatal = c.failure(message)
	case 'Z':
		c.stage = talking
		c.readiness(message)
		c.event(Event{Kind: Started, PID: c.pid})
	}
	c.giveRaw(message)
}

// observe notes what is to be known of a session that is not cut.
func (c *Core) observe(message []byte) {
	switch message[0] {
	case 'Z':
		if c.stage == authenticating {
			c.authenticate(message)
			return
		}
		c.readiness(message)
	case 'N':
		c.notice(message)
	case 'K', 'E':
		if c.stage == authenticating {
			c.authenticate(message)
		}
	case 'W':
		c.stage = opaque
	}
}

// notice reports a notice, and passes it on unless it is to be hidden.
func (c *Core) notice(message []byte) {
	var m pgproto3.NoticeResponse
	if m.Decode(message[header:]) != nil {
		c.giveRaw(message)
		return
	}
	n := noticeOf(&m)
	c.event(Event{Kind: Noticed, Notice: n})
	if c.flight.active && n.Waits() {
		c.flight.waits++
	}
	if c.config.Split && (c.config.Hide == nil || !c.config.Hide(n)) {
		if c.flight.mode == inject {
			c.unkeep() // it belongs to the statement after the one whose tag is kept
		}
		c.give(message)
	}
}

// failure reads an error.
func (c *Core) failure(message []byte) Result {
	var m pgproto3.ErrorResponse
	if m.Decode(message[header:]) != nil {
		return Result{SQLState: "XX000", Severity: "ERROR", Message: "error that cannot be read"}
	}
	severity := m.SeverityUnlocalized
	if severity == "" {
		severity = m.Severity
	}
	return Result{SQLState: m.Code, Severity: severity, Message: m.Message}
}
