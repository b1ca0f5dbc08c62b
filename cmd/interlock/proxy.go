package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/term"

	"github.com/interlock-pg/interlock/harness/desk"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/proxy"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/wire"
	"github.com/interlock-pg/interlock/migrations"
	"github.com/interlock-pg/interlock/reports"
)

type proxyCommand struct {
	Listen   string         `help:"Where clients connect. Default: 127.0.0.1:6432, or nowhere but at --unix; port 0 is any that is free." placeholder:"HOST:PORT" group:"Clients"`
	Unix     string         `help:"Listen at a socket in this directory as well, or, without --listen, instead." placeholder:"DIR" group:"Clients"`
	Auth     string         `help:"Who authenticates clients: pass (the server does), or the proxy: trust (nobody is asked), password, scram. Their password is INTERLOCK_PROXY_PASSWORD in the environment, or else made up and printed. Default: pass with --to, else scram." enum:",pass,trust,password,scram" default:"" placeholder:"HOW" group:"Clients"`
	TLS      string         `help:"'self': offer clients TLS, with a certificate that is made for this run." name:"tls" enum:",self" default:"" placeholder:"self" group:"Clients"`
	TLSCert  string         `help:"Offer clients TLS with this certificate." name:"tls-cert" placeholder:"FILE" group:"Clients"`
	TLSKey   string         `help:"Its key." name:"tls-key" placeholder:"FILE" group:"Clients"`
	To       string         `help:"Where the connections go: a database of yours, in which Interlock itself writes nothing. Default: a fresh one, as --postgres says." placeholder:"DSN"`
	Hold     bool           `help:"Hold each step, until standard input says to let it go."`
	Patience *time.Duration `help:"With --hold: how long a command waits until its effect is seen and, when it is not typed at a terminal, until its session holds a step. Default: 10s." placeholder:"DURATION"`
	schema
	At int64 `help:"Stop at this migration; without --migrations, one of Interlock's own. Default: the last of DIR; none without." placeholder:"VERSION" group:"Migrations"`
}

// proxyPassword names the variable with the password that clients must give. As a flag, everybody on the machine could read it.
const proxyPassword = "INTERLOCK_PROXY_PASSWORD"

func (c *proxyCommand) Run(ctx context.Context, out *output, pg *postgres) (err error) {
	if err := c.check(out); err != nil {
		return err
	}
	encrypted, err := c.encryption()
	if err != nil {
		return err
	}
	to, err := c.destination(ctx, out, pg)
	if err != nil {
		return err
	}
	if to.server != nil {
		defer func() { err = errors.Join(err, to.server.Stop(context.WithoutCancel(ctx))) }()
	}
	d, err := desk.Open(ctx, c.desk(out, to))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close(ctx)) }()
	config := proxy.Config{
		Server: &to.clients.Config, Gate: d.Gate(), Auth: proxy.Auth(c.Auth), TLS: encrypted, Name: d.Name, Lost: func(err error) { c.trouble(out, err) },
	}
	madeUp := false
	if config.Auth == proxy.Password || config.Auth == proxy.SCRAM {
		if config.Password = os.Getenv(proxyPassword); config.Password == "" {
			config.Password, madeUp = rand.Text(), true
		}
	}
	listeners, err := c.listen(ctx, config)
	defer func() {
		for _, p := range listeners {
			err = errors.Join(err, p.Close())
		}
	}()
	if err != nil {
		return err
	}
	c.announce(out, to, listeners, madeUp)
	if !c.Hold {
		<-ctx.Done()
		return ctx.Err()
	}
	return d.Serve(ctx, lines(os.Stdin))
}

