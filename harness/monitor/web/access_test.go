package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
)

// Every address, asked without a token, with a wrong one, and with one of each role.
func TestWhoMayAskForWhat(t *testing.T) {
	answers := map[string][4]int{ // none, wrong, read, repair
		"/":                            {401, 401, 200, 200},
		"/login":                       {401, 401, 401, 401}, // there is no token in the form
		"/logout":                      {303, 303, 303, 303},
		"/icon.svg":                    {200, 200, 200, 200},
		"/openapi.yaml":                {401, 401, 200, 200},
		"/healthz":                     {200, 200, 200, 200},
		"/readyz":                      {401, 401, 200, 200},
		"/metrics":                     {401, 401, 200, 200},
		"/api/invariants":              {401, 401, 200, 200},
		"/api/invariants/S1":           {401, 401, 200, 200},
		"/api/invariants/S9":           {401, 401, 404, 404},
		"/api/monitoring/" + sessions:  {401, 401, 200, 200},
		"/api/monitoring/" + schedules: {401, 401, 200, 200},
		"/api/monitoring/x":            {401, 401, 404, 404},
		"/api/indexes":                 {401, 401, 200, 200},
		"/api/events":                  {401, 401, 200, 200},
		"/api/repair":                  {401, 401, 403, 200},
		"/api":                         {401, 401, 404, 404},
		"/nothing":                     {401, 401, 404, 404},
	}
	for _, r := range routes {
		require.Contains(t, answers, strings.ReplaceAll(strings.ReplaceAll(r.pattern, "monitoring/{name}", "monitoring/"+sessions), "{name}", "S1"))
	}
	public := map[string]bool{"/readyz": true, "/metrics": true}
	wrong := Token{Secret: readOnly.Secret[:len(readOnly.Secret)-1] + "2"}
	for path, want := range answers {
		for i, token := range []*Token{nil, &wrong, &readOnly, &repairing} {
			q := get(path)
			switch path {
			case "/login", "/logout":
				q = post(path, "", "Content-Type", "application/x-www-form-urlencoded")
			case "/api/repair":
				q = post(path, `{"apply":true}`, "Content-Type", "application/json")
			}
			if token != nil {
				q = q.as(*token)
			}
			s := site(t, newMemory(), func(c *Config) { c.Repair = repairPlan })
			w := ask(t, s, q)
			require.Equal(t, want[i], w.Code, "%s, token %d: %s", path, i, w.Body)
			if w.Code == 401 {
				require.Contains(t, w.Header().Get("WWW-Authenticate"), "Bearer realm=")
			}

			// Known to all, where the server was told so.
			s = site(t, newMemory(), func(c *Config) { c.PublicHealth, c.PublicMetrics, c.Repair = true, true, repairPlan })
			expected := want[i]
			if public[path] {
				expected = 200
			}
			require.Equal(t, expected, ask(t, s, q).Code, "%s, token %d, public", path, i)

			// On a loopback address, nobody needs a token; one that is shown must be right all the same.
			s = site(t, newMemory(), func(c *Config) { c.Open, c.Repair = true, repairPlan })
			expected = want[i]
			if i == 0 {
				expected = want[3]
			}
			q.header = q.header.Clone()
			if q.header == nil {
				q.header = http.Header{}
			}
			q.header.Set("Host", "localhost:8080")
			require.Equal(t, expected, ask(t, s, q).Code, "%s, token %d, open", path, i)
		}
	}
}

func TestWaysToShowAToken(t *testing.T) {
	s := site(t, newMemory(), nil)
	for header, want := range map[string]int{
		"Bearer " + readOnly.Secret: 200, "bearer " + readOnly.Secret: 200, "BEARER   " + readOnly.Secret: 200,
		"Basic " + readOnly.Secret: 401, readOnly.Secret: 401, "Bearer": 401, "": 401, "Bearer " + readOnly.Secret + " ": 401, "Bearer " + strings.ToUpper(readOnly.Secret): 401,
		"Bearer " + readOnly.Secret + ", Bearer " + readOnly.Secret: 401,
	} {
		require.Equal(t, want, ask(t, s, get("/api/invariants", "Authorization", header)).Code, "%q", header)
		s.guesses = guesses{}
	}
	require.Equal(t, 401, ask(t, s, get("/api/invariants", "Authorization", "Bearer "+readOnly.Secret, "Authorization", "Bearer "+repairing.Secret)).Code)
	require.Equal(t, 400, ask(t, s, get("/api/invariants?token="+readOnly.Secret).as(readOnly)).Code, "not in an address, which is logged")
}

