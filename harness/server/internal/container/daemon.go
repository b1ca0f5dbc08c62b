package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/interlock-pg/interlock/harness/server"
)

// daemonWithin is how long a daemon has to say that it lives. One that hangs is as good as none.
const daemonWithin = 2 * time.Second

// Daemon returns the address of a Docker daemon that answers: of the one that is configured, if this is not empty, or of DOCKER_HOST, or of
// the first socket there is. If none does, the error is a [*server.UnavailableError].
func Daemon(ctx context.Context, provider, configured string) (string, error) {
	address := cmp.Or(configured, os.Getenv("DOCKER_HOST"), socket())
	pinging, cancel := context.WithTimeoutCause(ctx, daemonWithin, fmt.Errorf("no answer after %v", daemonWithin))
	defer cancel()
	err := ping(pinging, address)
	switch {
	case err == nil:
		return address, nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s: looking for a daemon: %w", provider, context.Cause(ctx))
	case pinging.Err() != nil:
		err = context.Cause(pinging)
	}
	if cause := syscall.Errno(0); errors.As(err, &cause) { // what is around it only names the address again
		err = cause
	}
	try := "start Docker, or set DOCKER_HOST"
	if errors.Is(err, os.ErrPermission) {
		try = "join the group docker (sudo usermod -aG docker $USER, and log in again)"
	}
	return "", &server.UnavailableError{Provider: provider, Why: "no daemon at " + address, Err: err, Try: try}
}

// socket returns the first socket there is where daemons listen, rootless ones included; if there is none, the usual one.
func socket() string {
	if runtime.GOOS == "windows" {
		return "npipe:////./pipe/docker_engine"
	}
	const usual = "/var/run/docker.sock"
	places := []string{usual}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		places = append(places, filepath.Join(dir, "docker.sock"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		places = append(places, filepath.Join(home, ".docker", "run", "docker.sock"), filepath.Join(home, ".docker", "desktop", "docker.sock"))
	}
	places = append(places, filepath.Join("/run/user", strconv.Itoa(os.Getuid()), "docker.sock"))
	for _, place := range places {
		if _, err := os.Stat(place); err == nil {
			return "unix://" + place
		}
	}
	return "unix://" + usual
}

// ping has something at the address answer in HTTP, be it that it wants TLS. Addresses that need more than a dialer are taken on trust.
func ping(ctx context.Context, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	network, to := "tcp", u.Host
	switch u.Scheme {
	case "unix":
		network, to = "unix", u.Path
	case "tcp", "http", "https":
	default:
		return nil
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, to)
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/_ping", nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// inContainer tells whether this process seems to run in a container: then the host's loopback is not ours.
func inContainer() bool {
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); err == nil {
			return true
		}
	}
	return false
}

// hostIP returns the address of the daemon's host to publish the port on: its loopback, if it is ours too, so that nobody else gets at it.
func hostIP(daemon string) string {
	if u, err := url.Parse(daemon); err == nil && (u.Scheme == "unix" || u.Scheme == "npipe") && !inContainer() {
		return "127.0.0.1"
	}
	return ""
}
