package daemon_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
	"github.com/interlock-pg/interlock/harness/monitor/daemon"
	"github.com/interlock-pg/interlock/harness/monitor/notify"
	"github.com/interlock-pg/interlock/harness/monitor/settings"
	"github.com/interlock-pg/interlock/harness/repair"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/migrations"
	"github.com/interlock-pg/interlock/scenarios"
)

func TestMain(m *testing.M) { servertest.Main(m, func() error { return goleak.Find() }) }

// devices that have two open sessions, as production had them.
const devices = 52

const duplicates = `
	insert into aedpics.aed_data (id, equipment_serial) select n, 'AED-' || n from generate_series(1, 100) n;
	insert into aedpics.user_profiles (id) values ('a11ce000-0000-0000-0000-000000000001');
	insert into aedpics.inspection_sessions (equipment_serial, inspector_id, status, started_at)
		select 'AED-' || d, 'a11ce000-0000-0000-0000-000000000001', (array['completed', 'active', 'paused']::aedpics.session_status[])[s],
			timestamptz '2025-11-10 10:00Z' + s * interval '1 minute'
		from generate_series(1, 52) d, generate_series(1, 3) s`

// migrate makes the schema before the seed's indexes, with duplicates.
func migrate(ctx context.Context, config *pgx.ConnConfig) error {
	if _, err := migrations.Embedded().Apply(ctx, config, 1); err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, duplicates, pgx.QueryExecModeSimpleProtocol)
	return err
}

func database(t *testing.T) *server.Database {
	template, err := servertest.Server(t).Template(t.Context(), migrate)
	require.NoError(t, err)
	db, err := template.Database(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, db.Drop(context.Background()))
		require.NoError(t, template.Drop(context.Background()))
	})
	return db
}

// receiver stands in for Slack and for a webhook of somebody's.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	slack  []string
	events []notify.Event
}

const secret = "a secret of the webhook"

func receive(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		if q.URL.Path == "/services/T0/B0/secret" {
			r.slack = append(r.slack, string(body))
			return
		}
		var e notify.Event
		if err := notify.Verify(secret, q.Header.Get("Interlock-Signature"), body, 0, time.Now()); err != nil || json.Unmarshal(body, &e) != nil {
			http.Error(w, "not signed by us", http.StatusBadRequest)
			return
		}
		r.events = append(r.events, e)
	}))
	t.Cleanup(r.Close)
	return r
}

// told returns the types of the events, and what Slack got.
func (r *receiver) told() (types []notify.Type, slack []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		types = append(types, e.Type)
	}
	return types, append([]string(nil), r.slack...)
}

// of returns the types of the events of a watch.
func (r *receiver) of(watch string) (types []notify.Type) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Watch == watch {
			types = append(types, e.Type)
		}
	}
	return types
}

// running is a daemon.
type running struct {
	t    *testing.T
	url  string
	stop func()
	log  *log
}

// log is safe for several writers.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start starts a daemon with settings, on top of what all of them have: two tokens, and looks every 50 ms.
func start(t *testing.T, config *pgx.ConnConfig, more string) *running {
	t.Setenv("TEST_READ_TOKEN", "a-token-that-may-read")
	t.Setenv("TEST_REPAIR_TOKEN", "a-token-that-may-repair")
	s, err := settings.Parse(filepath.Join(t.TempDir(), "serve.yaml"), []byte(`
listen: 127.0.0.1:0
tokens:
  - {name: reader, role: read, environment: TEST_READ_TOKEN}
  - {name: repairer, role: repair, environment: TEST_REPAIR_TOKEN}
checks: {every: 50ms, full: 50ms, timeout: 10s}
`+more))
	require.NoError(t, err)
	s.Window = scenarios.Window
	listening, ended := make(chan string, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, log: &log{}}
	d, err := daemon.New(daemon.Config{
		Settings: s, Database: config, Watches: scenarios.Watches(s.Window), Indexes: scenarios.Indexes(s.Window),
		Rules: scenarios.RepairRules(s.Window, scenarios.KeepNewest), Tool: history.Tool{Version: "test"}, Log: slog.New(slog.NewTextHandler(r.log, nil)),
		Listening: func(url string) { listening <- url },
	})
	require.NoError(t, err)
	go func() { ended <- d.Run(ctx) }()
	select {
	case r.url = <-listening:
	case err := <-ended:
		cancel()
		t.Fatalf("%v\n%s", err, r.log)
	}
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-ended, "%s", r.log)
			http.DefaultClient.CloseIdleConnections()
		})
	}
	t.Cleanup(r.stop)
	return r
}