// check says what was mistyped, and fills in what was left to us.
func (c *proxyCommand) check(out *output) error {
	if c.Auth == "" {
		c.Auth = string(proxy.SCRAM) // who gets in is a superuser, which is as good as who runs the proxy
		if c.To != "" {
			c.Auth = string(proxy.Pass)
		}
	}
	if c.Listen == "" && c.Unix == "" {
		c.Listen = "127.0.0.1:" + proxyPort
	}
	host, _, err := net.SplitHostPort(cmp.Or(c.Listen, "localhost:"+proxyPort))
	asks := c.Auth == string(proxy.Password) || c.Auth == string(proxy.SCRAM)
	encrypts := c.TLS != "" || c.TLSCert != ""
	switch {
	case err != nil:
		return usage("--listen %s: %w; try --listen 127.0.0.1:%s", c.Listen, err, proxyPort)
	case c.Auth == string(proxy.Trust) && !isLoopback(host):
		return usage("--listen %s: --auth trust would let in everybody who reaches this machine; try --auth scram, or --listen 127.0.0.1:%s",
			c.Listen, proxyPort)
	case c.Auth == string(proxy.Password) && !isLoopback(host) && !encrypts:
		return usage("--listen %s: --auth password would send passwords over the network in clear text; try --auth scram, or --tls self", c.Listen)
	case c.To != "" && !isDSN(c.To):
		return usage("--to %s: no DSN; try --to postgres://user@host/database, or --postgres %s", c.To, c.To)
	case c.To != "" && (c.Migrations != "" || c.Layout != "" || c.At != 0):
		return usage("--migrations, --layout and --at are for a fresh database, and --to is one of yours; try one of them")
	case c.Patience != nil && *c.Patience <= 0:
		return usage("--patience must be more than 0; try --patience 10s")
	case c.Patience != nil && !c.Hold:
		return usage("--patience is how long commands wait, and there are none; try it with --hold")
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return usage("--tls-cert and --tls-key go together; try both, or --tls self")
	case c.TLS != "" && c.TLSCert != "":
		return usage("--tls self makes a certificate, and --tls-cert is one; try one of them")
	case encrypts && c.Listen == "":
		return usage("clients do not ask for TLS at the socket of --unix; try --listen 127.0.0.1:%s as well", proxyPort)
	case out.Quiet && c.Hold:
		return usage("--hold tells what is held, and --quiet tells nothing; try one of them")
	case out.Quiet && asks && os.Getenv(proxyPassword) == "":
		return usage("with --quiet, a password that was made up is not seen; try setting %s", proxyPassword)
	case out.HTML != "":
		return usage("the proxy writes no report; try it without --html, or --json for a trace that programs read")
	}
	return nil
}

const proxyPort = "6432"

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// encryption returns what clients are offered; nil: nothing.
func (c *proxyCommand) encryption() (*tls.Config, error) {
	switch {
	case c.TLS != "":
		hosts := []string{"localhost", "127.0.0.1", "::1"}
		if host, _, err := net.SplitHostPort(c.Listen); err == nil && host != "" && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
		return proxy.SelfSigned(hosts...)
	case c.TLSCert != "":
		pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, usage("--tls-cert %s: %w; try both as PEM files, or --tls self", c.TLSCert, err)
		}
		return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"postgresql"}}, nil
	}
	return nil, nil
}

// destination is where connections go.
type destination struct {
	clients *pgx.ConnConfig
	control *pgx.ConnConfig // for ourselves
	server  *server.Server  // if it is ours; nil: it is the user's
	says    string
}

// destination returns the database of --to, or starts a server and makes one.
func (c *proxyCommand) destination(ctx context.Context, out *output, pg *postgres) (destination, error) {
	if c.To != "" {
		theirs, err := pgx.ParseConfig(c.To)
		if err != nil {
			// What pgx quotes, and its reason in brackets, may have a password in them that is not encoded as it must be.
			_, says, _ := strings.Cut(err.Error(), "`: ")
			says, _, _ = strings.Cut(says, " (")
			return destination{}, usage("--to is not understood: %s; try postgres://user@host:5432/database, with special characters percent-encoded", says)
		}
		to := destination{clients: theirs, control: theirs.Copy()}
		to.control.RuntimeParams["application_name"] = "interlock proxy"
		to.control.RuntimeParams["default_transaction_read_only"] = "on"
		return to, nil
	}
	provider, err := pg.provider()
	if err != nil {
		return destination{}, err
	}
	set, version, err := c.wanted()
	if err != nil {
		return destination{}, err
	}
	srv, err := provider.Start(ctx, pg.config(out))
	if err != nil {
		return destination{}, err
	}
	to := destination{server: srv, says: fmt.Sprintf("postgres %s, %s, ready in %s", srv.Release, srv.Provider, history.Duration(srv.Ready).Short())}
	db, err := srv.Blank().Database(ctx)
	if err == nil && version != 0 {
		_, err = set.Apply(ctx, db.Config("migrations"), version)
		to.says += fmt.Sprintf(" · migration %d", version)
	}
	if err != nil {
		return destination{}, errors.Join(err, srv.Stop(context.WithoutCancel(ctx)))
	}
	to.clients, to.control = db.Config("client"), srv.Config(db.Name, "proxy")
	return to, nil
}

// wanted returns the migrations that a fresh database gets; version 0: none.
func (c *proxyCommand) wanted() (set migrations.Set, version int64, err error) {
	own, err := c.open()
	switch {
	case err != nil:
		return set, 0, err
	case c.At == 0 && c.Migrations == "":
		return own.Set, 0, nil
	case c.At == 0:
		versions := own.Versions()
		return own.Set, versions[len(versions)-1], nil
	}
	_, err = own.stages(c.At)
	return own.Set, c.At, err
}

