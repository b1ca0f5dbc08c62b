package container

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/server"
)

const (
	superuser        = "postgres"
	passwordVariable = "POSTGRES_PASSWORD"

	// Label is on every container of ours; its value is the name of the container.
	Label = "interlock"
	// PIDLabel is another one; its value is the id of the process that the container is for.
	PIDLabel = "interlock.pid"

	createWithin = 30 * time.Second
	stopWithin   = 15 * time.Second
	sweepWithin  = 2 * time.Second
	staleAfter   = time.Minute
	shmSize      = 256 << 20

	// home is where images declare a volume, up to version 17 in data below it. Both are in memory, so that no volume is made.
	home = "/var/lib/postgresql"
)

// initArguments are those of initdb; see also package local. The locale C sorts the same everywhere. The cluster is written anew at every
// start, and small segments of its log are what can be saved there.
const initArguments = "-E UTF8 --locale=C --no-sync --wal-segsize=1"

//go:embed supervise.sh
var supervise string

// Start runs a server on behalf of a provider, which was called at started and has found a daemon. The engine is closed when the server stops.
func Start(ctx context.Context, provider string, started time.Time, daemon string, engine Engine, config server.Config) (_ *server.Server, err error) {
	r := &run{engine: engine}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.stop(context.WithoutCancel(ctx)))
		}
	}()
	image, err := findImage(ctx, provider, engine, config)
	if err != nil {
		return nil, err
	}
	spec := newSpec(image, daemon, config)
	if err := r.start(ctx, spec); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: starting %s: %w", provider, image, context.Cause(ctx))
		}
		return nil, &server.UnavailableError{Provider: provider, Why: "the daemon does not run " + image, Err: err, Try: "docker run --rm " + image}
	}
	var sweeping sync.WaitGroup
	defer sweeping.Wait()
	sweeping.Go(func() { sweep(ctx, engine) }) // which costs nothing while the server starts
	admin, err := r.ready(ctx, daemon, spec.Env[passwordVariable])
	if err != nil {
		return nil, fmt.Errorf("%s: waiting for %s: %w", provider, image, err)
	}
	config.Logf("%s: %s runs as %s, and answers at %s:%d", provider, image, spec.Name, admin.Host, admin.Port)
	return server.Open(ctx, server.Instance{Provider: provider, Where: image, Admin: admin, Owned: true, Started: started, Stop: r.stop})
}

// newSpec says what to run.
func newSpec(image, daemon string, config server.Config) Spec {
	name := "interlock-" + strings.ToLower(rand.Text()[:12])
	// Of two settings of one name the last one counts: the user's are stronger than ours, save for those that say where the server is.
	command := append([]string{"postgres", "-c", "max_wal_size=256MB"}, config.Arguments()...)
	command = append(command, "-c", "listen_addresses=*", "-c", "port="+strconv.Itoa(Port))
	return Spec{
		Name:       name,
		Image:      image,
		Entrypoint: []string{"sh", "-c", supervise, "interlock"},
		Command:    command,
		Env: map[string]string{
			"POSTGRES_USER":        superuser,
			passwordVariable:       rand.Text(),
			"POSTGRES_INITDB_ARGS": initArguments,
			"PGDATA":               home + "/data/interlock",
		},
		Labels:  map[string]string{Label: name, PIDLabel: strconv.Itoa(os.Getpid())},
		Tmpfs:   []string{home, home + "/data"},
		ShmSize: shmSize,
		HostIP:  hostIP(daemon),
	}
}

// run is a container, from before it is made to after it has gone.
type run struct {
	engine   Engine
	name     string
	tail     tail
	tether   *io.PipeWriter // to the standard input of the container: open as long as it is wanted
	attached Attachment     // zero at first
	answers  bool           // it has been ready
	stopping sync.Once
	err      error
}

