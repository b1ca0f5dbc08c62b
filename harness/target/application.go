package target

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/internal/pause"
	"github.com/interlock-pg/interlock/harness/race"
)

// Application is the application of a file, as a [race.System]: a program that is started, one that is running, or none, where all clients are
// commands. It is safe for concurrent use.
type Application struct {
	file *File

	building sync.Mutex
	built    bool
}

var (
	_ race.System   = (*Application)(nil)
	_ race.Instance = (*Instance)(nil)
)

func newApplication(f *File) *Application { return &Application{file: f} }

// Habits returns what the file says of the application for who leads it step by step.
func (a *Application) Habits() race.Habits {
	h := race.Habits{Listen: a.file.Listen(), Settle: a.file.Settle, Delay: a.file.Delay, Cold: !a.file.Warm()}
	h.Rehearsal = func() []race.Client { return a.file.scenario(a.file.contending(a.file.Count()), nil).Clients }
	for _, rule := range a.file.Background {
		h.Background = append(h.Background, race.Background{SQL: rule.SQL, Application: rule.ApplicationName, Freeze: rule.Do == Freeze})
	}
	return h
}

const (
	graceToEnd  = 5 * time.Second // for an application that is told to end
	portsTried  = 5
	buildWithin = 10 * time.Minute
)

// Start builds the application, if that has not been done, starts it on the database of a postgres:// URL, and waits until it is ready. One that
// is running already is only waited for.
func (a *Application) Start(ctx context.Context, databaseURL string) (race.Instance, error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("the application's database: %w", err)
	}
	p := a.file.Application
	if p == nil {
		return newInstance(a.file, databaseURL, config), nil
	}
	if err := a.build(ctx); err != nil {
		return nil, err
	}
	if len(p.Command) == 0 {
		in := newInstance(a.file, databaseURL, config)
		in.base = strings.TrimSuffix(p.URL, "/")
		if err := in.ready(ctx); err != nil {
			in.client.CloseIdleConnections()
			return nil, fmt.Errorf("the application at %s: %w; try starting it, or a command with which Interlock starts it", in.base, err)
		}
		return in, nil
	}
	for tried := 1; ; tried++ {
		in, err := a.launch(ctx, databaseURL, config)
		if err == nil {
			return in, nil
		}
		var taken *portTakenError
		if !errors.As(err, &taken) || tried == portsTried {
			return nil, err
		}
	}
}

// portTakenError says that somebody else has the port that an application was to have.
type portTakenError struct{ error }

func (e *portTakenError) Unwrap() error { return e.error }

// launch starts the command, on a port that was free a moment ago.
func (a *Application) launch(ctx context.Context, databaseURL string, config *pgx.ConnConfig) (_ race.Instance, err error) {
	p := a.file.Application
	in := newInstance(a.file, databaseURL, config)
	if in.port, err = reservePort(); err != nil {
		return nil, err
	}
	defer func() {
		if in.process == nil { // else its end releases it
			releasePort(in.port)
		}
	}()
	given := values{
		"port": marshal(in.port), "proxy_url": marshal(plainURL(databaseURL)), "proxy_host": marshal(config.Host), "proxy_port": marshal(config.Port),
		"proxy_user": marshal(config.User), "proxy_password": marshal(config.Password), "proxy_database": marshal(config.Database),
	}
	in.base = strings.TrimSuffix(given.fill(p.URL, nil), "/")
	if err := in.vacant(ctx); err != nil {
		return nil, err
	}
	command := make([]string, len(p.Command))
	for i, word := range p.Command {
		command[i] = given.fill(word, nil)
	}
	environment := inherited(nil)
	for _, name := range slices.Sorted(maps.Keys(p.Environment)) {
		environment = append(environment, name+"="+given.fill(p.Environment[name], nil))
	}
	if in.process, err = run(p.Directory, command, environment, graceToEnd); err != nil {
		return nil, fmt.Errorf("starting the application (%s): %w", strings.Join(p.Command, " "), err)
	}
	in.ended = in.process.ended
	if err := in.ready(ctx); err != nil {
		early := isClosed(in.process.ended)
		stopped := in.stop(context.WithoutCancel(ctx)) // its output is whole only then
		err = fmt.Errorf("starting the application (%s): %w: %s\ntry: the same in a terminal", strings.Join(p.Command, " "), err, in.output())
		err = errors.Join(err, stopped)
		text := strings.ToLower(in.process.output.text())
		if early && (strings.Contains(text, "eaddrinuse") || strings.Contains(text, "address already in use")) {
			err = &portTakenError{err}
		}
		return nil, err
	}
	return in, nil
}

