package web

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
)

// served returns the address of a site that is being served, and what ends it and waits.
func served(t testing.TB, s *Site, change func(*http.Server)) (string, func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := s.Server()
	if change != nil {
		change(server)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	stop := func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, server.Shutdown(ctx))
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	}
	return "http://" + listener.Addr().String(), stop
}

// client asks as programs do, and leaves no connection behind.
func client(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// stream is a stream of events as it comes in.
type stream struct {
	t    *testing.T
	body io.ReadCloser
	in   *bufio.Scanner
}

func listen(t *testing.T, c *http.Client, base string, header ...string) *stream {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/api/events", nil)
	require.NoError(t, err)
	r.Header = headers(header...)
	if len(header) == 0 {
		r.Header.Set("Authorization", "Bearer "+readOnly.Secret)
	}
	w, err := c.Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { w.Body.Close() })
	require.Equal(t, 200, w.StatusCode)
	require.Equal(t, "text/event-stream", w.Header.Get("Content-Type"))
	return &stream{t, w.Body, bufio.NewScanner(w.Body)}
}

// next returns the next event, of a kind and with data as openapi.yaml has it. Empty: the stream is over.
func (s *stream) next() (kind, data string) {
	s.t.Helper()
	for s.in.Scan() {
		line := s.in.Text()
		if name, is := strings.CutPrefix(line, "event: "); is {
			kind = name
		}
		if text, is := strings.CutPrefix(line, "data: "); is {
			data = text
		}
		if line != "" || kind == "" {
			continue
		}
		schema := loadContract(s.t).doc.Components.Schemas[strings.ToUpper(kind[:1])+kind[1:]]
		require.NotNil(s.t, schema, kind)
		var value any
		require.NoError(s.t, json.Unmarshal([]byte(data), &value))
		require.NoError(s.t, schema.Value.VisitJSON(value), data)
		return kind, data
	}
	return "", ""
}

func TestEvents(t *testing.T) {
	from := newMemory()
	s := site(t, from, nil)
	base, stop := served(t, s, nil)
	defer stop()
	in := listen(t, client(t), base)
	kind, data := in.next()
	require.Equal(t, "state", kind)
	require.JSONEq(t, `{"ready":true,"watches":[
		{"invariant":"S1","name":"duplicate-sessions","verdict":"held","groups":0,"members":0,"version":1},
		{"invariant":"S2","name":"duplicate-schedules","verdict":"held","groups":0,"members":0,"version":1}]}`, data)

	from.set(sessions, open(1, 25)...)
	kind, data = in.next()
	require.Equal(t, "change", kind)
	var e changeEvent
	require.NoError(t, json.Unmarshal([]byte(data), &e))
	require.Equal(t, watchEvent{"S1", sessions, "violated", 25, 50, 2}, e.watchEvent)
	require.Equal(t, 25, e.Broke.Count)
	require.Len(t, e.Broke.Keys, mostKeys)
	require.Equal(t, 0, e.Healed.Count)

	from.set(sessions, open(2, 24)...)
	_, data = in.next()
	require.NoError(t, json.Unmarshal([]byte(data), &e))
	require.Equal(t, keysEvent{1, []string{"AED-00001"}}, e.Healed)
	require.Equal(t, keysEvent{0, []string{}}, e.Broke)

	// Where the source ends, so does the stream, and a browser asks again.
	from.hangUp()
	kind, _ = in.next()
	require.Empty(t, kind)
}

// deadlines notes until when an answer may take, as it is told.
type deadlines struct {
	http.ResponseWriter
	mu          sync.Mutex
	read, write []time.Time
}

func (d *deadlines) Unwrap() http.ResponseWriter { return d.ResponseWriter }

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read = append(d.read, at)
	return http.NewResponseController(d.ResponseWriter).SetReadDeadline(at)
}

func (d *deadlines) SetWriteDeadline(at time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.write = append(d.write, at)
	return http.NewResponseController(d.ResponseWriter).SetWriteDeadline(at)
}

// A stream outlives the times that bound other requests, and ends at once when all is to end.
func TestStreamsAreNotTimed(t *testing.T) {
	from := newMemory()
	s := site(t, from, func(c *Config) { c.beat = time.Millisecond })
	var told deadlines
	base, stop := served(t, s, func(server *http.Server) {
		server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			told.ResponseWriter = w
			s.ServeHTTP(&told, r)
		})
	})
	in := listen(t, client(t), base)
	const states = 5
	for range states {
		kind, _ := in.next()
		require.Equal(t, "state", kind)
	}
	told.mu.Lock()
	require.Equal(t, []time.Time{{}}, told.read, "it is not bounded")
	require.GreaterOrEqual(t, len(told.write), 1+states)
	for i, at := range told.write {
		require.Equal(t, i == 0, at.IsZero(), "an event is, each by itself")
	}
	require.True(t, slices.IsSortedFunc(told.write, time.Time.Compare))
	told.mu.Unlock()
	stop()
	for kind := "state"; kind != ""; kind, _ = in.next() {
		require.Equal(t, "state", kind)
	}
	require.Zero(t, from.listeners())
}