// Where nobody needs a token, a proxy on the same machine would let in everybody, addressed to this one as it may be.
func TestWithoutTokensThroughAProxy(t *testing.T) {
	open := site(t, newMemory(), func(c *Config) { c.Open, c.Tokens = true, nil })
	closed := site(t, newMemory(), nil)
	for _, header := range []string{"Forwarded", "Via", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "x-forwarded-anything"} {
		w := ask(t, open, get("/", "Host", "127.0.0.1:8080", http.CanonicalHeaderKey(header), "for=198.51.100.7"))
		require.Equal(t, 421, w.Code, header)
		require.Contains(t, w.Body.String(), "try giving tokens")
		require.Equal(t, 200, ask(t, closed, get("/", http.CanonicalHeaderKey(header), "for=198.51.100.7").as(readOnly)).Code, header)
	}
	require.Equal(t, 200, ask(t, open, get("/", "Host", "127.0.0.1:8080", "X-Forward", "1")).Code)
	for minor, want := range []int{421, 200} {
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8080/healthz", nil)
		r.ProtoMinor = minor
		w := httptest.NewRecorder()
		open.ServeHTTP(w, r)
		require.Equal(t, want, w.Code, "HTTP/1.%d", minor)
	}
	_, err := New(Config{Source: newMemory(), Open: true, BehindTLS: true})
	require.ErrorContains(t, err, "try giving tokens")
}

// Tokens that go over a network in the clear are worth a warning.
func TestReadableTokens(t *testing.T) {
	for name, of := range map[string]struct {
		at     string
		tls    bool
		change func(*Config)
		warned bool
	}{
		"in the clear":       {"0.0.0.0:0", false, nil, true},
		"on this machine":    {"127.0.0.1:0", false, nil, false},
		"with TLS":           {"0.0.0.0:0", true, nil, false},
		"behind TLS":         {"0.0.0.0:0", false, func(c *Config) { c.BehindTLS = true }, false},
		"nobody has a token": {"127.0.0.1:0", false, func(c *Config) { c.Open, c.Tokens = true, nil }, false},
	} {
		var log bytes.Buffer
		s := site(t, newMemory(), func(c *Config) {
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
			if of.change != nil {
				of.change(c)
			}
		})
		listener, err := net.Listen("tcp", of.at)
		require.NoError(t, err)
		if of.tls {
			listener = tls.NewListener(listener, &tls.Config{Certificates: make([]tls.Certificate, 1)})
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, s.Serve(ctx, listener), name)
		require.Equal(t, of.warned, strings.Contains(log.String(), "can read the tokens; try TLS"), "%s: %s", name, log.String())
	}
}

func TestConfigTellsOfAllMistakes(t *testing.T) {
	_, err := New(Config{Tokens: []Token{
		{Name: "", Role: Read, Secret: "0123456789abcdef"},
		{Name: "a", Role: "admin", Secret: "0123456789abcdef"},
		{Name: "a", Role: Read, Secret: "hunter2-short"},
		{Name: "b", Role: Read, Secret: "with spaces in the middle"},
	}})
	require.Error(t, err)
	for _, part := range []string{"no source", "token 1 has no name", `role "admin"`, "secret of another", "name of another", "16 or more visible", `token 4 ("b")`} {
		require.ErrorContains(t, err, part)
	}
	for _, secret := range []string{"0123456789abcdef", "hunter2-short", "with spaces"} {
		require.NotContains(t, err.Error(), secret)
	}
	_, err = New(Config{Source: newMemory()})
	require.ErrorContains(t, err, "no token, and nobody could ask; try")
}

