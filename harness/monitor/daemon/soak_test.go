//go:build unix

package daemon_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/monitor/notify"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// Under load, Postgres is restarted, crashes, is cut off, is slow, ends sessions, is locked, and becomes read only, again and again, for as many looks as
// there are in an hour by default. Whoever asks is answered all the time, /readyz tells, everything recovers by itself, people are told once, and nothing
// piles up. In short, there are fewer looks, and the network is what fails.
func TestSoak(t *testing.T) {
	looks := 20
	if servertest.Thorough() {
		looks = 360 // an hour, every 10 s
	}
	s := soak(t)
	goroutines, connections := s.calm(0, 0)
	stop := s.load()
	outages := []func(){s.heldUp, s.slowed}
	if servertest.Thorough() {
		outages = append(outages, s.restarted, s.crashed, s.endedSessions, s.readOnly, s.locked, s.forgotten, s.restarted, s.heldUp, s.crashed)
	}
	for i, outage := range outages {
		outage()
		s.ready(http.StatusOK)
		require.Equal(t, devices, s.total("duplicate-sessions"))
		enough := func() bool { return s.looks() >= looks*(i+1)/len(outages) }
		require.Eventually(t, enough, 5*time.Minute, 5*time.Millisecond, "looks go on; on a busy machine each is slow, and they keep to a tenth of the time")
	}
	stop()
	s.calm(goroutines, connections)
	require.Zero(t, s.refused.Load(), "of %d requests", s.asked.Load())
	require.Positive(t, s.asked.Load())
	observe(t, "both have been told", func() bool { types, slack := s.receiver.told(); return len(types) > 0 && len(slack) > 0 })
	types, slack := s.receiver.told()
	require.Equal(t, []notify.Type{notify.Broke}, types)
	require.Len(t, slack, 1)
	require.Contains(t, s.log.String(), "mode=dry-run")
	t.Logf("%d requests were answered, from %d looks", s.asked.Load(), s.looks())
}

// soaked is a daemon, what it watches, and what is in between.
type soaked struct {
	*running
	t        *testing.T
	cluster  *servertest.Cluster
	database *pgx.ConnConfig // not through the relay
	relay    *relay
	receiver *receiver

	asked, refused atomic.Int64
	mu             sync.Mutex
	checked        map[string]bool // when looks began that were answered with
}

func soak(t *testing.T) *soaked {
	c := servertest.NewCluster(t)
	config, err := pgx.ParseConfig(c.DSN())
	require.NoError(t, err)
	require.NoError(t, migrate(t.Context(), config))
	s := &soaked{t: t, cluster: c, database: config, relay: listen(t, filepath.Join(c.Dir, ".s.PGSQL.5432")), receiver: receive(t), checked: map[string]bool{}}
	t.Setenv("TEST_SLACK", s.receiver.URL+"/services/T0/B0/secret")
	t.Setenv("TEST_WEBHOOK", s.receiver.URL+"/hook")
	t.Setenv("TEST_WEBHOOK_SECRET", secret)
	through := config.Copy()
	through.Host, through.Port = "127.0.0.1", uint16(s.relay.Addr().(*net.TCPAddr).Port)
	s.running = start(t, through, "public: {health: true}\nrepair: {mode: dry-run, schedule: \"@every 1s\"}"+told)
	s.ready(http.StatusOK)
	observe(t, "a repair was planned", func() bool { return strings.Contains(s.log.String(), "mode=dry-run") })
	return s
}

// calm waits until nothing is under way, and there are no more goroutines of ours, nor sessions on the server, than that. 0: as many as there may be.
func (s *soaked) calm(goroutines, connections int) (int, int) {
	s.t.Helper()
	conn, err := pgx.ConnectConfig(s.t.Context(), s.database)
	require.NoError(s.t, err)
	defer conn.Close(s.t.Context())
	var seen, sessions int
	observe(s.t, "nothing piles up", func() bool {
		http.DefaultClient.CloseIdleConnections()
		seen = runtime.NumGoroutine()
		require.NoError(s.t, conn.QueryRow(s.t.Context(), `select count(*) from pg_stat_activity where application_name like 'interlock%'`).Scan(&sessions))
		return (goroutines == 0 || seen <= goroutines) && (connections == 0 || sessions <= connections)
	})
	require.LessOrEqual(s.t, sessions, 7, "one for each watch, and one for indexes; two of the outbox, and two of a repair")
	return seen, sessions
}

// load has four ask all the time, until what it returns is called.
func (s *soaked) load() (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				s.ask(ctx)
			}
		})
	}
	stop = func() {
		cancel()
		all.Wait()
	}
	s.t.Cleanup(stop)
	return stop
}

// ask asks once, and notes how old the answer is.
func (s *soaked) ask(ctx context.Context) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"api/monitoring/duplicate-sessions?limit=10", nil)
	if err != nil {
		s.t.Error(err)
		return
	}
	q.Header.Set("Authorization", "Bearer a-token-that-may-read")
	answer, err := http.DefaultClient.Do(q)
	if err == nil {
		_, err = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
	}
	switch {
	case ctx.Err() != nil: // it was broken off
		return
	case err != nil || answer.StatusCode != http.StatusOK:
		s.refused.Add(1)
	}
	s.asked.Add(1)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.checked[answer.Header.Get("Interlock-Checked")] = true
	}
}

// looks returns how many different looks were answered with.
func (s *soaked) looks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.checked)
}

