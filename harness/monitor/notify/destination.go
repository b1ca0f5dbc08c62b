package notify

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
)

// Kind is how a destination is told.
type Kind string

// The kinds of destination.
const (
	Slack   Kind = "slack"   // an incoming webhook of Slack
	Webhook Kind = "webhook" // an [Event] as JSON, signed: see [Verify]
)

// Hidden is text that is never printed.
type Hidden string

const hidden = "[hidden]"

func (Hidden) String() string { return hidden }

// GoString is for %#v.
func (Hidden) GoString() string { return hidden }

// MarshalText is for JSON and the like.
func (Hidden) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue is for slog.
func (Hidden) LogValue() slog.Value { return slog.StringValue(hidden) }

// Destination is who is told.
type Destination struct {
	Name   string // its own, and lasting: what waits for it is kept under it
	Kind   Kind
	URL    Hidden // http or https; a Slack URL is a secret
	Secret Hidden // signs what is sent, 16 characters at least; of a webhook only
}

// shortest is how long a secret must be.
const shortest = 16

// Check says what is wrong with a destination, without what is secret about it.
func (d Destination) Check() error {
	u, err := url.Parse(string(d.URL))
	switch {
	case d.Name == "":
		return fmt.Errorf("a %s destination has no name; try %q", d.Kind, "ops")
	case d.Kind != Slack && d.Kind != Webhook:
		return fmt.Errorf("destination %s is of kind %q; try %s or %s", d.Name, d.Kind, Slack, Webhook)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return fmt.Errorf("the URL of destination %s is none; try one that begins with https://", d.Name)
	case d.Kind == Webhook && len(d.Secret) < shortest:
		return fmt.Errorf("the secret of destination %s has %d characters, and needs %d; try: openssl rand -hex 32", d.Name, len(d.Secret), shortest)
	case d.Kind == Slack && d.Secret != "":
		return fmt.Errorf("destination %s is Slack's and has a secret, and Slack checks none; try without", d.Name)
	}
	return nil
}

// host is what may be said of the URL.
func (d Destination) host() string {
	u, err := url.Parse(string(d.URL))
	if err != nil {
		return ""
	}
	return u.Host
}

// clean returns text from elsewhere as it may be shown: short, printable, and without what is secret about the destination.
func (d Destination) clean(text string) string {
	secrets := []string{string(d.URL), string(d.Secret)}
	if u, err := url.Parse(string(d.URL)); err == nil {
		secrets = append(secrets, u.RequestURI(), u.Path, u.RawQuery, u.User.String())
		if password, has := u.User.Password(); has {
			secrets = append(secrets, password)
		}
		secrets = append(secrets, strings.Split(u.Path, "/")...)
		for _, values := range u.Query() {
			secrets = append(secrets, values...)
		}
	}
	for _, s := range secrets {
		if len(s) >= 6 {
			text = strings.ReplaceAll(text, s, hidden)
		}
	}
	text = strings.Join(strings.Fields(strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "?"))), " ")
	return shorten(text, 200)
}

// shorten cuts text to so many characters.
func shorten(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