// build runs the build command once.
func (a *Application) build(ctx context.Context) error {
	a.building.Lock()
	defer a.building.Unlock()
	p := a.file.Application
	if a.built || len(p.Build) == 0 {
		return nil
	}
	environment := inherited(forBuilds)
	for _, name := range slices.Sorted(maps.Keys(p.Environment)) {
		if found, _ := names(p.Environment[name]); len(found) == 0 {
			environment = append(environment, name+"="+p.Environment[name])
		}
	}
	said := strings.Join(p.Build, " ")
	process, err := run(p.Directory, p.Build, environment, graceToEnd)
	if err != nil {
		return fmt.Errorf("building the application (%s): %w", said, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, buildWithin, fmt.Errorf("not done after %v", buildWithin))
	defer cancel()
	select {
	case <-process.ended:
		err = process.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if stopped := process.stop(context.WithoutCancel(ctx), graceToEnd); err != nil || stopped != nil {
		err = errors.Join(err, stopped)
		return fmt.Errorf("building the application (%s): %w: %s\ntry: the same in %s", said, err, process.output.last(nil), p.Directory)
	}
	a.built = true
	return nil
}

// plainURL returns a postgres:// URL without sslmode, as the file's environment gets it: what follows {{proxy_url}} there is its query.
func plainURL(databaseURL string) string {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return databaseURL
	}
	query := u.Query()
	query.Del("sslmode")
	u.RawQuery = query.Encode()
	return u.String()
}

// reserved are the ports that applications of this process have, or will have as soon as they listen.
var reserved sync.Map

// reservePort returns a port on which nobody listens now, and which no other application of this process will be given before it is released.
func reservePort() (int, error) {
	for {
		port, err := freePort()
		if err != nil {
			return 0, err
		}
		if _, taken := reserved.LoadOrStore(port, true); !taken {
			return port, nil
		}
	}
}

func releasePort(port int) { reserved.Delete(port) }

// freePort returns a port on which nobody listens now.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("a port for the application: %w", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}

// Variables of ours that a program gets: those without which programs do not work. What else is in our environment, such as DATABASE_URL or PGHOST,
// could lead it to another database.
var (
	forPrograms = []string{
		"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
		"JAVA_HOME", "GOCACHE", "GOPATH", "GOROOT", "GOTOOLCHAIN", "VIRTUAL_ENV", "GEM_HOME", "GEM_PATH", "NVM_DIR",
	}
	forBuilds = []string{
		"GOMODCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOFLAGS",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
		"SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "PIP_INDEX_URL", "CARGO_HOME", "RUSTUP_HOME", "MAVEN_OPTS", "GRADLE_USER_HOME",
	}
)

// inherited returns the variables of ours that a program gets, with more of them.
func inherited(more []string) []string {
	var environment []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		npm := more != nil && strings.HasPrefix(strings.ToLower(name), "npm_config_")
		if npm || slices.Contains(forPrograms, name) || slices.Contains(more, name) {
			environment = append(environment, entry)
		}
	}
	return environment
}

// Instance is an application that takes requests.
type Instance struct {
	file     *File
	base     string // of its URLs, without a slash at the end. Empty: there is no application
	port     int    // that was reserved for it; 0: none
	database string // the URL
	secrets  []string
	client   *http.Client
	process  *process      // nil: it was running already
	ended    chan struct{} // closed when it has ended, or has been closed

	closing sync.Once
	closed  error
}