// ready waits until /readyz says so, for longer than a look may take that nobody answers.
func (s *soaked) ready(want int) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { status, _ := s.running.ask(http.MethodGet, "/readyz", "", ""); return status == want }, time.Minute, time.Millisecond,
		"waiting until /readyz is %d", want)
}

// writable reports whether /readyz says that the database is there, and whether it can be written to.
func (s *soaked) writable() (ready, writable bool) {
	status, body := s.running.ask(http.MethodGet, "/readyz", "", "")
	var health struct {
		ReadOnly bool `json:"read_only"`
	}
	if status == http.StatusOK {
		require.NoError(s.t, json.Unmarshal([]byte(body), &health))
	}
	return status == http.StatusOK, !health.ReadOnly
}

func (s *soaked) admin(statements ...string) {
	s.t.Helper()
	conn, err := pgx.ConnectConfig(s.t.Context(), s.database)
	require.NoError(s.t, err)
	defer conn.Close(s.t.Context())
	for _, sql := range statements {
		_, err = conn.Exec(s.t.Context(), sql)
		require.NoError(s.t, err, sql)
	}
}

func (s *soaked) restarted() {
	s.cluster.Stop(s.t, "fast")
	s.ready(http.StatusServiceUnavailable)
	s.cluster.Start(s.t)
}

func (s *soaked) crashed() {
	s.cluster.Stop(s.t, "immediate")
	s.ready(http.StatusServiceUnavailable)
	s.cluster.Start(s.t)
}

// heldUp has nothing come through in either direction, nor anybody connect, for a while.
func (s *soaked) heldUp() {
	s.relay.hold()
	s.ready(http.StatusServiceUnavailable)
	s.relay.release()
}

// forgotten has something in between forget the connections: the server hears that they are over, and we never hear anything.
func (s *soaked) forgotten() {
	s.relay.forget()
	s.ready(http.StatusServiceUnavailable)
}

// slowed has all take so long that looks at set times do not come when they are due.
func (s *soaked) slowed() {
	s.relay.slow(100 * time.Millisecond)
	s.ready(http.StatusServiceUnavailable)
	s.relay.slow(0)
}

func (s *soaked) endedSessions() {
	s.admin(`select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name like 'interlock%'`)
}

func (s *soaked) readOnly() {
	s.admin(`alter system set default_transaction_read_only = on`, `select pg_reload_conf()`)
	observe(s.t, "read only is told", func() bool { ready, writable := s.writable(); return ready && !writable })
	s.admin(`set default_transaction_read_only = off`, `alter system reset default_transaction_read_only`, `select pg_reload_conf()`)
	observe(s.t, "and that it is over", func() bool { ready, writable := s.writable(); return ready && writable })
}

func (s *soaked) locked() {
	conn, err := pgx.ConnectConfig(s.t.Context(), s.database)
	require.NoError(s.t, err)
	defer conn.Close(s.t.Context())
	_, err = conn.Exec(s.t.Context(), `begin; lock table aedpics.inspection_sessions`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(s.t, err)
	s.ready(http.StatusServiceUnavailable)
	observe(s.t, "an answer is there all the same, and says why", func() bool { return strings.Contains(s.get("/api/invariants/S1"), "55P03") })
}

// relay is a network between us and a server, which may fail.
type relay struct {
	net.Listener
	socket string
	work   sync.WaitGroup

	mu    sync.Mutex
	open  chan struct{} // closed: bytes come through
	delay time.Duration // of all that is sent, in each direction
	over  bool
	links []*link
}

// link is one connection through the relay.
type link struct {
	client, server net.Conn
	forgotten      bool
}

func listen(t *testing.T, socket string) *relay {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{Listener: listener, socket: socket, open: make(chan struct{})}
	close(r.open)
	r.work.Go(r.accept)
	t.Cleanup(r.end)
	return r
}

func (r *relay) accept() {
	for {
		client, err := r.Accept()
		if err != nil {
			return
		}
		r.work.Go(func() { r.connect(client) })
	}
}

// connect passes on what one connection sends and gets, until one of its ends has ended.
func (r *relay) connect(client net.Conn) {
	defer client.Close()
	r.wait()
	server, err := net.Dial("unix", r.socket)
	if err != nil {
		return
	}
	defer server.Close()
	l := &link{client: client, server: server}
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return
	}
	r.links = append(r.links, l)
	r.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { r.pass(l, server, client) })
	both.Go(func() { r.pass(l, client, server) })
	both.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.links = slices.DeleteFunc(r.links, func(other *link) bool { return other == l })
}

func (r *relay) pass(l *link, to, from net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if r.wait(); r.forgot(l) && from == l.server {
			return // whose client hears nothing of that
		}
		if n > 0 && !r.forgot(l) {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			to.Close()
			return
		}
	}
}

// wait returns when what has come may go on.
func (r *relay) wait() {
	r.mu.Lock()
	open, delay := r.open, r.delay
	r.mu.Unlock()
	time.Sleep(delay) // it is the network that takes so long
	<-open
}

func (r *relay) forgot(l *link) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return l.forgotten
}

func (r *relay) hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = make(chan struct{})
}

func (r *relay) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.open)
}

func (r *relay) slow(by time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = by
}

func (r *relay) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.links {
		l.forgotten = true
		l.server.Close()
	}
}

// end ends all connections, and waits.
func (r *relay) end() {
	r.Close()
	r.mu.Lock()
	r.over = true
	for _, l := range r.links {
		l.client.Close()
		l.server.Close()
	}
	r.mu.Unlock()
	r.work.Wait()
}
