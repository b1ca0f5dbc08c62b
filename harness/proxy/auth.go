package proxy

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/xdg-go/scram"

	"github.com/interlock-pg/interlock/harness/wire"
)

const (
	mechanism  = "SCRAM-SHA-256"
	bound      = "SCRAM-SHA-256-PLUS"
	iterations = 4096     // the server's own default
	longest    = 64 << 10 // message of an authentication
)

// newVerifier returns what checks a password by SCRAM. The password is salted once: a connection costs some hashes.
func newVerifier(password string) (*scram.Server, error) {
	client, err := scram.SHA256.NewClient("", password, "")
	if err != nil { // passwords that cannot be normalised are taken as they are, as the server does
		if client, err = scram.SHA256.NewClientUnprepped("", password, ""); err != nil {
			return nil, err
		}
	}
	salt := make([]byte, 16)
	rand.Read(salt) // never fails, says its documentation
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return nil, err
	}
	// Clients leave the name within SCRAM empty: it is in the startup packet.
	return scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
}

// authenticate asks the client who it is, opens a session with the proxy's credentials, and tells the client what the server told us.
func (c *client) authenticate(start packet, h Hello, name string) (*wire.Session, error) {
	var newer []string
	for parameter := range h.Parameters {
		if isExtension(parameter) {
			newer = append(newer, parameter)
		}
	}
	if start.code() != versionThree || len(newer) > 0 {
		slices.Sort(newer)
		if err := c.say(&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: versionThree, UnrecognizedOptions: newer}); err != nil {
			return nil, err
		}
	}
	if err := c.identify(h); err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Time{})
	s, messages, err := c.connect(h, name)
	if err != nil {
		return nil, err
	}
	return s, c.say(append([]pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}}, messages...)...)
}

// identify asks the client for its password, if there is one.
func (c *client) identify(h Hello) error {
	right := true
	switch config := &c.proxy.config; config.Auth {
	case Password:
		if config.TLS != nil && !c.secure {
			return &refusal{
				code: "28000", message: "Interlock's proxy takes passwords in clear text on encrypted connections only",
				try: "try sslmode=require, or --auth scram at the proxy",
			}
		}
		if err := c.say(&pgproto3.AuthenticationCleartextPassword{}); err != nil {
			return err
		}
		var m pgproto3.PasswordMessage
		if err := c.answer(&m); err != nil {
			return err
		}
		right = subtle.ConstantTimeCompare([]byte(m.Password), []byte(config.Password)) == 1
	case SCRAM:
		var err error
		if right, err = c.scram(); err != nil {
			return err
		}
	}
	if own := c.proxy.config.User; right && (own == "" || own == h.User) {
		return nil
	}
	r := &refusal{code: "28P01", message: fmt.Sprintf("password authentication failed for user %q", h.User)}
	if c.proxy.config.Auth == Trust {
		r.code, r.message = "28000", fmt.Sprintf("user %q may not connect", h.User)
	}
	r.try = "this is Interlock's proxy: try the user and password that it was given, not the server's"
	return r
}

// scram has the conversation of SCRAM-SHA-256.
func (c *client) scram() (right bool, err error) {
	if err := c.say(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{mechanism}}); err != nil {
		return false, err
	}
	var first pgproto3.SASLInitialResponse
	if err := c.answer(&first); err != nil {
		return false, err
	}
	if first.AuthMechanism != mechanism {
		return false, &refusal{code: "08P01", message: "client selected an invalid SASL authentication mechanism", try: "try one with " + mechanism}
	}
	conversation := c.proxy.verifier.NewConversation()
	challenge, err := conversation.Step(string(first.Data))
	if err != nil {
		return false, &refusal{code: "08P01", message: "malformed SCRAM message: " + err.Error(), try: "try channel_binding=disable, or --auth password"}
	}
	if err := c.say(&pgproto3.AuthenticationSASLContinue{Data: []byte(challenge)}); err != nil {
		return false, err
	}
	var second pgproto3.SASLResponse
	if err := c.answer(&second); err != nil {
		return false, err
	}
	proof, err := conversation.Step(string(second.Data))
	if err != nil || !conversation.Valid() {
		return false, nil
	}
	return true, c.say(&pgproto3.AuthenticationSASLFinal{Data: []byte(proof)})
}

// answer reads the client's next message of an authentication.
func (c *client) answer(m pgproto3.FrontendMessage) error {
	message, err := readMessage(c, longest)
	switch {
	case err != nil:
		return broken("password", err)
	case message[0] == 'X':
		return errLeft
	case message[0] != 'p' || m.Decode(message[5:]) != nil:
		return &refusal{code: "08P01", message: fmt.Sprintf("expected password response, got message type %q", message[0]), try: "try another client"}
	}
	return nil
}

// lead leads an authentication between the client and the server up to what the server asks for, where that is not the client's own business: where
// it could bind itself to the encrypted connection to the server, and where nothing is asked for, although the client is on another machine.
func (c *client) lead(s *wire.Session, encrypted bool) error {
	for {
		message, err := readMessage(s, longest)
		if err != nil {
			return fmt.Errorf("authentication: %w; try --auth scram", err)
		}
		var offer pgproto3.AuthenticationSASL
		if message[0] == 'R' {
			switch {
			case (&pgproto3.AuthenticationOk{}).Decode(message[5:]) == nil && !c.local():
				return &refusal{
					code: "28000", message: "the server asks for no password where Interlock's proxy connects from, so that everybody who reaches the proxy would be let in",
					try: "try --auth scram at the proxy, or a method in pg_hba.conf that asks",
				}
			case encrypted && offer.Decode(message[5:]) == nil && slices.Contains(offer.AuthMechanisms, bound):
				return c.unbind(s, offer.AuthMechanisms)
			}
		}
		if err := c.send(message); err != nil {
			return err
		}
		if message[0] != 'v' && message[0] != 'N' { // these come before it
			return nil
		}
	}
}

// local says whether the client is on this machine.
func (c *client) local() bool {
	tcp, ok := c.address.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

// unbind offers the client what the server does, but for the mechanism that binds the password to a connection, and passes its choice on.
func (c *client) unbind(s *wire.Session, mechanisms []string) error {
	others := slices.DeleteFunc(mechanisms, func(name string) bool { return name == bound })
	if err := c.say(&pgproto3.AuthenticationSASL{AuthMechanisms: others}); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(greetWithin))
	reply, err := readMessage(c, longest)
	if err != nil {
		return broken("password", err)
	}
	_ = c.SetReadDeadline(time.Time{})
	var first pgproto3.SASLInitialResponse
	if reply[0] == 'p' && first.Decode(reply[5:]) == nil && len(first.Data) > 0 && first.Data[0] == 'y' {
		return &refusal{
			code: "28000", message: "client and server could bind the password to their connections, which Interlock's proxy is between",
			try: "try channel_binding=disable in the client's connection string, or --auth scram at the proxy",
		}
	}
	_, _ = s.Write(reply) // if the server has left, it has said why
	return nil
}
