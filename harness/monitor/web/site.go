package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/interlock-pg/interlock/harness/monitor"
)

// Limits of a request and of an answer.
const (
	mostHead   = 16 << 10 // bytes of the request line and the headers, for an answer as problem+json
	mostServer = 64 << 10 // the same, before the server itself refuses, in plain text
	mostBody   = 4 << 10
	patience   = 25 * time.Second // for a look at the database
	grace      = 10 * time.Second // for requests that are under way when all is to end
)

// Site answers requests; it is an [http.Handler], safe for concurrent use.
type Site struct {
	config  Config
	watches []monitor.Watch
	sums    []sum   // of the tokens' secrets, in their order
	guesses guesses // in headers
	typed   guesses // in the form of the page: an old script behind a proxy does not keep out people who come through it
	ended   ended
	answers answers
	origin  *http.CrossOriginProtection
	metrics *metrics
	page    *pageMaker

	repairing chan struct{} // holds one while a repair is under way
	streams   chan struct{} // holds one for each stream
	closing   chan struct{} // closed: streams end
	once      sync.Once
}

// New returns the site of a source.
func New(config Config) (*Site, error) {
	config, err := config.resolve()
	if err != nil {
		return nil, err
	}
	s := &Site{
		config: config, watches: config.Source.Watches(), origin: http.NewCrossOriginProtection(),
		repairing: make(chan struct{}, 1), streams: make(chan struct{}, mostStreams), closing: make(chan struct{}),
	}
	for _, t := range config.Tokens {
		s.sums = append(s.sums, sha256.Sum256([]byte(t.Secret)))
	}
	s.answers.boot, s.answers.most = rand.Text()[:8], 4<<20
	if s.page, err = newPageMaker(); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(s)
	return s, nil
}

// Server returns a server of the site with limits of size and time. Its Shutdown ends streams at once.
func (s *Site) Server() *http.Server {
	server := &http.Server{
		Handler:           s,
		MaxHeaderBytes:    mostServer,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       patience + 5*time.Second, // less would cut off who waits for a look: the server reads on to see who goes
		WriteTimeout:      patience + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(s.config.Log.Handler(), slog.LevelDebug),
	}
	server.RegisterOnShutdown(s.Close)
	return server
}

// Close ends streams at once, and all later ones.
func (s *Site) Close() { s.once.Do(func() { close(s.closing) }) }

// Serve serves the site until ctx is done, and returns when the requests that were under way have been answered; those that take more than 10 s more
// are cut off. It closes the listener.
func (s *Site) Serve(ctx context.Context, listener net.Listener) error {
	if at, ok := listener.Addr().(*net.TCPAddr); s.config.Open && (!ok || !at.IP.IsLoopback()) {
		return errors.Join(fmt.Errorf("web: %s is not on a loopback address, and nobody would be asked for a token; try 127.0.0.1, or giving tokens", listener.Addr()),
			listener.Close())
	}
	if s.readable(listener) {
		s.config.Log.Warn("whoever is on the way can read the tokens; try TLS, or behind_tls where a proxy in front has it", "at", listener.Addr().String())
	}
	server := s.Server()
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	select {
	case err := <-done:
		s.Close()
		return fmt.Errorf("web: serving %s: %w; try another address", listener.Addr(), err)
	case <-ctx.Done():
	}
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := server.Shutdown(patient)
	if err != nil {
		err = errors.Join(fmt.Errorf("web: requests were cut off after %s: %w", grace, err), server.Close())
	}
	if ended := <-done; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// readable reports whether tokens come over a network without TLS, as far as we are told.
func (s *Site) readable(listener net.Listener) bool {
	plain, ok := listener.(*net.TCPListener)
	if !ok || s.config.BehindTLS || len(s.config.Tokens) == 0 {
		return false
	}
	at, ok := plain.Addr().(*net.TCPAddr)
	return ok && !at.IP.IsLoopback()
}

// request is one request, and what is known of it.
type request struct {
	*http.Request
	who   caller
	route *route
	slice slice // of those that take one
	name  string
}

// ServeHTTP answers one request.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	out := &answer{ResponseWriter: w}
	q := &request{Request: r}
	defer func() {
		if caught := recover(); caught != nil {
			if caught == http.ErrAbortHandler { //nolint:errorlint // it is this very value
				panic(caught)
			}
			s.config.Log.Error("a request failed", "why", s.clean(fmt.Sprint(caught)), "stack", s.clean(string(debug.Stack())))
			if out.status == 0 {
				refuse(http.StatusInternalServerError, "fault", "Interlock made a mistake", "this should not happen; try the log of interlock, and telling us of it").write(out)
			}
		}
		s.finished(q, out, time.Since(started))
	}()
	header := out.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	if err := s.answer(out, q); err != nil {
		var p *problem
		if !errors.As(err, &p) {
			p = noAnswer(s.why(err.Error(), "again"))
		}
		if p.Status == http.StatusUnauthorized && q.route != nil && q.route.pattern == "/" && prefers(r, "text/html") {
			s.signIn(out, p, "")
			return
		}
		p.write(out)
	}
}

