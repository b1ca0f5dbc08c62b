package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/xdg-go/scram"

	"github.com/interlock-pg/interlock/harness/internal/pause"
	"github.com/interlock-pg/interlock/harness/wire"
)

// Auth says who authenticates a client, and how.
type Auth string

// The ways to authenticate.
const (
	Pass     Auth = "pass"     // the server does: the client's own credentials go there
	Trust    Auth = "trust"    // nobody does
	Password Auth = "password" // the proxy asks for the password in clear text; where it has TLS, only on encrypted connections
	SCRAM    Auth = "scram"    // the proxy asks for it by SCRAM-SHA-256
)

// Config says where connections go and who may come.
type Config struct {
	// Server is where connections go, made by pgconn.ParseConfig. Where the proxy authenticates clients itself, its user and password are used, and its
	// runtime parameters are what clients' are put on top of. Its hosts are tried in their order; with Pass, the first that can be reached is
	// taken, whatever its target_session_attrs say.
	Server *pgconn.Config

	// Gate stands on every session. It may have others.
	Gate *wire.Gate

	// Auth is who authenticates clients. Empty: Pass.
	Auth Auth

	// User and Password are what clients must give where the proxy authenticates them. User empty: any.
	User, Password string

	// Database is what every client gets where the proxy authenticates them, whatever it asks for. Empty: Server's.
	Database string

	// TLS is offered to clients; nil: they are told that there is none.
	TLS *tls.Config

	// Parameters are set on every session, and are stronger than what the client asks for. Its options are kept, with these behind them.
	Parameters map[string]string

	// Name calls a session after what its client said. Nil: by its application_name, or if it has none, by its address.
	Name func(Hello) string

	// Lost is told of each connection that could not be served, in that connection's goroutine. One whose client leaves before it has a session is not
	// such a connection. Nil: nobody is.
	Lost func(error)
}

// Proxy is a listener whose connections are sessions of a gate. Its methods are safe for concurrent use.
type Proxy struct {
	config   Config
	listener net.Listener
	verifier *scram.Server // of passwords, by SCRAM
	context  context.Context
	stop     context.CancelFunc
	work     sync.WaitGroup
	closing  sync.Once
	closed   error

	mu       sync.Mutex
	over     bool          // nothing is added to the others any more
	waits    chan struct{} // closed when clients that connect are served again; nil: they are
	clients  map[net.Conn]bool
	sessions map[*wire.Session]place
}

// Listen listens for clients at an address of network "tcp" or "unix", until Close. A socket of "unix" is called .s.PGSQL. and a port number, in any
// directory, as clients expect it. The context is for the start only.
func Listen(ctx context.Context, network, address string, config Config) (*Proxy, error) {
	config.Auth = cmp.Or(config.Auth, Pass)
	if err := config.check(network, address); err != nil {
		return nil, fmt.Errorf("proxy at %s: %w", address, err)
	}
	p := &Proxy{config: config, clients: map[net.Conn]bool{}, sessions: map[*wire.Session]place{}}
	if config.Auth == SCRAM {
		var err error
		if p.verifier, err = newVerifier(config.Password); err != nil {
			return nil, fmt.Errorf("proxy at %s: %w", address, err)
		}
	}
	var err error
	if p.listener, err = new(net.ListenConfig).Listen(ctx, network, address); err != nil {
		return nil, fmt.Errorf("proxy: %w; try another address, or port 0 for any that is free", err)
	}
	p.context, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	p.work.Go(p.accept)
	return p, nil
}

var socketName = regexp.MustCompile(`^\.s\.PGSQL\.([0-9]+)$`)

