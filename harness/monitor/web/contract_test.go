package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
)

// contract is openapi.yaml, as answers are compared with it.
type contract struct {
	doc *openapi3.T
}

var theContract = sync.OnceValues(func() (*contract, error) {
	openapi3.DefineStringFormatValidator("date-time", openapi3.NewCallbackValidator(func(value string) error {
		_, err := time.Parse(time.RFC3339, value)
		return err
	}))
	text := func(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
		all, err := io.ReadAll(body)
		return string(all), err
	}
	for _, kind := range []string{"text/html", "text/event-stream", "image/svg+xml"} {
		openapi3filter.RegisterBodyDecoder(kind, text)
	}
	doc, err := openapi3.NewLoader().LoadFromData(OpenAPI())
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	return &contract{doc}, nil
})

func loadContract(t testing.TB) *contract {
	t.Helper()
	c, err := theContract()
	require.NoError(t, err)
	return c
}

// check compares an answer with the document, and returns which path, method and status of it that was.
func (c *contract) check(t testing.TB, r *http.Request, body []byte, status int, header http.Header, answered []byte) string {
	t.Helper()
	if status >= 400 {
		problem := isProblem(t, status, header, answered)
		require.NotEqual(t, http.StatusInternalServerError, status, problem)
	}
	path, _ := find(r.URL.Path)
	if path == nil {
		require.Contains(t, []int{400, 401, 404, 421, 429, 431}, status)
		return ""
	}
	item := c.doc.Paths.Value(path.pattern)
	require.NotNil(t, item, path.pattern)
	as := httptest.NewRequest(path.method, path.pattern, bytes.NewReader(body))
	as.URL = r.URL
	as.Header = r.Header.Clone()
	operation := item.GetOperation(path.method)
	params := map[string]string{}
	if _, name := find(r.URL.Path); name != "" {
		params["name"] = name
	}
	input := &openapi3filter.RequestValidationInput{
		Request: as, PathParams: params, QueryParams: r.URL.Query(),
		Route:   &routers.Route{Spec: c.doc, Path: path.pattern, PathItem: item, Method: path.method, Operation: operation},
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true},
	}
	at := fmt.Sprintf("%s %s %d", path.method, path.pattern, status)
	require.NotNil(t, operation.Responses.Status(status), "%s is not in openapi.yaml", at)
	if status < 400 && r.Method == path.method {
		require.NoError(t, openapi3filter.ValidateRequest(r.Context(), input), "%s: what was asked is not in openapi.yaml", at)
	}
	if r.Method == http.MethodHead {
		return at
	}
	require.NoError(t, validate(input, status, header, answered), "%s: %s", at, cut(string(answered), 500))
	return at
}

// validate compares an answer with what the document says of it.
func validate(input *openapi3filter.RequestValidationInput, status int, header http.Header, answered []byte) error {
	return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: status, Header: header, Body: io.NopCloser(bytes.NewReader(answered)), Options: input.Options,
	})
}

// What the comparison looks for is found where it is.
func TestWhatTheContractNotices(t *testing.T) {
	c := loadContract(t)
	pattern := "/api/monitoring/{name}"
	item := c.doc.Paths.Value(pattern)
	from := newMemory()
	from.set(sessions, open(1, 2)...)
	w := ask(t, site(t, from, nil), get("/api/monitoring/"+sessions).as(readOnly))
	input := &openapi3filter.RequestValidationInput{
		Request: httptest.NewRequest(http.MethodGet, "/api/monitoring/"+sessions, nil), Options: &openapi3filter.Options{IncludeResponseStatus: true},
		Route: &routers.Route{Spec: c.doc, Path: pattern, PathItem: item, Method: http.MethodGet, Operation: item.Get},
	}
	good, header := w.Body.String(), w.Result().Header
	require.NoError(t, validate(input, 200, header, []byte(good)))
	for from, to := range map[string]string{
		`"total":2`: `"total":"2"`, `"total":`: `"totals":`, `"key":"AED-00001",`: ``, `"verdict":"violated"`: `"verdict":"broken"`, `"timestamp":"2026-`: `"timestamp":"26-`,
	} {
		bad := strings.Replace(good, from, to, 1)
		require.NotEqual(t, good, bad, from)
		require.Error(t, validate(input, 200, header, []byte(bad)), from)
	}
	require.Error(t, validate(input, 418, header, []byte(good)))
	for name, value := range map[string]string{"Content-Type": "text/plain", "Etag": "weak", "Interlock-Checked": "yesterday"} {
		other := header.Clone()
		other.Set(name, value)
		require.Error(t, validate(input, 200, other, []byte(good)), name)
	}
}

