package web

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
)

// FuzzRequest sends whatever is HTTP. The answer is never a fault of the server's, a refusal is always a problem, and openapi.yaml has it.
func FuzzRequest(f *testing.F) {
	from := newMemory()
	from.set(sessions, open(1, 120)...)
	from.set(schedules, tooClose())
	none := newMemory()
	none.forget()
	repairs := func(c *Config) { c.Repair = repairPlan }
	sites := []*Site{
		site(f, from, repairs), site(f, from, func(c *Config) { c.Tokens, c.Open = nil, true; repairs(c) }),
		site(f, none, func(c *Config) {
			c.Repair = func(context.Context, bool) (history.Run, error) {
				return history.Run{}, fmt.Errorf("no: %w", context.Canceled)
			}
		}),
	}
	methods := []string{"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "TRACE", "x"}
	for i, r := range routes {
		f.Add(byte(i), methods[i%len(methods)], r.pattern, "Accept: */*", []byte(""))
		f.Add(byte(i%3), r.method, strings.ReplaceAll(r.pattern, "{name}", sessions), "Authorization: Bearer "+repairing.Secret, []byte(""))
	}
	for i, target := range []string{
		"/api/monitoring/duplicate-sessions?limit=10&offset=20&since=2026-11-10T09%3A00%3A00%2B01%3A00", "/api/monitoring/%64uplicate-sessions", "//api//invariants", "/api/invariants/S1?",
		"/api/invariants/..%2f..%2fmetrics", "/api/monitoring/?limit=1", "/%00", "/?a=%zz", "*", "http://localhost/healthz", "/api/invariants/%ff", "/./metrics", "/api/monitoring/x;y",
	} {
		f.Add(byte(i%3), "GET", target, "Host: localhost\r\nAuthorization: Bearer "+readOnly.Secret, []byte(""))
	}
	for _, headers := range []string{
		"Accept: application/json;q=0, */*", "Accept: ;;;,,,q=", "If-None-Match: *\r\nAuthorization: Bearer " + readOnly.Secret, "Cookie: interlock=a.b.c; interlock=", "Cookie: interlock=cHJvbWV0aGV1cw.99999999999.AA",
		"Authorization: Bearer", "Authorization: Bearer x\r\nAuthorization: Bearer y", "Origin: null\r\nSec-Fetch-Site: cross-site", "Range: bytes=0-5", "Expect: 100-continue", "X: " + strings.Repeat("x", mostHead),
	} {
		f.Add(byte(0), "GET", "/api/monitoring/duplicate-sessions", headers, []byte(""))
	}
	for _, body := range []string{`{"apply":false}`, `{"apply":`, "token=" + readOnly.Secret, "token=%zz", strings.Repeat("[", 5000), "\x00"} {
		f.Add(byte(1), "POST", "/api/repair", "Host: 127.0.0.1\r\nContent-Type: application/json", []byte(body))
		f.Add(byte(0), "POST", "/api/repair", "Content-Type: application/json\r\nAuthorization: Bearer "+repairing.Secret, []byte(body))
		f.Add(byte(0), "POST", "/login", "Content-Type: application/x-www-form-urlencoded", []byte(body))
		f.Add(byte(0), "POST", "/login", "Content-Type: multipart/form-data; boundary=x\r\nAccept: text/html", []byte(body))
	}
	f.Fuzz(func(t *testing.T, which byte, method, target, headers string, body []byte) {
		var raw bytes.Buffer
		fmt.Fprintf(&raw, "%s %s HTTP/1.1\r\n", method, target)
		if !strings.Contains(strings.ToLower(headers), "host:") {
			raw.WriteString("Host: localhost\r\n")
		}
		fmt.Fprintf(&raw, "%s\r\nContent-Length: %d\r\n\r\n%s", headers, len(body), body)
		r, err := http.ReadRequest(bufio.NewReader(&raw))
		if err != nil {
			return // the server refuses it before it is ours
		}
		s := sites[int(which)%len(sites)]
		s.guesses, s.typed = guesses{}, guesses{}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // for a stream to end at once
		r = r.WithContext(ctx)
		r.RemoteAddr = "203.0.113.9:4711"
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		result := w.Result()
		if w.Code >= 500 {
			require.Equal(t, 503, w.Code)
			require.NotEmpty(t, w.Header().Get("Retry-After"))
		}
		require.NotContains(t, w.Body.String(), "hunter2secret")
		require.NotContains(t, fmt.Sprint(result.Header), repairing.Secret)
		loadContract(t).check(t, r.WithContext(t.Context()), body, w.Code, result.Header, w.Body.Bytes())
	})
}
