package proxy

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
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
	if err != nil {
		return err
	}
	if message[0] != 'p' || m.Decode(message[5:]) != nil {
		return &refusal{code: "08P01", message: fmt.Sprintf("expected password response, got message type %q", message[0]), try: "try another client"}
	}
	return nil
}

// unbind leads an authentication between the client and a server at an encrypted connection, as long as it lasts, and takes what binds it to that
// connection off the list of what the server offers.
func (c *client) unbind(s *wire.Session) error {
	for offered := false; ; {
		message, err := readMessage(s, longest)
		if err != nil {
			return fmt.Errorf("authentication: %w; try --auth scram", err)
		}
		asks, over := false, message[0] != 'R'
		var m pgproto3.AuthenticationSASL
		if message[0] == 'R' && len(message) >= 9 {
			switch kind := message[8]; kind {
			case pgproto3.AuthTypeOk:
				over = true
			case pgproto3.AuthTypeSASL:
				asks = true
				if m.Decode(message[5:]) == nil && slices.Contains(m.AuthMechanisms, bound) {
					offered = true
					m.AuthMechanisms = slices.DeleteFunc(m.AuthMechanisms, func(name string) bool { return name == bound })
					if message, err = m.Encode(nil); err != nil {
						return err
					}
				}
			case pgproto3.AuthTypeSASLFinal:
			default:
				asks = true
			}
		}
		if message[0] == 'v' || message[0] == 'N' { // it goes on after these
			over = false
		}
		if _, err := c.Write(message); err != nil {
			return err
		}
		if over {
			return nil
		}
		if !asks {
			continue
		}
		reply, err := readMessage(c, longest)
		if err != nil {
			return errors.Join(err, s.Close())
		}
		var first pgproto3.SASLInitialResponse
		if offered && reply[0] == 'p' && first.Decode(reply[5:]) == nil && len(first.Data) > 0 && first.Data[0] == 'y' {
			return errors.Join(&refusal{
				code: "28000", message: "client and server could bind the password to their connections, which Interlock's proxy is between",
				try: "try channel_binding=disable in the client's connection string, or --auth scram at the proxy",
			}, s.Close())
		}
		if _, err := s.Write(reply); err != nil {
			return err
		}
	}
}
