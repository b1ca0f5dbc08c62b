package container

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	readyEvery    = 10 * time.Millisecond
	readyWithin   = time.Minute
	attemptWithin = 2 * time.Second
)

// address is where a server may be found.
type address struct {
	host string
	port uint16
}

func (a address) String() string { return net.JoinHostPort(a.host, strconv.Itoa(int(a.port))) }

// addresses returns where a container may answer. Which of them does depends on where the daemon runs and where we do: on the same machine,
// behind a virtual machine, in containers side by side. None of that can be told for sure from within, so they are tried.
func addresses(daemon string, n Network) []address {
	var all []address
	add := func(host string, port uint16) {
		a := address{host, port}
		if host != "" && port != 0 && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	add(n.IP, Port)
	add("127.0.0.1", n.HostPort)
	add(os.Getenv("TESTCONTAINERS_HOST_OVERRIDE"), n.HostPort)
	if u, err := url.Parse(daemon); err == nil && u.Scheme != "unix" {
		add(u.Hostname(), n.HostPort)
	}
	add(n.Gateway, n.HostPort)
	add("host.docker.internal", n.HostPort)
	return all
}

// reach asks at all addresses until the server answers at one of them, and returns how to connect to it there. Nobody else's server knows
// the password.
func reach(ctx context.Context, where []address, password string) (*pgx.ConnConfig, error) {
	base, err := pgx.ParseConfig("sslmode=disable target_session_attrs=any user=" + superuser + " dbname=" + superuser)
	if err != nil {
		return nil, err
	}
	base.Password, base.TLSConfig, base.Fallbacks, base.RuntimeParams = password, nil, nil, map[string]string{}

	ctx, cancel := context.WithTimeoutCause(ctx, readyWithin, fmt.Errorf("not ready after %v", readyWithin))
	defer cancel()
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	found := make(chan *pgx.ConnConfig, len(where))
	last := make([]error, len(where))
	for i, a := range where {
		config := base.Copy()
		config.Host, config.Port = a.host, a.port
		asking.Go(func() {
			if last[i] = ask(ctx, config); last[i] == nil {
				found <- config
			}
		})
	}
	select {
	case config := <-found:
		return config, nil
	case <-ctx.Done():
	}
	asking.Wait()
	if len(found) > 0 {
		return <-found, nil
	}
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, context.Cause(ctx)
	}
	var tried []string
	for i, a := range where {
		tried = append(tried, strings.Join(strings.Fields(fmt.Sprintf("%v: %v", a, last[i])), " "))
	}
	return nil, fmt.Errorf("%w; asked at %s", context.Cause(ctx), strings.Join(tried, "; "))
}

// ask connects until it works, or ctx ends, and then returns what the last attempt got.
func ask(ctx context.Context, config *pgx.ConnConfig) error {
	// The name is looked up once, which would take longer than anything else here.
	addrs, err := net.DefaultResolver.LookupHost(ctx, config.Host)
	if err != nil {
		return err
	}
	config.LookupFunc = func(context.Context, string) ([]string, error) { return addrs, nil }
	poll := time.NewTicker(readyEvery)
	defer poll.Stop()
	for {
		err := attempt(ctx, config)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-poll.C:
		}
	}
}

func attempt(ctx context.Context, config *pgx.ConnConfig) error {
	ctx, cancel := context.WithTimeout(ctx, attemptWithin)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "select 1")
	conn.Close(ctx)
	return err
}
