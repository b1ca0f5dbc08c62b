package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// caller is who asks.
type caller struct {
	name    string    // of the token; empty: nobody in particular
	role    Role      // empty: none, nothing was shown
	session bool      // by the cookie of a session
	ends    time.Time // of the session
}

// sum is what tokens are compared by: all have one length, and how much of a wrong one is right does not show.
type sum [sha256.Size]byte

// holder returns the token with this secret. It always compares with all of them, so how long it takes tells nothing.
func (s *Site) holder(secret string) (Token, bool) {
	given := sum(sha256.Sum256([]byte(secret)))
	found := -1
	for i, known := range s.sums {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(given[:], known[:]), i, found)
	}
	if found < 0 {
		return Token{}, false
	}
	return s.config.Tokens[found], true
}

// identify says who asks, by the token or else by the session of the request. A token that is wrong is a problem; a session that is over is just none.
func (s *Site) identify(r *http.Request) (caller, *problem) {
	if headers := r.Header.Values("Authorization"); len(headers) > 0 && (!s.config.Open || len(s.sums) > 0) {
		scheme, secret, _ := strings.Cut(headers[0], " ")
		if len(headers) == 1 && strings.EqualFold(scheme, "Bearer") {
			if t, ok := s.holder(strings.TrimLeft(secret, " ")); ok {
				return caller{name: t.Name, role: t.Role}, nil
			}
		}
		if wait := s.guesses.wrong(addressOf(r), s.config.now()); wait > 0 {
			return caller{}, tooMany(wait)
		}
		return caller{}, refuse(http.StatusUnauthorized, "wrong-token", "The token is wrong", "no token is like the one that was sent; try another, as: Authorization: Bearer …").
			with("WWW-Authenticate", `Bearer realm="interlock", error="invalid_token"`)
	}
	if who, ok := s.session(r); ok {
		return who, nil
	}
	if s.config.Open {
		return caller{role: Repair}, nil
	}
	return caller{}, nil
}

func noToken() *problem {
	return refuse(http.StatusUnauthorized, "no-token", "A token is needed", "no token was sent; try: Authorization: Bearer …").
		with("WWW-Authenticate", `Bearer realm="interlock"`)
}

// addressOf returns where a request comes from, as wrong guesses are counted: of an IPv6 address the network, which has one owner.
func addressOf(r *http.Request) string {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	address := at.Addr().Unmap().WithZone("")
	if address.Is6() {
		if network, err := address.Prefix(64); err == nil {
			return network.String()
		}
	}
	return address.String()
}

// toLoopback reports whether a Host header names this machine's own loopback interface. A name that an attacker has lead here is none of these.
func toLoopback(host string) bool {
	if at, err := netip.ParseAddrPort(host); err == nil {
		return at.Addr().Unmap().IsLoopback()
	}
	if address, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return address.Unmap().IsLoopback()
	}
	name, port, has := strings.Cut(strings.ToLower(host), ":")
	if has && (port == "" || strings.Trim(port, "0123456789") != "") {
		return false
	}
	name = strings.TrimSuffix(name, ".")
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// proxied reports whether a request came through a proxy, which may let in anybody: most say so. Of those that do not, some speak HTTP/1.0, as nginx does
// unless it is told otherwise, and no browser.
func proxied(r *http.Request) bool {
	for name := range r.Header {
		if name == "Forwarded" || name == "Via" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded-") {
			return true
		}
	}
	return !r.ProtoAtLeast(1, 1)
}