// ask returns the status and the body of an answer.
func (r *running) ask(method, path, token, body string) (int, string) {
	q, err := http.NewRequestWithContext(r.t.Context(), method, strings.TrimSuffix(r.url, "/")+path, strings.NewReader(body))
	require.NoError(r.t, err)
	if token != "" {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		q.Header.Set("Content-Type", "application/json")
	}
	answer, err := http.DefaultClient.Do(q)
	require.NoError(r.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(r.t, err)
	return answer.StatusCode, string(text)
}

func (r *running) get(path string) string {
	status, body := r.ask(http.MethodGet, path, "a-token-that-may-read", "")
	require.Equal(r.t, http.StatusOK, status, "%s: %s", path, body)
	return body
}

// total is how many groups the API knows of.
func (r *running) total(name string) int {
	var found struct{ Total int }
	require.NoError(r.t, json.Unmarshal([]byte(r.get("/api/monitoring/"+name)), &found))
	return found.Total
}

// observe waits until something is so.
func observe(t *testing.T, what string, so func() bool) {
	t.Helper()
	require.Eventually(t, so, 30*time.Second, 5*time.Millisecond, what)
}

const told = `
notify:
  destinations:
    - {name: team, kind: slack, url: {environment: TEST_SLACK}}
    - {name: pager, kind: webhook, url: {environment: TEST_WEBHOOK}, secret: {environment: TEST_WEBHOOK_SECRET}}
  outbox: {table: true}
  source: production
  heal_for: 1ms
`

// The 52 duplicates are on the API, the metrics, the page, and in Slack; a scheduled repair resolves them, and that is told once.
func TestDuplicatesFromOneEndToTheOther(t *testing.T) {
	db, r := database(t), receive(t)
	t.Setenv("TEST_SLACK", r.URL+"/services/T0/B0/secret")
	t.Setenv("TEST_WEBHOOK", r.URL+"/hook")
	t.Setenv("TEST_WEBHOOK_SECRET", secret)
	d := start(t, db.Config("serve"), told)
	require.Equal(t, devices, d.total("duplicate-sessions"))
	require.Zero(t, d.total("duplicate-schedules"))
	require.Contains(t, d.get("/metrics"), `interlock_violations{invariant="S1",name="duplicate-sessions"} 52`)
	require.Contains(t, d.get("/"), "52")
	observe(t, "both are told", func() bool {
		types, slack := r.told()
		return len(types) == 1 && len(slack) == 1
	})
	types, slack := r.told()
	require.Equal(t, []notify.Type{notify.Broke}, types)
	require.Contains(t, slack[0], "52")
	require.Contains(t, slack[0], "production")
	observe(t, "metrics", func() bool {
		return strings.Contains(d.get("/metrics"), `interlock_notifications_delivered_total{destination="team"} 1`)
	})
	names, err := os.ReadFile("../../../docs/deploy/testdata/metrics.txt")
	require.NoError(t, err)
	for _, name := range strings.Fields(string(names)) {
		if name != "interlock_replica_lag_seconds" && !strings.HasPrefix(name, "interlock_job_") { // of a replica, and of schedules only
			require.Contains(t, d.get("/metrics"), "\n"+name, "docs/deploy relies on it")
		}
	}
	for _, body := range []string{"", `{"apply": true}`} {
		status, _ := d.ask(http.MethodPost, "/api/repair", "a-token-that-may-repair", body)
		require.Contains(t, []int{http.StatusNotFound, http.StatusMethodNotAllowed}, status, "there is no repair unless somebody says so")
	}
	d.stop()
	require.NotContains(t, d.log.String(), "services/T0", "an address of Slack is a secret")
	require.NotContains(t, d.log.String(), "a-token-that")

	d = start(t, db.Config("serve"), told+`repair: {mode: dry-run, schedule: "@every 1s"}`)
	observe(t, "a plan", func() bool { return strings.Contains(d.log.String(), "mode=dry-run") })
	require.Contains(t, d.log.String(), "rows=52 resolved=0")
	observe(t, "metrics of the job", func() bool {
		return strings.Contains(d.get("/metrics"), "\ninterlock_job_last_success_timestamp_seconds{name=\"repair\"}")
	})
	for _, name := range strings.Fields(string(names)) {
		if strings.HasPrefix(name, "interlock_job_") {
			require.Contains(t, d.get("/metrics"), "\n"+name+`{name="repair"}`, "docs/deploy relies on it")
		}
	}
	require.Equal(t, devices, d.total("duplicate-sessions"), "a plan changes nothing")
	status, body := d.ask(http.MethodPost, "/api/repair", "a-token-that-may-read", `{"apply": false}`)
	require.Equal(t, http.StatusForbidden, status, body)
	status, body = d.ask(http.MethodPost, "/api/repair", "a-token-that-may-repair", `{"apply": true}`)
	require.Equal(t, http.StatusConflict, status, "a dry run is all that there is leave for: %s", body)
	status, body = d.ask(http.MethodPost, "/api/repair", "a-token-that-may-repair", `{"apply": false}`)
	require.Equal(t, http.StatusOK, status, body)
	plan, err := history.Decode(strings.NewReader(body))
	require.NoError(t, err, "as interlock repair --json prints it")
	require.Len(t, plan.Repair.Groups, devices)
	require.Equal(t, devices, d.total("duplicate-sessions"))
	d.stop()

	d = start(t, db.Config("serve"), told+`repair: {mode: apply, schedule: "@every 1s", most: 51}`)
	observe(t, "it is refused", func() bool { return strings.Contains(d.get("/metrics"), "\ninterlock_job_failing{name=\"repair\"} 1") })
	require.Regexp(t, `level=WARN msg=repair .* rows=52 resolved=0 .* error="the repair is refused`, d.log.String())
	require.Equal(t, devices, d.total("duplicate-sessions"))
	d.stop()

	d = start(t, db.Config("serve"), told+`repair: {mode: apply, schedule: "@every 1s"}`)
	observe(t, "the repair", func() bool { return d.total("duplicate-sessions") == 0 })
	observe(t, "both are told", func() bool {
		types, slack := r.told()
		return len(types) == 2 && len(slack) == 2
	})
	observe(t, "another repair, with nothing to do", func() bool { return strings.Count(d.log.String(), "msg=repair") > 1 })
	types, slack = r.told()
	require.Equal(t, []notify.Type{notify.Broke, notify.Healed}, types, "once each, over four starts")
	require.Len(t, slack, 2)
	require.Contains(t, d.get("/metrics"), `interlock_violations{invariant="S1",name="duplicate-sessions"} 0`)

	conn, err := db.Connect(t.Context(), "test")
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var open, rows, archived int
	require.NoError(t, conn.QueryRow(t.Context(), `select count(*) filter (where status in ('active', 'paused')), count(*) from aedpics.inspection_sessions`).Scan(&open, &rows))
	require.Equal(t, []int{devices, 3 * devices}, []int{open, rows}, "one of each device stays open, and none is deleted")
	require.NoError(t, conn.QueryRow(t.Context(), `select count(*) from `+repair.Archive).Scan(&archived))
	require.Equal(t, devices, archived)
}

// The database becomes read only while it is watched: what breaks then is told through a file, and what heals after that, once each.
func TestReadOnlyMeanwhile(t *testing.T) {
	db, r := database(t), receive(t)
	t.Setenv("TEST_SLACK", r.URL+"/services/T0/B0/secret")
	t.Setenv("TEST_WEBHOOK", r.URL+"/hook")
	t.Setenv("TEST_WEBHOOK_SECRET", secret)
	d := start(t, db.Config("serve"), strings.Replace(told, "{table: true}", "{table: true, file: outbox.json}", 1))
	observe(t, "the sessions are told of", func() bool { return len(r.of("duplicate-sessions")) == 1 })

	config := db.Config("application")
	config.RuntimeParams["default_transaction_read_only"] = "off" // the application is another one than we are
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	run := on(t, conn)
	name := pgx.Identifier{db.Name}.Sanitize()
	run(`alter database ` + name + ` set default_transaction_read_only = on`)
	run(`select pg_terminate_backend(pid) from pg_stat_activity where application_name in ('interlock notify', 'interlock serve') and datname = current_database()`)
	observe(t, "read only", func() bool { return strings.Contains(d.get("/metrics"), "\ninterlock_database_read_only 1") })
	run(`insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for)
		select 1, 'AED-1', timestamptz '2026-01-05 10:00Z' + n * interval '1 minute' from generate_series(1, 2) n`)
	observe(t, "both are told", func() bool {
		_, slack := r.told()
		return len(r.of("duplicate-schedules")) == 1 && len(slack) == 2
	})
	require.Equal(t, []notify.Type{notify.Broke}, r.of("duplicate-schedules"))
	observe(t, "somebody can be told", func() bool { return strings.Contains(d.get("/metrics"), "\ninterlock_notifications_ready 1") })
	require.Contains(t, d.log.String(), "messages wait in a file")

	run(`alter database ` + name + ` reset default_transaction_read_only`)
	observe(t, "and returned", func() bool { return strings.Contains(d.log.String(), "messages wait in the database again") })
	run(`update aedpics.inspection_schedules set status = 'cancelled'`)
	observe(t, "both are told", func() bool {
		_, slack := r.told()
		return len(r.of("duplicate-schedules")) == 2 && len(slack) == 3
	})
	require.Equal(t, []notify.Type{notify.Broke, notify.Healed}, r.of("duplicate-schedules"))
	require.Equal(t, []notify.Type{notify.Broke}, r.of("duplicate-sessions"))
	observe(t, "nothing is left", func() bool {
		var left int
		require.NoError(t, conn.QueryRow(t.Context(), `select count(*) from interlock.notify_message`).Scan(&left))
		return left == 0
	})
}

// Another instance sees something break, a moment after we saw that all is well, and ends. What has not changed for us since is what ends its incident.
func TestAnotherSawIt(t *testing.T) {
	db, r := database(t), receive(t)
	t.Setenv("TEST_SLACK", r.URL+"/services/T0/B0/secret")
	t.Setenv("TEST_WEBHOOK", r.URL+"/hook")
	t.Setenv("TEST_WEBHOOK_SECRET", secret)
	outbox, err := notify.Open(t.Context(), notify.Store{Database: db.Config("another"), Create: true})
	require.NoError(t, err)
	another, err := notify.New(notify.Config{Destinations: []notify.Destination{{Name: "pager", Kind: notify.Webhook, URL: notify.Hidden(r.URL + "/hook"), Secret: secret}}}, outbox)
	require.NoError(t, err)
	d := start(t, db.Config("serve"), told)
	observe(t, "it looks", func() bool { return strings.Contains(d.get("/metrics"), "\ninterlock_notifications_ready 1") })
	schedules := scenarios.Watches(scenarios.Window)[1]
	require.NoError(t, another.Observe(t.Context(), monitor.Result{
		Watch: schedules, Verdict: history.Violated, Checked: time.Now().Add(time.Second), Groups: []monitor.Group{{Key: "1", Members: 2}}, Total: 1, Members: 2,
	}))
	require.NoError(t, outbox.Close())
	observe(t, "it is told to be over", func() bool {
		types := r.of(schedules.Name)
		return len(types) > 0 && types[len(types)-1] != notify.Broke
	})
	if types := r.of(schedules.Name); len(types) > 1 { // it is over before it could be told, otherwise
		require.Equal(t, []notify.Type{notify.Broke, notify.Healed}, types)
	}
}

// A database that is read only is no place for messages: where there is no other, that is told.
func TestNobodyCanBeTold(t *testing.T) {
	db, r := database(t), receive(t)
	t.Setenv("TEST_SLACK", r.URL+"/services/T0/B0/secret")
	t.Setenv("TEST_WEBHOOK", r.URL+"/hook")
	t.Setenv("TEST_WEBHOOK_SECRET", secret)
	config := db.Config("serve")
	d := start(t, config, told)
	ready := func(want string) {
		t.Helper()
		observe(t, "ready: "+want, func() bool { return strings.Contains(d.get("/metrics"), "\ninterlock_notifications_ready "+want) })
	}
	ready("1")
	conn, err := db.Connect(t.Context(), "test")
	require.NoError(t, err)
	defer conn.Close(t.Context())
	name := pgx.Identifier{db.Name}.Sanitize()
	_, err = conn.Exec(t.Context(), `alter database `+name+` set default_transaction_read_only = on; 
		select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'interlock notify' and datname = current_database()`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	ready("0")
	_, err = conn.Exec(t.Context(), `alter database `+name+` reset default_transaction_read_only`)
	require.NoError(t, err)
	ready("1")
}

// on returns what executes SQL on a connection.
func on(t *testing.T, conn *pgx.Conn) (run func(sql string)) {
	return func(sql string) {
		t.Helper()
		_, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
	}
}

// What breaks and heals before there is an outbox, or while it keeps us waiting, is told once there is.
func TestNothingIsMissed(t *testing.T) {
	db, r := database(t), receive(t)
	t.Setenv("TEST_SLACK", r.URL+"/services/T0/B0/secret")
	t.Setenv("TEST_WEBHOOK", r.URL+"/hook")
	t.Setenv("TEST_WEBHOOK_SECRET", secret)
	conn, err := db.Connect(t.Context(), "test")
	require.NoError(t, err)
	defer conn.Close(t.Context())
	run := on(t, conn)
	path := filepath.Join(t.TempDir(), "outbox.json")
	other, err := notify.OpenFile(t.Context(), path)
	require.NoError(t, err)
	d := start(t, db.Config("serve"), strings.Replace(told, "{table: true}", fmt.Sprintf("{file: %q}", path), 1))
	observe(t, "it breaks", func() bool { return d.total("duplicate-sessions") == devices })
	run(`update aedpics.inspection_sessions set status = 'cancelled'`)
	observe(t, "it heals", func() bool { return d.total("duplicate-sessions") == 0 })
	observe(t, "two of the sessions, one of the schedules", func() bool { return strings.Contains(d.get("/metrics"), "\ninterlock_notifications_unwritten 3\n") })
	require.NoError(t, other.Close())
	over := func(watch string) func() bool {
		return func() bool {
			types := r.of(watch)
			return len(types) > 0 && types[len(types)-1] != notify.Broke
		}
	}
	observe(t, "it is told", over("duplicate-sessions"))
	d.stop()

	d = start(t, db.Config("serve"), told)
	observe(t, "it looks", func() bool { return strings.Contains(d.get("/metrics"), "\ninterlock_notifications_ready 1") })
	run(`begin; lock table interlock.notify_watch`)
	application, err := db.Connect(t.Context(), "application")
	require.NoError(t, err)
	defer application.Close(t.Context())
	observe(t, "it waits", func() bool {
		var waits bool
		require.NoError(t, application.QueryRow(t.Context(), `select exists (select from pg_stat_activity
			where application_name = 'interlock notify' and datname = current_database() and wait_event_type = 'Lock' and query ~ '^select state')`).Scan(&waits))
		return waits
	})
	_, err = application.Exec(t.Context(), `insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for)
		select 1, 'AED-1', timestamptz '2026-01-05 10:00Z' + n * interval '1 minute' from generate_series(1, 2) n`)
	require.NoError(t, err)
	observe(t, "it breaks", func() bool { return d.total("duplicate-schedules") == 1 })
	_, err = application.Exec(t.Context(), `update aedpics.inspection_schedules set status = 'cancelled'`)
	require.NoError(t, err)
	observe(t, "it heals", func() bool { return d.total("duplicate-schedules") == 0 })
	run(`rollback`)
	observe(t, "it is told", over("duplicate-schedules"))
}

// Three at once, as while one takes over from another: each tells how it is, people are told once, and each row is repaired once.
func TestSeveralAtOnce(t *testing.T) {
	servertest.Slow(t)
	db, r := database(t), receive(t)
	t.Setenv("TEST_SLACK", r.URL+"/services/T0/B0/secret")
	t.Setenv("TEST_WEBHOOK", r.URL+"/hook")
	t.Setenv("TEST_WEBHOOK_SECRET", secret)
	var all []*running
	for range 3 {
		all = append(all, start(t, db.Config("serve"), told))
	}
	for _, d := range all {
		require.Equal(t, devices, d.total("duplicate-sessions"))
	}
	observe(t, "both are told", func() bool {
		types, slack := r.told()
		return len(types) > 0 && len(slack) > 0
	})
	for _, d := range all {
		d.stop()
	}

	all = nil
	for range 3 {
		all = append(all, start(t, db.Config("serve"), told+`repair: {mode: apply, schedule: "@every 1s"}`))
	}
	for _, d := range all {
		observe(t, "the repair", func() bool { return d.total("duplicate-sessions") == 0 })
		observe(t, "a repair of each", func() bool { return strings.Contains(d.log.String(), "msg=repair") })
	}
	observe(t, "both are told", func() bool {
		types, slack := r.told()
		return len(types) > 1 && len(slack) > 1
	})
	for _, d := range all {
		d.stop()
	}
	types, slack := r.told()
	require.Equal(t, []notify.Type{notify.Broke, notify.Healed}, types)
	require.Len(t, slack, 2)

	conn, err := db.Connect(t.Context(), "test")
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var open, archived, queued int
	require.NoError(t, conn.QueryRow(t.Context(), `select count(*) from interlock.notify_message`).Scan(&queued))
	require.Zero(t, queued, "nothing more would have been told")
	require.NoError(t, conn.QueryRow(t.Context(), `select count(*) from aedpics.inspection_sessions where status in ('active', 'paused')`).Scan(&open))
	require.NoError(t, conn.QueryRow(t.Context(), `select count(*) from `+repair.Archive).Scan(&archived))
	require.Equal(t, []int{devices, devices}, []int{open, archived})
}

// With a certificate, it speaks TLS and nothing else, and the cookie of a browser is for TLS only.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cert.pem"), certificate, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), 0o600))

	d := start(t, database(t).Config("serve"), fmt.Sprintf("tls: {certificate: %q, key: %q}", filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")))
	require.True(t, strings.HasPrefix(d.url, "https://127.0.0.1:"), d.url)
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(certificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Get(d.url + "healthz")
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, http.StatusOK, answer.StatusCode)

	form, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.url+"login", strings.NewReader("token=a-token-that-may-read"))
	require.NoError(t, err)
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	form.Header.Set("Origin", strings.TrimSuffix(d.url, "/"))
	answer, err = client.Do(form)
	require.NoError(t, err)
	answer.Body.Close()
	cookies := answer.Cookies()
	require.Len(t, cookies, 1, "status %d", answer.StatusCode)
	require.True(t, cookies[0].Secure && cookies[0].HttpOnly)
	require.NotContains(t, cookies[0].Value, "a-token-that-may-read")

	answer, err = client.Get(strings.Replace(d.url, "https://", "http://", 1))
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, http.StatusBadRequest, answer.StatusCode, "it tells that it speaks TLS, and nothing else")
}

// Without a token, with a wrong one, and with one that may only read: each is refused as it should be, and so is whoever would listen without any.
func TestRefused(t *testing.T) {
	t.Setenv("TEST_SHORT", "short")
	config := database(t).Config("serve")
	d := start(t, config, `repair: {mode: apply}`)
	for _, path := range []string{"/api/monitoring/duplicate-sessions", "/api/invariants", "/api/indexes", "/metrics", "/readyz"} {
		for _, token := range []string{"", "a-token-that-may-readx"} {
			status, body := d.ask(http.MethodGet, path, token, "")
			require.Equal(t, http.StatusUnauthorized, status, "%s with %q: %s", path, token, body)
		}
		status, body := d.ask(http.MethodGet, path, "a-token-that-may-read", "")
		if path != "/readyz" {
			require.Equal(t, http.StatusOK, status, body)
		}
	}
	for token, want := range map[string]int{"": http.StatusUnauthorized, "wrong": http.StatusUnauthorized, "a-token-that-may-read": http.StatusForbidden} {
		status, body := d.ask(http.MethodPost, "/api/repair", token, `{"apply": true}`)
		require.Equal(t, want, status, body)
	}
	require.Equal(t, devices, d.total("duplicate-sessions"), "nothing was repaired")
	status, body := d.ask(http.MethodPost, "/api/repair", "a-token-that-may-repair", `{"apply": true}`)
	require.Equal(t, http.StatusOK, status, body)
	require.Zero(t, d.total("duplicate-sessions"))

	for text, says := range map[string]string{
		"listen: 0.0.0.0:0": "token",
		"listen: 127.0.0.1:0\ntokens: [{name: a, role: read, environment: NO_SUCH_VARIABLE}]":                                               "tokens[0] (a): the environment variable NO_SUCH_VARIABLE is empty",
		"listen: 127.0.0.1:0\ntokens: [{name: a, role: read, environment: TEST_SHORT}]":                                                     `tokens: web: token 1 ("a") has a secret that is not 16`,
		"listen: 127.0.0.1:0\ntls: {certificate: none.pem, key: none.pem}":                                                                  "tls: open none.pem",
		"listen: 127.0.0.1:0\nnotify: {outbox: {table: true}, destinations: [{name: a, kind: slack, url: {environment: TEST_READ_TOKEN}}]}": "notify.destinations[0]: the URL of destination a is none; try one",
		"listen: 127.0.0.1:0\nnotify: {outbox: {table: true}, destinations: [{name: a, kind: slack, url: {file: none}}]}":                   "notify.destinations[0].url (a): open none",
	} {
		s, err := settings.Parse("serve.yaml", []byte(text))
		require.NoError(t, err)
		d, err := daemon.New(daemon.Config{
			Settings: s, Database: config, Watches: scenarios.Watches(scenarios.Window), Rules: scenarios.RepairRules(scenarios.Window, scenarios.KeepNewest),
			Log: slog.New(slog.DiscardHandler),
		})
		if err == nil {
			err = d.Run(t.Context())
		}
		require.ErrorContains(t, err, says, text)
		require.NotContains(t, fmt.Sprint(err), os.Getenv("TEST_READ_TOKEN"), text)
	}
}

// All that is wrong is told at once.
func TestAllThatIsWrong(t *testing.T) {
	t.Setenv("TEST_SHORT", "short")
	s, err := settings.Parse("serve.yaml", []byte(`
postgres: {environment: NO_DATABASE}
tls: {certificate: none.pem, key: none.pem}
tokens: [{name: a, role: read, environment: NO_TOKEN}]
notify:
  outbox: {table: true}
  destinations: [{name: a, kind: slack, url: {environment: TEST_SHORT}}, {name: b, kind: slack, url: {environment: NO_ADDRESS}}]
`))
	require.NoError(t, err)
	_, err = daemon.New(daemon.Config{Settings: s, Log: slog.New(slog.DiscardHandler)})
	for _, says := range []string{"NO_DATABASE", "NO_TOKEN", "none.pem", "notify.destinations[0]: the URL", "NO_ADDRESS"} {
		require.ErrorContains(t, err, says)
	}
}