// desk says what is told of the sessions, and how.
func (c *proxyCommand) desk(out *output, to destination) desk.Config {
	config := desk.Config{Hold: c.Hold, Trouble: func(err error) { c.trouble(out, err) }}
	if c.Patience != nil {
		config.Patience = *c.Patience
	}
	if out.Quiet {
		return config
	}
	config.Trace, config.JSON, config.Control = out.stdout, out.JSON, to.control
	if out.JSON {
		config.Answers = out.stderr
	}
	if isTerminal(out.stdout) {
		config.Width = max(out.style().Width, 80)
	}
	config.Script = !term.IsTerminal(int(os.Stdin.Fd()))
	if out.Redact {
		config.Redact = new(liveRedactor).event
	}
	return config
}

// listen opens the listeners. Those that are open are returned with an error, too.
func (c *proxyCommand) listen(ctx context.Context, config proxy.Config) (all []*proxy.Proxy, err error) {
	port := proxyPort
	if c.Listen != "" {
		p, err := proxy.Listen(ctx, "tcp", c.Listen, config)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
		if _, port, err = net.SplitHostPort(p.Addr().String()); err != nil {
			return all, err
		}
	}
	if c.Unix != "" {
		dir, err := filepath.Abs(c.Unix)
		if err != nil {
			return all, err
		}
		path := filepath.Join(dir, ".s.PGSQL."+port)
		if err := removeDead(ctx, path); err != nil {
			return all, err
		}
		config.TLS = nil // clients do not ask for it at a socket
		p, err := proxy.Listen(ctx, "unix", path, config)
		if err != nil {
			return all, err
		}
		all = append(all, p)
	}
	return all, nil
}

// removeDead removes a socket at which nobody listens, as one that was killed leaves it.
func removeDead(ctx context.Context, path string) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
	if err == nil {
		return conn.Close()
	}
	if info, statErr := os.Lstat(path); errors.Is(err, syscall.ECONNREFUSED) && statErr == nil && info.Mode().Type() == os.ModeSocket {
		return os.Remove(path)
	}
	return nil
}

// announce says where clients connect.
func (c *proxyCommand) announce(out *output, to destination, listeners []*proxy.Proxy, madeUp bool) {
	w := out.stdout
	switch {
	case out.Quiet:
		return
	case out.JSON:
		w = out.stderr
	}
	if to.says != "" {
		fmt.Fprintln(w, to.says)
	}
	for _, p := range listeners {
		at := p.URL()
		if !madeUp {
			at = redact(at)
		}
		fmt.Fprintf(w, "listening; clients connect to %s\n", at)
	}
	if c.Hold {
		fmt.Fprintln(w, desk.Help)
	}
}

// trouble tells of what ends nothing.
func (c *proxyCommand) trouble(out *output, err error) {
	if out.Quiet {
		return
	}
	says := redact(err.Error())
	if out.Redact {
		new(reports.Live).Hide(reports.Texts{Sentences: []*string{&says}})
	}
	fmt.Fprintf(out.stderr, "interlock: %s\n", says)
}

// lines returns the lines of a file. Who reads them cannot be interrupted: it ends with the program.
func lines(f *os.File) <-chan string {
	all := make(chan string)
	go func() {
		defer close(all)
		for scanner := bufio.NewScanner(f); scanner.Scan(); {
			all <- strings.ToValidUTF8(scanner.Text(), "?")
		}
	}()
	return all
}

// liveRedactor hides the values of events.
type liveRedactor struct{ live reports.Live }

func (l *liveRedactor) event(e wire.Event) wire.Event {
	texts := reports.Texts{SQL: []*string{&e.Step.SQL}, Sentences: []*string{&e.Result.Message, &e.Notice.Message, &e.Notice.Detail}}
	e.Step.Passed = slices.Clone(e.Step.Passed)
	for i := range e.Step.Passed {
		texts.SQL = append(texts.SQL, &e.Step.Passed[i])
	}
	e.Step.Parameters = slices.Clone(e.Step.Parameters)
	for i := range e.Step.Parameters {
		if p := &e.Step.Parameters[i]; !p.Null {
			*p = wire.Parameter{Text: p.String(), Type: p.Type}
			texts.Values = append(texts.Values, &p.Text)
		}
	}
	rows := make([][]*string, len(e.Result.Values))
	for i, row := range e.Result.Values {
		rows[i] = make([]*string, len(row))
		for j, value := range row {
			if value != nil {
				hidden := *value
				rows[i][j] = &hidden
				texts.Values = append(texts.Values, &hidden)
			}
		}
	}
	if e.Result.Values != nil {
		e.Result.Values = rows
	}
	l.live.Hide(texts)
	return e
}
