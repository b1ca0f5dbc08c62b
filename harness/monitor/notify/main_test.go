package notify

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/internal/clock/clocktest"
	"github.com/interlock-pg/interlock/harness/monitor"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		child()
		return
	}
	servertest.Main(m, func() error { return goleak.Find() })
}

const secret = "a secret that is long enough"

var base = time.Date(2026, 11, 10, 10, 0, 0, 0, time.UTC)

// result is a look so many minutes after the base, which found groups of two members.
func result(minute int, keys ...string) monitor.Result {
	r := monitor.Result{
		Watch:   monitor.Watch{Invariant: "S1", Name: "duplicate-sessions", Says: "A device has at most one open session."},
		Verdict: history.Held, Checked: base.Add(time.Duration(minute) * time.Minute), Version: uint64(minute + 1),
	}
	r.Tried = r.Checked
	for _, key := range keys {
		r.Verdict = history.Violated
		r.Groups = append(r.Groups, monitor.Group{Key: key, Members: 2, Since: r.Checked, Facts: json.RawMessage(`{"by": "me"}`)})
		r.Total++
		r.Members += 2
	}
	return r
}

// got is what a receiver got.
type got struct {
	Event
	header http.Header
	body   string
	status int // that it answered
}

// receiver takes messages over TCP.
type receiver struct {
	testing.TB
	*httptest.Server
	mu      sync.Mutex
	changed chan struct{} // closed at the next one
	all     []got
	answer  func(http.ResponseWriter, got) int // nil: 200
}

func receive(t testing.TB, answer func(http.ResponseWriter, got) int) *receiver {
	t.Helper()
	r := &receiver{TB: t, answer: answer, changed: make(chan struct{})}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return // killed in the middle
	}
	g := got{header: request.Header, body: string(body), status: http.StatusOK}
	if signature := request.Header.Get(SignatureHeader); signature != "" {
		if err := Verify(secret, signature, body, -1, time.Time{}); err != nil {
			r.Error(err)
		}
		if err := json.Unmarshal(body, &g.Event); err != nil {
			r.Error(err)
		}
		if g.ID != request.Header.Get(DeliveryHeader) || string(g.Type) != request.Header.Get(EventHeader) {
			r.Error("headers and body differ")
		}
	}
	if r.answer != nil {
		g.status = r.answer(w, g)
	}
	r.mu.Lock()
	r.all = append(r.all, g)
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
	if g.status == 0 {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(g.status)
}

// await returns all there is, once it is enough.
func (r *receiver) await(enough func([]got) bool) []got {
	r.Helper()
	deadline := time.After(30 * time.Second)
	for {
		r.mu.Lock()
		all, changed := slices.Clone(r.all), r.changed
		r.mu.Unlock()
		if enough(all) {
			return all
		}
		select {
		case <-changed:
		case <-deadline:
			r.Fatalf("only %d messages came: %v", len(all), types(all))
		}
	}
}

// told waits until what a look saw is told, or for so long.
func (r *receiver) told(seen time.Time, most time.Duration) {
	for end := time.After(most); ; {
		r.mu.Lock()
		told := slices.ContainsFunc(r.all, func(g got) bool { return g.status == http.StatusOK && g.Seen.Equal(seen) })
		changed := r.changed
		r.mu.Unlock()
		if told {
			return
		}
		select {
		case <-changed:
		case <-end:
			return
		}
	}
}

// awaitTypes waits until the messages that were taken are of these types, one after another.
func (r *receiver) awaitTypes(want ...Type) []got {
	r.Helper()
	all := r.await(func(all []got) bool { return len(taken(all)) >= len(want) })
	require.Equal(r, want, types(taken(all)))
	return taken(all)
}

func taken(all []got) []got {
	return slices.DeleteFunc(slices.Clone(all), func(g got) bool { return g.status != http.StatusOK })
}

func types(all []got) []Type {
	var out []Type
	for _, g := range all {
		out = append(out, g.Type)
	}
	return out
}

// quick tells a receiver at once, and tries again at once.
func quick(url string) Config {
	return Config{
		Destinations: []Destination{{Name: "ops", Kind: Webhook, URL: Hidden(url), Secret: secret}},
		Update:       -1, HealFor: -1, Backoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond, Pace: -1, Poll: 20 * time.Millisecond,
	}
}

// start makes a notifier, and runs it.
func start(t testing.TB, config Config, outbox Outbox) (n *Notifier, stop func()) {
	t.Helper()
	n, err := New(config, outbox)
	require.NoError(t, err)
	return n, run(t, n)
}

// run runs a notifier until stop, or the end of the test.
func run(t testing.TB, n *Notifier) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
	t.Cleanup(stop)
	return stop
}

// place is where an outbox is, to be opened more than once.
type place struct {
	Store
	kind string
}

func (p place) open(t testing.TB) Outbox {
	t.Helper()
	outbox, err := Open(t.Context(), p.Store)
	require.NoError(t, err)
	t.Cleanup(func() { outbox.Close() })
	return outbox
}

// everywhere runs a test with each kind of outbox.
func everywhere(t *testing.T, test func(*testing.T, place)) {
	t.Parallel()
	t.Run("table", func(t *testing.T) {
		t.Parallel()
		test(t, place{Store{Database: servertest.Database(t, "").Config("notify"), Create: true}, "table"})
	})
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		test(t, place{Store{File: filepath.Join(t.TempDir(), "state", "notify.json")}, "file"})
	})
}

// waiting counts the messages that wait for a destination.
func waiting(ctx context.Context, outbox Outbox, destination string) (n int, err error) {
	watches, err := outbox.Watches(ctx)
	for _, watch := range watches {
		here := 0
		err = errors.Join(err, outbox.Update(ctx, watch, func(b *Book) {
			here = 0
			for _, m := range b.Queue {
				if m.Destination == destination && !m.Dead {
					here++
				}
			}
		}))
		n += here
	}
	return n, err
}

// settled waits until nothing waits for any destination.
func settled(t testing.TB, outbox Outbox, destinations ...string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for _, d := range destinations {
		for {
			n, err := waiting(t.Context(), outbox, d)
			require.NoError(t, err)
			if n == 0 {
				break
			}
			require.True(t, time.Now().Before(deadline), "%d messages wait for %s", n, d)
		}
	}
}

// goOn moves again and again, until something came of it: who reads the clock and then waits may do so around a move.
func goOn(t testing.TB, clock *clocktest.Manual, by time.Duration, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "nothing comes of it")
		clock.Move(clock.Now().Add(by))
	}
}

// port returns an address where nobody listens, and a function that makes somebody.
func port(t testing.TB) (url string, listen func(http.Handler)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	return "http://" + address + "/", func(h http.Handler) {
		t.Helper()
		l, err := net.Listen("tcp", address)
		require.NoError(t, err)
		srv := &http.Server{Handler: h}
		done := make(chan error, 1)
		go func() { done <- srv.Serve(l) }()
		t.Cleanup(func() {
			require.NoError(t, srv.Close())
			if err := <-done; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
	}
}