// isProblem looks that a refusal is one as RFC 9457 has it, or a page for a browser.
func isProblem(t testing.TB, status int, header http.Header, body []byte) string {
	t.Helper()
	if strings.HasPrefix(header.Get("Content-Type"), "text/html") {
		return ""
	}
	require.Equal(t, "application/problem+json", header.Get("Content-Type"))
	var p problem
	require.NoError(t, json.Unmarshal(body, &p), string(body))
	require.Equal(t, status, p.Status)
	require.NotEmpty(t, p.Title)
	require.Contains(t, p.Detail, "try")
	return p.Title + ": " + p.Detail
}

// question is a request of a test.
type question struct {
	method, target, body string
	header               http.Header
	from                 string // address; empty: 203.0.113.9
}

func get(target string, header ...string) question {
	return question{method: http.MethodGet, target: target, header: headers(header...)}
}

func post(target, body string, header ...string) question {
	return question{method: http.MethodPost, target: target, body: body, header: headers(header...)}
}

// headers makes them of names and values.
func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// as adds a token.
func (q question) as(t Token) question {
	q.header = q.header.Clone()
	if q.header == nil {
		q.header = http.Header{}
	}
	q.header.Set("Authorization", "Bearer "+t.Secret)
	return q
}

// ask asks, and compares the answer with the document. A stream ends at once.
func ask(t testing.TB, s *Site, q question) *httptest.ResponseRecorder {
	t.Helper()
	w, _ := asked(t, s, q)
	return w
}

