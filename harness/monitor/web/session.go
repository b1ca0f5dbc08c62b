package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A browser cannot be told to send a token, so a token that was typed in is exchanged for a cookie: the token's name, when the session ends, and an
// HMAC-SHA256 of both whose key is the token's secret. The secret itself is not in it, and cannot be found from it but by guessing all of it. A session
// ends with its time, with the token (a secret that is gone or changed makes no such HMAC), and where its owner signs out: the last is remembered
// until its time is over, by this process only.
const sessionLasts = 12 * time.Hour

// sessionMAC is what only those who know the secret can make.
func sessionMAC(t Token, ends string) []byte {
	mac := hmac.New(sha256.New, []byte(t.Secret))
	mac.Write([]byte("interlock session\n" + t.Name + "\n" + ends))
	return mac.Sum(nil)
}

// session returns whose session a request is part of.
func (s *Site) session(r *http.Request) (caller, bool) {
	cookie, err := r.Cookie(s.cookieName(r))
	if err != nil {
		return caller{}, false
	}
	parts := strings.Split(cookie.Value, ".")
	if len(parts) != 3 {
		return caller{}, false
	}
	name, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		return caller{}, false
	}
	given, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return caller{}, false
	}
	seconds, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return caller{}, false
	}
	ends := time.Unix(seconds, 0)
	for _, t := range s.config.Tokens {
		if t.Name == string(name) && hmac.Equal(given, sessionMAC(t, parts[1])) {
			over := !s.config.now().Before(ends) || s.ended.has(string(given))
			return caller{name: t.Name, role: t.Role, session: true, ends: ends}, !over
		}
	}
	return caller{}, false
}

// begin starts a session of a token.
func (s *Site) begin(w http.ResponseWriter, r *http.Request, t Token) {
	end := s.config.now().Add(sessionLasts)
	ends := strconv.FormatInt(end.Unix(), 10)
	encode := base64.RawURLEncoding.EncodeToString
	http.SetCookie(w, s.cookie(r, encode([]byte(t.Name))+"."+ends+"."+encode(sessionMAC(t, ends)), int(sessionLasts/time.Second)))
}

// end ends the session of a request.
func (s *Site) end(w http.ResponseWriter, r *http.Request, who caller) {
	if cookie, err := r.Cookie(s.cookieName(r)); err == nil && who.session {
		if given, err := base64.RawURLEncoding.DecodeString(cookie.Value[strings.LastIndex(cookie.Value, ".")+1:]); err == nil {
			s.ended.add(string(given), who.ends, s.config.now())
		}
	}
	http.SetCookie(w, s.cookie(r, "", -1))
}

func (s *Site) secure(r *http.Request) bool { return r.TLS != nil || s.config.BehindTLS }

// cookieName has the prefix that lets no other host of the domain set the cookie, where there is TLS, without which browsers refuse it.
func (s *Site) cookieName(r *http.Request) string {
	if s.secure(r) {
		return "__Host-interlock"
	}
	return "interlock"
}

func (s *Site) cookie(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{
		Name: s.cookieName(r), Value: value, Path: "/", MaxAge: age,
		HttpOnly: true, Secure: s.secure(r), SameSite: http.SameSiteStrictMode,
	}
}

// ended remembers sessions that were ended before their time. The zero value remembers none; it is safe for concurrent use.
type ended struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (e *ended) add(mac string, until, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.until == nil {
		e.until = map[string]time.Time{}
	}
	for other, until := range e.until {
		if until.Before(now) {
			delete(e.until, other)
		}
	}
	e.until[mac] = until
}

func (e *ended) has(mac string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, is := e.until[mac]
	return is
}