// start makes the container, ties it to us, and only then starts it.
func (r *run) start(ctx context.Context, spec Spec) error {
	r.name = spec.Name
	// Whether a request that is given up has its effect nevertheless, nobody knows: this one is seen through.
	creating, cancel := context.WithTimeout(context.WithoutCancel(ctx), createWithin)
	defer cancel()
	id, err := r.engine.Create(creating, spec)
	if err != nil {
		return fmt.Errorf("creating a container: %w", err)
	}
	var in *io.PipeReader
	in, r.tether = io.Pipe()
	if r.attached, err = r.engine.Attach(ctx, id, in, &r.tail); err != nil {
		return fmt.Errorf("attaching to the container: %w", err)
	}
	if err := r.engine.Start(ctx, id); err != nil {
		return fmt.Errorf("starting the container: %w", err)
	}
	return nil
}

// ready waits until the server answers, and returns how to connect to it.
func (r *run) ready(ctx context.Context, daemon, password string) (_ *pgx.ConnConfig, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel(nil)
	watching.Go(func() {
		select {
		case <-r.attached.Ended:
			cancel(errors.New("it ended at once"))
		case <-ctx.Done():
		}
	})
	network, err := r.engine.Network(ctx, r.name) // of a container that has ended there is none: reach then ends at once
	if err != nil && !r.endsWithin(time.Second) {
		return nil, fmt.Errorf("looking for its address: %w", err)
	}
	admin, err := reach(ctx, addresses(daemon, network), password)
	if err != nil {
		return nil, fmt.Errorf("%w; the last it said: %s", err, &r.tail)
	}
	r.answers = true
	return admin, nil
}

// stop ends the container and waits until it is gone. Further calls return what the first one did. When the container had ended by itself,
// the error says so.
func (r *run) stop(ctx context.Context) error {
	r.stopping.Do(func() { r.err = errors.Join(r.end(ctx), r.engine.Close()) })
	return r.err
}

func (r *run) end(ctx context.Context) (err error) {
	if r.name == "" { // not even made
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, stopWithin, fmt.Errorf("still there after %v", stopWithin))
	defer cancel()
	if r.answers && r.endsWithin(0) {
		err = fmt.Errorf("container %s had ended before it was stopped; the last it said: %s", r.name, &r.tail)
	}
	if r.tether != nil {
		r.tether.Close()
	}
	if r.attached.Detach != nil {
		defer func() { r.attached.Detach(); <-r.attached.Ended }()
	}
	poll := time.NewTicker(readyEvery)
	defer poll.Stop()
	for {
		gone, failed := r.engine.Remove(ctx, r.name)
		if gone {
			break
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, fmt.Errorf("removing container %s: %w", r.name, context.Cause(ctx)), failed)
		case <-poll.C:
		}
	}
	return err
}

// endsWithin tells whether the container has ended, or does so within some time.
func (r *run) endsWithin(d time.Duration) bool {
	select {
	case <-r.attached.Ended:
	case <-time.After(d):
	}
	select {
	case <-r.attached.Ended:
		return true
	default:
		return false
	}
}

// sweep removes containers that were made and never started, because who made them was killed in between: there was nothing yet to tie
// them to it. It is a courtesy, and its errors are nobody's concern.
func sweep(ctx context.Context, engine Engine) {
	ctx, cancel := context.WithTimeout(ctx, sweepWithin)
	defer cancel()
	ids, err := engine.Leftovers(ctx, Label, time.Now().Add(-staleAfter))
	if err != nil {
		return
	}
	for _, id := range ids {
		engine.Remove(ctx, id) //nolint:errcheck // see above
	}
}

// tail keeps the last of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 2048

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if len(t.text) > 2*tailSize {
		t.text = append(t.text[:0], t.text[len(t.text)-tailSize:]...)
	}
	return len(p), nil
}

// String returns the last lines.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	text := strings.Join(lines[max(0, len(lines)-10):], "\n")
	if text == "" {
		return "nothing"
	}
	return text
}