func asked(t testing.TB, s *Site, q question) (*httptest.ResponseRecorder, string) {
	t.Helper()
	r := httptest.NewRequest(q.method, q.target, strings.NewReader(q.body))
	maps.Copy(r.Header, q.header)
	if host := q.header.Get("Host"); host != "" {
		r.Host = host
		r.Header.Del("Host")
	}
	r.RemoteAddr = "203.0.113.9:4711"
	if q.from != "" {
		r.RemoteAddr = q.from
	}
	if r.URL.Path == "/api/events" {
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		r = r.WithContext(ctx)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w, loadContract(t).check(t, r, []byte(q.body), w.Code, w.Result().Header, w.Body.Bytes())
}

func TestDescriptionIsValid(t *testing.T) {
	doc := loadContract(t).doc
	for _, r := range routes {
		item := doc.Paths.Value(r.pattern)
		require.NotNil(t, item, r.pattern)
		require.Equal(t, []string{r.method}, slices.Collect(maps.Keys(item.Operations())), r.pattern)
		operation := item.GetOperation(r.method)
		var query []string
		for _, p := range operation.Parameters {
			if p.Value.In == "query" {
				query = append(query, p.Value.Name)
			}
		}
		require.Equal(t, r.query, query, r.pattern)
		require.Equal(t, r.needs == "", operation.Security != nil && len(*operation.Security) == 0, "%s: who may ask", r.pattern)
		for status, answer := range operation.Responses.Map() {
			if status == "200" {
				require.Contains(t, answer.Value.Content, r.gives, r.pattern)
			}
		}
	}
	require.Len(t, doc.Paths.Map(), len(routes))
}

// Every address gives every answer that the document says it may, and none else.
func TestEveryAnswerOfTheDescription(t *testing.T) {
	seen := map[string]bool{}
	note := func(s *Site, want int, q question) {
		t.Helper()
		w, at := asked(t, s, q)
		require.Equal(t, want, w.Code, "%s %s: %s", q.method, q.target, w.Body.String())
		seen[at] = true
	}
	full := newMemory()
	full.set(sessions, open(1, 3)...)
	full.set(schedules, tooClose())
	usual := site(t, full, func(c *Config) { c.Repair = repairPlan })
	without := site(t, full, nil)
	open := site(t, full, func(c *Config) { c.Tokens, c.Open = nil, true })
	none := newMemory()
	none.forget()
	dead := site(t, none, func(c *Config) {
		c.Repair = func(context.Context, bool) (history.Run, error) { return history.Run{}, errors.New("no") }
	})
	for range mostStreams {
		dead.streams <- struct{}{}
	}

	for _, r := range routes {
		path := strings.ReplaceAll(r.pattern, "{name}", sessions)
		q := question{method: r.method, target: path}
		if r.pattern == "/api/repair" {
			q.body, q.header = `{"apply":false}`, headers("Content-Type", "application/json")
		}
		q = q.as(repairing)
		with := func(name, value string) question {
			other := q
			other.header = q.header.Clone()
			other.header.Set(name, value)
			return other
		}
		switch r.pattern {
		case "/login":
			form := func(token string, more ...string) question {
				return post("/login", "token="+token, append(more, "Content-Type", "application/x-www-form-urlencoded")...)
			}
			note(usual, 303, form(readOnly.Secret))
			note(usual, 401, form("wrong"))
			note(usual, 401, form("wrong", "Accept", "text/html"))
			note(usual, 400, post("/login", "token=%zz", "Content-Type", "application/x-www-form-urlencoded"))
			note(usual, 413, form(strings.Repeat("x", mostBody)))
			limited := site(t, full, nil)
			for range guessesAtOnce {
				note(limited, 401, form("wrong"))
			}
			note(limited, 429, form("wrong"))
			note(limited, 429, form("wrong", "Accept", "text/html"))
		case "/logout":
			note(usual, 303, q)
		default:
			note(usual, 200, q)
		}
		note(usual, 405, question{method: http.MethodDelete, target: path}.as(repairing))
		other := q
		other.target += "?nothing=1"
		note(usual, 400, other)
		note(usual, 406, with("Accept", "application/pdf"))
		note(usual, 431, with("X-Long", strings.Repeat("x", mostHead)))
		note(open, 421, with("Host", "interlock.example.com"))
		note(open, 421, with("Forwarded", "for=198.51.100.7"))
		if r.needs != "" {
			note(usual, 401, question{method: r.method, target: path})
			limited := site(t, full, nil)
			wrong := with("Authorization", "Bearer wrong")
			for range guessesAtOnce {
				note(limited, 401, wrong)
			}
			note(limited, 429, wrong)
		}
		if r.method == http.MethodPost {
			note(usual, 403, with("Sec-Fetch-Site", "cross-site"))
		}
		switch r.pattern {
		case "/":
			note(usual, 401, get("/", "Accept", "text/html"))
		case "/api/monitoring/{name}", "/api/invariants/{name}":
			other := q
			other.target = strings.ReplaceAll(r.pattern, "{name}", "nothing")
			note(usual, 404, other)
		}
		switch r.pattern {
		case "/readyz", "/api/monitoring/{name}", "/api/indexes", "/api/events", "/api/repair":
			note(dead, 503, q)
		}
	}
	tag := ask(t, usual, get("/api/monitoring/"+sessions).as(readOnly)).Header().Get("ETag")
	note(usual, 304, get("/api/monitoring/"+sessions, "If-None-Match", tag).as(readOnly))
	asJSON := []string{"Content-Type", "application/json"}
	note(usual, 403, post("/api/repair", `{"apply":true}`, asJSON...).as(readOnly))
	note(without, 404, post("/api/repair", `{"apply":true}`, asJSON...).as(repairing))
	note(usual, 400, post("/api/repair", `{"apply":1}`, asJSON...).as(repairing))
	note(usual, 413, post("/api/repair", `{"apply":`+strings.Repeat(" ", mostBody)+`true}`, asJSON...).as(repairing))
	note(usual, 415, post("/api/repair", `{"apply":true}`, "Content-Type", "text/plain").as(repairing))
	usual.repairing <- struct{}{}
	note(usual, 409, post("/api/repair", `{"apply":true}`, asJSON...).as(repairing))
	<-usual.repairing
	for err, again := range map[error]bool{ErrRefused: false, ErrBusy: true} {
		refused := site(t, full, func(c *Config) {
			c.Repair = func(context.Context, bool) (history.Run, error) { return history.Run{}, fmt.Errorf("no: %w", err) }
		})
		q := post("/api/repair", `{"apply":true}`, asJSON...).as(repairing)
		note(refused, 409, q)
		require.Equal(t, again, ask(t, refused, q).Header().Get("Retry-After") != "", "%v", err)
	}
	seenBefore := newMemory()
	seenBefore.err = errors.New("locked")
	note(site(t, seenBefore, nil), 200, get("/api/indexes").as(readOnly))

	var missing []string
	for path, item := range loadContract(t).doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for status := range operation.Responses.Map() {
				if at := method + " " + path + " " + status; !seen[at] {
					missing = append(missing, at)
				}
			}
		}
	}
	slices.Sort(missing)
	require.Empty(t, missing, "in openapi.yaml, but no test has seen it")
}

// Where there is no result at all, what the source says goes into the answer, without its passwords.
func TestWhatIsInTheWayIsToldWithoutSecrets(t *testing.T) {
	none := newMemory()
	none.forget()
	s := site(t, none, nil)
	for _, target := range []string{"/", "/readyz", "/metrics", "/api/invariants", "/api/invariants/S1", "/api/monitoring/" + sessions, "/api/indexes", "/api/events"} {
		w := ask(t, s, get(target).as(readOnly))
		require.NotContains(t, w.Body.String(), "hunter2secret", target)
		if target != "/metrics" {
			require.Contains(t, w.Body.String(), "xxxxx", target)
		}
	}
}

func getRequest(t *testing.T) *http.Request {
	t.Helper()
	return httptest.NewRequest(http.MethodGet, "/", nil)
}