// answer lets a request through to its route, unless something is in the way.
func (s *Site) answer(w http.ResponseWriter, q *request) error {
	if headSize(q.Request) > mostHead {
		return refuse(http.StatusRequestHeaderFieldsTooLarge, "head-too-large", "The head of the request is too large",
			fmt.Sprintf("its address and headers are more than %d KiB; try fewer", mostHead>>10))
	}
	if s.config.Open && !toLoopback(q.Host) {
		return refuse(http.StatusMisdirectedRequest, "not-here", "This is not that host", "without tokens only this machine is answered; try http://127.0.0.1 or http://localhost")
	}
	if s.config.Open && proxied(q.Request) {
		return refuse(http.StatusMisdirectedRequest, "proxied", "This came through a proxy",
			"without tokens only this machine is answered, and whoever asks the proxy may be anywhere; try giving tokens, or http://127.0.0.1 without it")
	}
	q.route, q.name = find(q.URL.Path)
	who, wrong := s.identify(q.Request)
	q.who = who
	if q.route == nil || q.route.role(s.config) != "" {
		switch {
		case wrong != nil:
			return wrong
		case who.role == "":
			return noToken()
		case q.route == nil:
			return refuse(http.StatusNotFound, "not-found", "There is nothing here", "no such address; try /openapi.yaml for those there are")
		}
	}
	method := q.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if method != q.route.method {
		return refuse(http.StatusMethodNotAllowed, "method-not-allowed", "That cannot be done with it", "try "+q.route.allow()).with("Allow", q.route.allow())
	}
	if needed := q.route.role(s.config); needed != "" && !who.role.may(needed) {
		return refuse(http.StatusForbidden, "role", "The token is not good for that", fmt.Sprintf("it has the role %s; try a token with the role %s", who.role, needed)).
			with("WWW-Authenticate", `Bearer realm="interlock", error="insufficient_scope"`)
	}
	query, err := parameters(q.URL.RawQuery, q.route.query)
	if err != nil {
		return err
	}
	if len(q.route.query) > 0 {
		if q.slice, err = sliceOf(query); err != nil {
			return err
		}
	}
	if !accepts(q.Request, q.route.gives) {
		return refuse(http.StatusNotAcceptable, "not-acceptable", "It is not to be had like that", "try Accept: "+q.route.gives)
	}
	if method == http.MethodPost {
		if err := s.ours(q); err != nil {
			return err
		}
		q.Body = http.MaxBytesReader(w, q.Body, mostBody)
	}
	return q.route.do(s, w, q)
}

// ours refuses what a page of somebody else has a browser send. Those who are no browser send neither header, and need a token.
func (s *Site) ours(q *request) error {
	told := q.Header.Get("Sec-Fetch-Site") != "" || q.Header.Get("Origin") != ""
	if s.origin.Check(q.Request) != nil || q.who.session && !told {
		return refuse(http.StatusForbidden, "cross-origin", "Another page asked for that", "a browser may do it from a page of this server only; try there, or with a token")
	}
	return nil
}

// headSize is about as many bytes as the head of the request had.
func headSize(r *http.Request) int {
	size := len(r.Method) + len(r.RequestURI) + len(r.Host)
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value) + 4
		}
	}
	return size
}

// answer is a response that knows what was answered.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// finished logs and counts a request.
func (s *Site) finished(q *request, out *answer, took time.Duration) {
	pattern := "other"
	if q.route != nil {
		pattern = q.route.pattern
	}
	if out.status == 0 {
		out.status = http.StatusOK
	}
	s.metrics.request(pattern, q.Method, out.status, took)
	level := slog.LevelInfo
	switch {
	case out.status >= 500:
		level = slog.LevelWarn
	case pattern == "/healthz" || pattern == "/readyz" || pattern == "/metrics":
		level = slog.LevelDebug
	}
	if !s.config.Log.Enabled(q.Context(), level) {
		return
	}
	s.config.Log.LogAttrs(q.Context(), level, "request",
		slog.String("method", cut(q.Method, 20)), slog.String("path", cut(s.clean(q.URL.Path), 200)), slog.Int("status", out.status),
		slog.Duration("took", took), slog.String("token", q.who.name), slog.String("from", q.RemoteAddr))
}

// cut shortens text that somebody sent.
func cut(text string, most int) string {
	if len(text) > most {
		return text[:most] + "… (" + strconv.Itoa(len(text)) + " bytes)"
	}
	return text
}