// A stream ends with the session that it was opened in.
func TestStreamEndsWithItsSession(t *testing.T) {
	from := newMemory()
	s := site(t, from, nil)
	base, stop := served(t, s, nil)
	defer stop()
	cookie := signedIn(t, s, readOnly)
	in := listen(t, client(t), base, "Cookie", cookie.Name+"="+cookie.Value)
	kind, _ := in.next()
	require.Equal(t, "state", kind)
	ask(t, s, post("/logout", "", "Cookie", cookie.Name+"="+cookie.Value, "Origin", "http://example.com"))
	from.set(sessions, open(1, 1)...)
	kind, _ = in.next()
	require.Empty(t, kind)
}

func TestWhoGoesIsNotListenedFor(t *testing.T) {
	from := newMemory()
	s := site(t, from, nil)
	base, stop := served(t, s, nil)
	defer stop()
	in := listen(t, client(t), base)
	in.next()
	require.Equal(t, 1, from.listeners())
	in.body.Close()
	require.Eventually(t, func() bool { return from.listeners() == 0 }, 20*time.Second, time.Millisecond)
	w := ask(t, s, question{method: http.MethodHead, target: "/api/events"}.as(readOnly))
	require.Equal(t, 200, w.Code)
}

// Serve ends when its context does: streams at once, and what is under way when it is done.
func TestServe(t *testing.T) {
	from := newMemory()
	slow := &slowSource{memory: from, entered: make(chan struct{}), leave: make(chan struct{})}
	s, err := New(Config{Source: slow, Open: true})
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, listener) }()
	base, c := "http://"+listener.Addr().String(), client(t)
	in := listen(t, c, base, "X-Nothing", "")
	in.next()
	answered := make(chan int, 1)
	go func() {
		w, err := c.Get(base + "/api/indexes")
		if err != nil {
			answered <- 0
			return
		}
		w.Body.Close()
		answered <- w.StatusCode
	}()
	<-slow.entered
	cancel()
	kind, _ := in.next()
	require.Empty(t, kind)
	close(slow.leave)
	require.Equal(t, 200, <-answered)
	require.NoError(t, <-done)

	listener, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	require.ErrorContains(t, s.Serve(t.Context(), listener), "try another address")
}

// slowSource takes its time to look at indexes.
type slowSource struct {
	*memory
	entered, leave chan struct{}
}

func (s *slowSource) Indexes(ctx context.Context, fresh time.Duration) (indexes []history.Index, at time.Time, err error) {
	close(s.entered)
	<-s.leave
	return s.memory.Indexes(ctx, fresh)
}

// The server bounds what it reads. What it refuses itself it refuses in plain text.
func TestServerHasLimits(t *testing.T) {
	s := site(t, newMemory(), nil)
	server := s.Server()
	require.Positive(t, server.ReadHeaderTimeout)
	require.Greater(t, server.ReadTimeout, patience)
	require.Greater(t, server.WriteTimeout, patience)
	require.Positive(t, server.IdleTimeout)
	base, stop := served(t, s, nil)
	defer stop()
	for size, kind := range map[int]string{mostHead: "application/problem+json", 2 * mostServer: "text/plain; charset=utf-8"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/healthz", nil)
		require.NoError(t, err)
		r.Header.Set("X-Long", strings.Repeat("x", size))
		w, err := client(t).Do(r)
		require.NoError(t, err)
		w.Body.Close()
		require.Equal(t, 431, w.StatusCode)
		require.Equal(t, kind, w.Header.Get("Content-Type"))
	}
}

// A mistake of ours is a problem too, and the log has the rest.
func TestPanics(t *testing.T) {
	s := site(t, newMemory(), nil)
	s.config.Source = nil
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/api/indexes", nil)
	r.Header.Set("Authorization", "Bearer "+readOnly.Secret)
	s.ServeHTTP(w, r)
	require.Equal(t, 500, w.Code)
	isProblem(t, 500, w.Header(), w.Body.Bytes())
}

var _ Source = (*slowSource)(nil)