func newInstance(f *File, databaseURL string, config *pgx.ConnConfig) *Instance {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	// Without a proxy. A connection that the application gives up for being idle, as Node does after 5 s and others sooner, would look like a lost answer.
	transport := &http.Transport{MaxIdleConnsPerHost: 1000, IdleConnTimeout: time.Second, Protocols: protocols, DisableCompression: true}
	inURL := strings.TrimPrefix(url.UserPassword("", config.Password).String(), ":")
	return &Instance{
		file: f, database: databaseURL, secrets: []string{config.Password, inURL, url.QueryEscape(config.Password)},
		ended: make(chan struct{}),
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// output returns the last lines that the application wrote.
func (in *Instance) output() string { return in.process.output.last(in.secrets) }

// URL returns where the application answers; empty where there is none.
func (in *Instance) URL() string { return in.base }

// Output returns the end of what the application wrote to its standard output and error, without the password of its database. It is empty for
// one that was running already.
func (in *Instance) Output() string {
	if in.process == nil {
		return ""
	}
	return in.output()
}

// vacant returns an error if somebody takes connections where the application, which has not been started, is to answer: who answers there later would be
// taken for it.
func (in *Instance) vacant(ctx context.Context) error {
	u, err := url.Parse(in.base)
	if err != nil {
		return fmt.Errorf("the application's url: %w; try http://127.0.0.1:{{port}}", err)
	}
	address := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), u.Scheme))
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil //nolint:nilerr // nobody is there
	}
	err = fmt.Errorf("somebody is at %s already, who would be taken for the application; try ending that, or http://127.0.0.1:{{port}} as url", in.base)
	return &portTakenError{errors.Join(err, conn.Close())}
}

// ready waits until the application takes requests.
func (in *Instance) ready(ctx context.Context) error {
	within, path := in.file.Application.Ready.Within, in.file.Application.Ready.Path
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("not ready after %v", within))
	defer cancel()
	go func() { // an end of the application ends the request under way
		select {
		case <-in.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	var last error
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		ok, err := in.isReady(ctx, path)
		switch {
		case isClosed(in.ended):
			return fmt.Errorf("it ended before it was ready: %s", exit(in.process.err))
		case ok:
			return nil
		case err != nil && ctx.Err() == nil:
			last = err
		}
		if pause.For(ctx, wait) == nil {
			continue
		}
		if isClosed(in.ended) {
			continue
		}
		if last != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), last)
		}
		return context.Cause(ctx)
	}
}

// isReady asks once.
func (in *Instance) isReady(ctx context.Context, path string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, in.base+path, nil)
	if err != nil {
		return false, err
	}
	res, err := in.client.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, longestAnswer)) //nolint:errcheck // the status has been read
	if path == "" || res.StatusCode/100 == 2 {
		return true, nil
	}
	return false, fmt.Errorf("GET %s is answered %s", path, status(res.StatusCode))
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// exit says how a process ended.
func exit(err error) string {
	if err == nil {
		return "exit status 0"
	}
	if strings.Contains(err.Error(), "exit status 127") {
		return "exit status 127, which a shell uses for a program that is not there"
	}
	return err.Error()
}

// Reset sends the file's reset request, if there is one.
func (in *Instance) Reset(ctx context.Context) error {
	call := in.file.Reset.Request
	if call == nil {
		return nil
	}
	r := resolve(*call, in.file.Headers, nil, values{})
	a, err := in.send(ctx, r, nil)
	switch {
	case err != nil && ctx.Err() != nil:
		err = context.Cause(ctx)
	case err == nil && a.code/100 != 2:
		err = a.err()
	}
	if err != nil {
		return fmt.Errorf("resetting the application: %s %s: %w; try the request while the application runs", r.Method, r.Path, err)
	}
	return nil
}

// Ended is closed when the application has ended by itself, and by Close.
func (in *Instance) Ended() <-chan struct{} { return in.ended }

// Close ends the application, if it was started, and waits until nothing of it is left.
func (in *Instance) Close(ctx context.Context) error {
	in.closing.Do(func() {
		early := in.process != nil && isClosed(in.ended)
		in.closed = in.stop(ctx)
		switch {
		case in.process == nil:
			close(in.ended)
		case early:
			err := fmt.Errorf("the application ended by itself: %s: %s\ntry: its own log", exit(in.process.err), in.output())
			in.closed = errors.Join(err, in.closed)
		}
	})
	return in.closed
}

func (in *Instance) stop(ctx context.Context) error {
	in.client.CloseIdleConnections()
	if in.process == nil {
		return nil
	}
	if err := in.process.stop(ctx, graceToEnd); err != nil {
		return fmt.Errorf("ending the application (process %d): %w", in.process.pid(), err)
	}
	releasePort(in.port)
	return nil
}