// check reports all that is wrong with a configuration.
func (c *Config) check(network, address string) error {
	var errs []error
	wrong := func(is bool, text string) {
		if is {
			errs = append(errs, errors.New(text))
		}
	}
	wrong(c.Server == nil, "no server; try pgconn.ParseConfig with its connection string")
	wrong(c.Gate == nil, "no gate; try wire.New")
	known := slices.Contains([]Auth{Pass, Trust, Password, SCRAM}, c.Auth)
	wrong(!known, fmt.Sprintf("%q is no way to authenticate; try pass, trust, password or scram", c.Auth))
	asks := c.Auth == Password || c.Auth == SCRAM
	wrong(asks && c.Password == "", "no password to ask clients for; give one, or try trust")
	wrong(!asks && c.Password != "", "a password that nobody is asked for; try scram")
	wrong(c.Auth == Pass && c.User+c.Database != "", "a user or a database of its own, while clients' are passed on; try trust or scram")
	for _, name := range slices.Sorted(maps.Keys(c.Parameters)) {
		own := name == "" || name == "user" || name == "database" || name == "replication"
		wrong(own, fmt.Sprintf("parameter %q is no setting; try the configuration's own fields", name))
		wrong(strings.Contains(name+c.Parameters[name], "\x00"), fmt.Sprintf("parameter %q has a zero byte in it; try without", name))
	}
	wrong(!slices.Contains([]string{"tcp", "tcp4", "tcp6", "unix"}, network), fmt.Sprintf("%q is no network; try tcp or unix", network))
	wrong(network == "unix" && !socketName.MatchString(filepath.Base(address)), "clients look for a socket called .s.PGSQL.<port>; try .s.PGSQL.5432")
	wrong(network == "unix" && strings.Contains(address, ","), "clients take a comma for the end of a host's name; try another directory")
	return errors.Join(errs...)
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() net.Addr { return p.listener.Addr() }

// URL returns what clients of this proxy connect with, password included.
func (p *Proxy) URL() string {
	c := &p.config
	user, password, database := c.Server.User, c.Server.Password, c.Server.Database
	if c.Auth != Pass {
		user, password, database = cmp.Or(c.User, user), c.Password, cmp.Or(c.Database, database)
	}
	u := url.URL{Scheme: "postgres", User: url.User(user)}
	if password != "" {
		u.User = url.UserPassword(user, password)
	}
	if database != "" {
		u.Path = "/" + database
	}
	query := url.Values{"sslmode": {"disable"}}
	if c.TLS != nil {
		query.Set("sslmode", "require")
	}
	switch a := p.Addr().(type) {
	case *net.TCPAddr:
		host := a.IP.String()
		if a.IP.IsUnspecified() {
			host = "127.0.0.1"
		}
		u.Host = net.JoinHostPort(host, strconv.Itoa(a.Port))
	default:
		query.Set("host", filepath.Dir(a.String()))
		query.Set("port", socketName.FindStringSubmatch(filepath.Base(a.String()))[1])
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// Suspend has clients that connect from now on wait until what it returns is called, or Close. It is not to be called again before.
func (p *Proxy) Suspend() (resume func()) {
	waits := make(chan struct{})
	set := func(to chan struct{}) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.waits = to
	}
	set(waits)
	return func() {
		set(nil)
		close(waits)
	}
}

// Close stops listening, ends all sessions that came this way, held or not, and waits until nothing of the proxy runs any more. It is not to be
// called by the gate's events. Further calls do nothing and return what the first returned.
func (p *Proxy) Close() error {
	p.closing.Do(func() {
		p.mu.Lock()
		p.over = true
		clients, sessions := slices.Collect(maps.Keys(p.clients)), slices.Collect(maps.Keys(p.sessions))
		p.mu.Unlock()
		p.stop()
		p.closed = p.listener.Close()
		for _, c := range clients {
			_ = c.Close() // what cannot be closed is gone
		}
		for _, s := range sessions {
			_ = s.End()
		}
		p.work.Wait()
	})
	return p.closed
}

// How long the proxy waits before it accepts again, after it could not: twice as long each time.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

func (p *Proxy) accept() {
	wait := firstPause
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			p.lost(fmt.Errorf("proxy at %s: %w", p.Addr(), err)) // as when there are too many open files
			if pause.For(p.context, wait) != nil {
				return
			}
			wait = min(2*wait, lastPause)
			continue
		}
		wait = firstPause
		p.mu.Lock()
		if p.over {
			_ = conn.Close()
		} else {
			p.clients[conn] = true
			waits := p.waits
			p.work.Go(func() {
				if waits != nil {
					select {
					case <-waits:
					case <-p.context.Done():
					}
				}
				p.attend(conn)
			})
		}
		p.mu.Unlock()
	}
}

// attend serves a client to its end.
func (p *Proxy) attend(conn net.Conn) {
	c := &client{proxy: p, Conn: conn, address: conn.RemoteAddr()}
	if c.address.Network() == "unix" {
		c.address = p.Addr() // at a socket, clients have none
	}
	if err := c.serve(); err != nil {
		p.lost(fmt.Errorf("client at %s: %w", c.address, err))
	}
	_ = c.Close()
	_ = conn.Close()
	for _, s := range c.sessions {
		_ = s.Close() // if nobody has
		<-s.Ended()   // which, if a step of it is held, is when that has been released
		_ = s.End()
	}
	p.mu.Lock()
	delete(p.clients, conn)
	for _, s := range c.sessions {
		delete(p.sessions, s)
	}
	p.mu.Unlock()
}

func (p *Proxy) lost(err error) {
	if p.config.Lost != nil && p.context.Err() == nil {
		p.config.Lost(err)
	}
}