func TestWrongGuessesAreCountedByAddress(t *testing.T) {
	now := start
	s := site(t, newMemory(), func(c *Config) { c.now = func() time.Time { return now } })
	wrong := get("/api/invariants", "Authorization", "Bearer guess")
	form := func(token string) question {
		return post("/login", url.Values{"token": {token}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	}
	for range guessesAtOnce {
		require.Equal(t, 401, ask(t, s, wrong).Code)
	}
	w := ask(t, s, wrong)
	require.Equal(t, 429, w.Code)
	require.Equal(t, "10", w.Header().Get("Retry-After"))
	require.Equal(t, 200, ask(t, s, get("/api/invariants").as(readOnly)).Code, "who has the right one is not kept out by a neighbour")
	require.Equal(t, 303, ask(t, s, form(readOnly.Secret)).Code, "nor are people by a script that has an old one")
	for range guessesAtOnce {
		require.Equal(t, 401, ask(t, s, form("guess")).Code)
	}
	require.Equal(t, 429, ask(t, s, form("guess")).Code)
	require.Equal(t, 429, ask(t, s, form(readOnly.Secret)).Code, "a form does not tell right from wrong any more")
	elsewhere := wrong
	elsewhere.from = "[2001:db8:1:2::3]:99"
	for range guessesAtOnce {
		require.Equal(t, 401, ask(t, s, elsewhere).Code)
	}
	elsewhere.from = "[2001:db8:1:2:ffff::4]:99"
	require.Equal(t, 429, ask(t, s, elsewhere).Code, "a network of IPv6 has one owner")
	elsewhere.from = "[2001:db8:1:3::3]:99"
	require.Equal(t, 401, ask(t, s, elsewhere).Code)
	now = now.Add(guessesEvery)
	require.Equal(t, 303, ask(t, s, form(readOnly.Secret)).Code)
	require.Equal(t, 401, ask(t, s, wrong).Code)
	require.Equal(t, 429, ask(t, s, wrong).Code)
	now = now.Add(-time.Hour)
	require.Equal(t, 429, ask(t, s, wrong).Code, "a clock that goes back gives nothing away")
}

func TestGuessesDoNotGrow(t *testing.T) {
	var g guesses
	for i := range 3 * mostAddresses {
		require.Zero(t, g.wrong(numbered(i), start))
	}
	require.LessOrEqual(t, len(g.of), mostAddresses)
	require.Zero(t, g.wrong("a", start.Add(time.Hour)))
	require.LessOrEqual(t, len(g.of), mostAddresses)
}

func numbered(i int) string { return net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)).String() }

// signedIn returns the cookie of a new session.
func signedIn(t *testing.T, s *Site, token Token) *http.Cookie {
	t.Helper()
	w := ask(t, s, post("/login", url.Values{"token": {token.Secret}}.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
	require.Equal(t, 303, w.Code, w.Body)
	require.Equal(t, "./", w.Header().Get("Location"))
	cookies := w.Result().Cookies()
	require.Len(t, cookies, 1)
	return cookies[0]
}

func TestSessions(t *testing.T) {
	now := start
	from := newMemory()
	s := site(t, from, func(c *Config) { c.now = func() time.Time { return now }; c.Repair = repairPlan })
	w := ask(t, s, get("/", "Accept", "text/html,*/*;q=0.8"))
	require.Equal(t, 401, w.Code)
	require.Contains(t, w.Body.String(), `<form action="login" method="post">`)

	cookie := signedIn(t, s, readOnly)
	require.True(t, cookie.HttpOnly)
	require.Equal(t, http.SameSiteStrictMode, cookie.SameSite)
	require.False(t, cookie.Secure, "there is no TLS")
	require.NotContains(t, cookie.Value, readOnly.Secret)
	sent := func(c *http.Cookie) string { return c.Name + "=" + c.Value }
	page := func(c string) *httptest.ResponseRecorder { return ask(t, s, get("/", "Cookie", c)) }
	require.Equal(t, 200, page(sent(cookie)).Code)
	require.Contains(t, page(sent(cookie)).Body.String(), "Signed in with the token <b>prometheus</b>")
	require.Equal(t, 401, page("interlock=").Code)
	for i := range cookie.Value {
		changed := []byte(cookie.Value)
		changed[i] ^= 1
		if i == len(changed)-1 { // of which base64 leaves bits unused
			continue
		}
		require.Equal(t, 401, page("interlock="+string(changed)).Code, "byte %d", i)
	}

	// It ends where another has the token's name, when its time is over, and when its owner signs out.
	other := site(t, from, func(c *Config) {
		c.now = func() time.Time { return now }
		c.Tokens = []Token{{Name: readOnly.Name, Role: Read, Secret: "another-secret-of-the-same-name"}}
	})
	require.Equal(t, 401, ask(t, other, get("/", "Cookie", sent(cookie))).Code)
	again := site(t, from, func(c *Config) { c.now = func() time.Time { return now } })
	require.Equal(t, 200, ask(t, again, get("/", "Cookie", sent(cookie))).Code, "it outlives the server")
	now = now.Add(sessionLasts - time.Second)
	require.Equal(t, 200, page(sent(cookie)).Code)
	second := signedIn(t, s, readOnly)
	out := ask(t, s, post("/logout", "", "Cookie", sent(second), "Sec-Fetch-Site", "same-origin"))
	require.Equal(t, 303, out.Code)
	require.Negative(t, out.Result().Cookies()[0].MaxAge)
	require.Equal(t, 401, page(sent(second)).Code, "it is over, for whoever has a copy too")
	require.Equal(t, 200, page(sent(cookie)).Code)
	now = now.Add(time.Second)
	require.Equal(t, 401, page(sent(cookie)).Code)
}

func TestCookieIsForTLSWhereThereIsTLS(t *testing.T) {
	s := site(t, newMemory(), func(c *Config) { c.BehindTLS = true })
	cookie := signedIn(t, s, readOnly)
	require.True(t, cookie.Secure)
	require.Equal(t, "__Host-interlock", cookie.Name)
	require.Equal(t, 200, ask(t, s, get("/", "Cookie", cookie.Name+"="+cookie.Value)).Code)

	s = site(t, newMemory(), nil)
	r := httptest.NewRequest(http.MethodPost, "https://interlock.example.com/login", strings.NewReader("token="+readOnly.Secret))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.TLS = &tls.ConnectionState{}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	require.True(t, w.Result().Cookies()[0].Secure)
}

// A page of somebody else can have a browser send a form, and the cookie with it if SameSite did not hold. It gets nowhere.
func TestAnotherPageCannotAsk(t *testing.T) {
	made := 0
	s := site(t, newMemory(), func(c *Config) {
		c.Repair = func(context.Context, bool) (history.Run, error) { made++; return planned, nil }
	})
	cookie := signedIn(t, s, repairing)
	repair := func(header ...string) int {
		return ask(t, s, post("/api/repair", `{"apply":true}`, append(header, "Content-Type", "application/json", "Cookie", cookie.Name+"="+cookie.Value)...)).Code
	}
	require.Equal(t, 403, repair(), "a browser says where it is")
	require.Equal(t, 403, repair("Origin", "https://evil.example"))
	require.Equal(t, 403, repair("Origin", "null"))
	require.Equal(t, 403, repair("Sec-Fetch-Site", "cross-site"))
	require.Equal(t, 403, repair("Sec-Fetch-Site", "same-site"))
	require.Equal(t, 403, repair("Sec-Fetch-Site", "cross-site", "Origin", "http://example.com"))
	require.Zero(t, made)
	require.Equal(t, 200, repair("Sec-Fetch-Site", "same-origin"))
	require.Equal(t, 200, repair("Origin", "http://example.com"))
	require.Equal(t, 2, made)
	for _, path := range []string{"/login", "/logout"} {
		require.Equal(t, 403, ask(t, s, post(path, "token="+readOnly.Secret, "Content-Type", "application/x-www-form-urlencoded", "Origin", "https://evil.example")).Code)
	}

	// Where nobody needs a token, the page of somebody else is all that has to be kept out.
	s = site(t, newMemory(), func(c *Config) {
		c.Open, c.Tokens, c.Repair = true, nil, func(context.Context, bool) (history.Run, error) { made++; return planned, nil }
	})
	open := func(header ...string) int {
		return ask(t, s, post("/api/repair", `{"apply":true}`, append(header, "Host", "localhost:80")...)).Code
	}
	require.Equal(t, 403, open("Content-Type", "application/json", "Origin", "https://evil.example"))
	require.Equal(t, 415, open("Content-Type", "text/plain"), "which a form could send")
	require.Equal(t, 2, made)
	require.Equal(t, 200, open("Content-Type", "application/json"))
}

func TestOnlyLoopbackIsOpen(t *testing.T) {
	s := site(t, newMemory(), func(c *Config) { c.Open, c.Tokens = true, nil })
	for host, want := range map[string]bool{
		"localhost": true, "localhost:8080": true, "LOCALHOST:1": true, "localhost.": true, "app.localhost:80": true, "127.0.0.1": true, "127.0.0.1:9": true,
		"127.8.9.10": true, "[::1]": true, "[::1]:8080": true, "[::ffff:127.0.0.1]:80": true,
		"evil.example": false, "evil.example:8080": false, "localhost.evil.example": false, "notlocalhost": false, "10.0.0.1": false, "0.0.0.0:80": false,
		"127.0.0.1.evil.example": false, "[fe80::1]:80": false, "localhost:80:evil": false, "localhost:x": false, "": false, "[": false, ":80": false,
	} {
		require.Equal(t, want, toLoopback(host), "%q", host)
		if host != "" {
			code := 421
			if want {
				code = 200
			}
			require.Equal(t, code, ask(t, s, get("/", "Host", host)).Code, "%q", host)
		}
	}

	everywhere, err := net.Listen("tcp", "0.0.0.0:0")
	require.NoError(t, err)
	require.ErrorContains(t, s.Serve(t.Context(), everywhere), "is not on a loopback address")
	_, err = everywhere.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

// What is logged has the name of the token, and neither a token nor a query.
func TestLogsHaveNoSecrets(t *testing.T) {
	var log bytes.Buffer
	s := site(t, newMemory(), func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.Repair = func(context.Context, bool) (history.Run, error) {
			return history.Run{}, errors.New("postgres://repair:hunter2secret@db/app")
		}
	})
	cookie := signedIn(t, s, repairing)
	ask(t, s, get("/", "Cookie", cookie.Name+"="+cookie.Value))
	ask(t, s, get("/api/monitoring/"+sessions+"?since=2026-01-01T00:00:00Z").as(readOnly))
	ask(t, s, get("/api/invariants?token=hunter2secret").as(readOnly))
	ask(t, s, get("/"+repairing.Secret).as(readOnly))
	ask(t, s, get("/a%0Alevel=ERROR").as(readOnly))
	ask(t, s, get("/api/invariants", "Authorization", "Bearer hunter2secret"))
	ask(t, s, post("/login", "token=hunter2secret", "Content-Type", "application/x-www-form-urlencoded"))
	ask(t, s, post("/api/repair", `{"apply":true}`, "Content-Type", "application/json").as(repairing))
	written := log.String()
	require.Equal(t, 9, strings.Count(written, "msg=request"))
	require.Contains(t, written, "method=POST path=/api/repair status=503")
	require.NotContains(t, written, "msg=repair", "whoever makes it logs it")
	require.Contains(t, written, "method=GET path=/api/monitoring/duplicate-sessions status=200")
	require.Contains(t, written, "token=prometheus")
	require.Contains(t, written, "token=on-call")
	require.Contains(t, written, "path=/xxxxx status=404")
	for _, secret := range []string{readOnly.Secret, repairing.Secret, "hunter2secret", cookie.Value, "since="} {
		require.NotContains(t, written, secret)
	}
}

func TestOneRepairAtATime(t *testing.T) {
	entered, leave := make(chan bool), make(chan struct{})
	s := site(t, newMemory(), func(c *Config) {
		c.Repair = func(_ context.Context, apply bool) (history.Run, error) {
			entered <- apply
			<-leave
			return planned, nil
		}
	})
	repair := func(body string) *httptest.ResponseRecorder {
		return ask(t, s, post("/api/repair", body, "Content-Type", "application/json; charset=utf-8").as(repairing))
	}
	var done sync.WaitGroup
	first := 0
	done.Go(func() { first = repair(`{"apply":true}`).Code })
	require.True(t, <-entered)
	require.Equal(t, 409, repair(`{"apply":false}`).Code)
	close(leave)
	done.Wait()
	require.Equal(t, 200, first)
	apply := true
	done.Go(func() { apply = <-entered })
	w := repair(` { "apply" : false } `)
	require.Equal(t, 200, w.Code)
	require.Contains(t, w.Body.String(), `"kind":"repair"`)
	done.Wait()
	require.False(t, apply)
	for _, body := range []string{"", "{}", "null", "[]", `{"apply":null}`, `{"apply":"true"}`, `{"apply":true}{}`, `{"apply":true,"force":true}`, `{"apply":true`} {
		require.Equal(t, 400, repair(body).Code, body)
	}
}
