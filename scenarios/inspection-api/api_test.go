// Package inspectionapi_test holds the two inspection services to one description of what they answer.
package inspectionapi_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

const (
	sessions  = "/api/inspections/sessions"
	schedules = "/api/schedules"

	alice = "a11ce000-0000-0000-0000-000000000001"
	bob   = "a11ce000-0000-0000-0000-000000000002"
)

var forms = []string{"production", "fixed", "idempotent"}

// request is one call and what must come of it.
type request struct {
	what    string
	method  string // default POST
	path    string
	headers map[string]string
	body    string
	status  int
	answer  string // JSON; "*" stands for any value
}

func by(inspector string, more ...string) map[string]string {
	headers := map[string]string{"X-Inspector": inspector}
	for i := 0; i+1 < len(more); i += 2 {
		headers[more[i]] = more[i+1]
	}
	return headers
}

const (
	aed1   = `{"equipmentSerial":"AED-1"}`
	active = `{"id":"*","status":"active","equipmentSerial":"AED-1"}`

	otherRequest = `{"error":"this Idempotency-Key belongs to another request"}`
	badSerial    = `{"error":"equipmentSerial is not of 1 to 255 characters"}`
	badBody      = `{"error":"the body is not JSON of this request"}`
	badTime      = `{"error":"scheduledFor is not a time as 2026-01-05T10:00:00Z"}`
	badInspector = `{"error":"X-Inspector is not a UUID"}`
	noEndpoint   = `{"error":"no such endpoint"}`
	unknown      = `{"error":"unknown device"}`
	taken        = `{"error":"another inspector has an open session on the device"}`
	near         = `{"error":"there is a visit within 30 minutes"}`
	failed       = `{"error":"internal"}`
)

func planned(at string) string {
	return `{"id":"*","status":"scheduled","equipmentSerial":"AED-1","scheduledFor":"` + at + `"}`
}

// visit is the insert of one by somebody else.
const visit = `insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for) values (1, 'AED-1', $1)`

func plan(at string) string { return `{"equipmentSerial":"AED-1","scheduledFor":"` + at + `"}` }

// common is what every form answers, in this order, on a device that has nothing yet.
var common = []request{
	{what: "health", method: "GET", path: "/healthz", status: 200, answer: `{"status":"ok"}`},
	{what: "no such path", method: "GET", path: "/api", status: 404, answer: noEndpoint},
	{what: "another method", method: "PUT", path: sessions, body: `{}`, status: 404, answer: noEndpoint},

	{what: "session, no body", path: sessions, headers: by(alice), status: 400, answer: badBody},
	{what: "session, not JSON", path: sessions, headers: by(alice), body: `{"equipmentSerial":`, status: 400, answer: badBody},
	{what: "session, more than JSON", path: sessions, headers: by(alice), body: `{"equipmentSerial":"AED-1"} more`, status: 400, answer: badBody},
	{what: "session, an array", path: sessions, headers: by(alice), body: `["AED-1"]`, status: 400, answer: badBody},
	{what: "session, null", path: sessions, headers: by(alice), body: `null`, status: 400, answer: badBody},
	{what: "session, a number", path: sessions, headers: by(alice), body: `{"equipmentSerial":1}`, status: 400, answer: badBody},
	{
		what: "session, too large", path: sessions, headers: by(alice),
		body: `{"equipmentSerial":"` + strings.Repeat("x", 70_000) + `"}`, status: 400, answer: badBody,
	},
	{what: "session, no serial", path: sessions, headers: by(alice), body: `{}`, status: 400, answer: badSerial},
	{what: "session, empty serial", path: sessions, headers: by(alice), body: `{"equipmentSerial":""}`, status: 400, answer: badSerial},
	{
		what: "session, serial with a zero", path: sessions, headers: by(alice),
		body: `{"equipmentSerial":"AED\u0000"}`, status: 400, answer: badSerial,
	},
	{
		what: "session, long serial", path: sessions, headers: by(alice),
		body: `{"equipmentSerial":"` + strings.Repeat("é", 256) + `"}`, status: 400, answer: badSerial,
	},
	{what: "session, nobody", path: sessions, body: aed1, status: 400, answer: `{"error":"X-Inspector is missing"}`},
	{what: "session, no inspector", path: sessions, headers: by("alice"), body: aed1, status: 400, answer: badInspector},
	{what: "session, unknown device", path: sessions, headers: by(alice), body: `{"equipmentSerial":"AED-404"}`, status: 404, answer: unknown},
	{
		what: "session, unknown inspector", path: sessions, headers: by("a11ce000-0000-0000-0000-000000000404"),
		body: aed1, status: 500, answer: failed,
	},
	{
		what: "session, created", path: sessions, headers: by(alice),
		body: `{"equipmentSerial":"AED-1","note":"ignored"}`, status: 201, answer: active,
	},
	{what: "session, resumed", path: sessions, headers: by(strings.ToUpper(alice)), body: aed1, status: 200, answer: active},
	{what: "session, conflict", path: sessions, headers: by(bob), body: aed1, status: 409, answer: taken},

	{what: "schedule, not JSON", path: schedules, body: `{`, status: 400, answer: badBody},
	{what: "schedule, no serial", path: schedules, body: `{"scheduledFor":"2026-01-05T10:00:00Z"}`, status: 400, answer: badSerial},
	{what: "schedule, no time", path: schedules, body: aed1, status: 400, answer: badTime},
	{what: "schedule, a number", path: schedules, body: `{"equipmentSerial":"AED-1","scheduledFor":1}`, status: 400, answer: badBody},
	{what: "schedule, a date", path: schedules, body: plan("2026-01-05"), status: 400, answer: badTime},
	{what: "schedule, no zone", path: schedules, body: plan("2026-01-05T10:00:00"), status: 400, answer: badTime},
	{what: "schedule, no such day", path: schedules, body: plan("2026-02-30T10:00:00Z"), status: 400, answer: badTime},
	{what: "schedule, no such hour", path: schedules, body: plan("2026-01-05T24:00:00Z"), status: 400, answer: badTime},
	{what: "schedule, no inspector", path: schedules, headers: by("1"), body: plan("2026-01-05T10:00:00Z"), status: 400, answer: badInspector},
	{
		what: "schedule, unknown device", path: schedules,
		body: `{"equipmentSerial":"AED-404","scheduledFor":"2026-01-05T10:00:00Z"}`, status: 404, answer: unknown,
	},
	{
		what: "schedule, created", path: schedules, headers: by(alice),
		body: plan("2026-01-05T10:00:00Z"), status: 201, answer: planned("2026-01-05T10:00:00.000Z"),
	},
	{
		what: "schedule, half an hour later", path: schedules,
		body: plan("2026-01-05T12:30:00.1239+02:00"), status: 201, answer: planned("2026-01-05T10:30:00.123Z"),
	},
	{what: "schedule, in between", path: schedules, headers: by(bob), body: plan("2026-01-05T10:29:59.999Z"), status: 409, answer: near},
	{what: "schedule, the same time", path: schedules, headers: by(bob), body: plan("2026-01-05T10:00:00Z"), status: 409, answer: near},
}

func TestEveryAnswer(t *testing.T) {
	eachForm(t, unprotectedSchedules, func(t *testing.T, s *service, form string) {
		for _, r := range common {
			s.ask(r)
		}
	})
}

// What only one form does wrong: the window of production includes its beginning, and a cancelled visit is in the way.
func TestWindow(t *testing.T) {
	eachForm(t, unprotectedSchedules, func(t *testing.T, s *service, form string) {
		s.exec(`insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for, status)
			values (1, 'AED-1', '2026-01-05 08:00Z', 'cancelled'), (1, 'AED-1', '2026-01-05 10:00Z', 'scheduled')`)
		before := request{
			what: "half an hour after a visit", path: schedules,
			body: plan("2026-01-05T10:30:00Z"), status: 201, answer: planned("2026-01-05T10:30:00.000Z"),
		}
		cancelled := request{
			what: "a cancelled visit", path: schedules,
			body: plan("2026-01-05T08:00:00Z"), status: 201, answer: planned("2026-01-05T08:00:00.000Z"),
		}
		if form == "production" {
			before.status, before.answer = 409, near
			cancelled.status, cancelled.answer = 409, near
		}
		s.ask(before)
		s.ask(cancelled)
		s.ask(request{
			what: "half an hour before a visit", path: schedules,
			body: plan("2026-01-05T09:30:00Z"), status: 201, answer: planned("2026-01-05T09:30:00.000Z"),
		})
	})
}

// A session that is not committed yet is not seen, and the unique index makes the request wait for it. What the request is told when it is there
// tells the forms apart.
func TestSessionRace(t *testing.T) {
	eachForm(t, protected, func(t *testing.T, s *service, form string) {
		first := s.begin(`insert into aedpics.inspection_sessions (equipment_serial, inspector_id) values ('AED-1', $1)`, alice)
		loser := s.send(request{what: "loser", path: sessions, headers: by(bob), body: aed1})
		own := s.send(request{what: "the winner's other tab", path: sessions, headers: by(alice), body: aed1})
		s.waiting(2)
		require.NoError(t, first.Commit(t.Context()))
		if form == "production" {
			loser.expect(500, failed)
			own.expect(500, failed)
		} else {
			loser.expect(409, taken)
			own.expect(200, active)
		}
		s.count(1, `select count(*) from aedpics.inspection_sessions`)
	})
}

// The same of visits, with the exclusion constraint.
func TestScheduleRace(t *testing.T) {
	eachForm(t, protected, func(t *testing.T, s *service, form string) {
		first := s.begin(visit, "2026-01-05T10:15:00Z")
		loser := s.send(request{what: "loser", path: schedules, headers: by(bob), body: plan("2026-01-05T10:00:00Z")})
		s.waiting(1)
		require.NoError(t, first.Commit(t.Context()))
		if form == "production" {
			loser.expect(500, failed)
		} else {
			loser.expect(409, near)
		}
		s.count(1, `select count(*) from aedpics.inspection_schedules`)
	})
}

// Without the constraint, whoever looks first holds the device in the better forms; in production's they do not meet.
func TestScheduleLock(t *testing.T) {
	eachForm(t, unprotectedSchedules, func(t *testing.T, s *service, form string) {
		first := s.begin(visit, "2026-01-05T10:15:00Z")
		_, err := first.Exec(t.Context(), `select pg_advisory_xact_lock(1, 1)`) // what the services take
		require.NoError(t, err)
		other := s.send(request{what: "other", path: schedules, body: plan("2026-01-05T10:00:00Z")})
		if form == "production" {
			other.expect(201, planned("2026-01-05T10:00:00.000Z"))
			require.NoError(t, first.Commit(t.Context()))
			s.count(2, `select count(*) from aedpics.inspection_schedules`)
			return
		}
		s.waiting(1)
		require.NoError(t, first.Commit(t.Context()))
		other.expect(409, near)
	})
}

// A session that is closed between the look and the resumption stays closed, except in production.
func TestResumeRace(t *testing.T) {
	eachForm(t, protected, func(t *testing.T, s *service, form string) {
		s.exec(`insert into aedpics.inspection_sessions (equipment_serial, inspector_id) values ('AED-1', $1)`, alice)
		closing := s.begin(`update aedpics.inspection_sessions set status = 'cancelled', cancelled_at = now()`)
		late := s.send(request{what: "late", path: sessions, headers: by(alice), body: aed1})
		s.waiting(1)
		require.NoError(t, closing.Commit(t.Context()))
		status, cancelled := 201, 1
		if form == "production" {
			status, cancelled = 200, 0
		}
		late.expect(status, active)
		s.count(cancelled, `select count(*) from aedpics.inspection_sessions where status = 'cancelled'`)
	})
}

func TestIdempotencyKey(t *testing.T) {
	eachService(t, func(t *testing.T, program program) {
		s := start(t, program, "idempotent", protected)
		first := request{
			what: "first", path: schedules, headers: by(alice, "Idempotency-Key", "visit 1"),
			body: plan("2026-01-05T10:00:00Z"), status: 201, answer: planned("2026-01-05T10:00:00.000Z"),
		}
		answered := s.ask(first)
		first.what = "again, the same time said in another way"
		first.body = plan("2026-01-05T11:00:00.000+01:00")
		require.Equal(t, answered, s.ask(first))
		s.count(1, `select count(*) from aedpics.inspection_schedules`)

		session := request{
			what: "session", path: sessions, headers: by(alice, "Idempotency-Key", "session 1"),
			body: aed1, status: 201, answer: active,
		}
		opened := s.ask(session)
		s.exec(`update aedpics.inspection_sessions set status = 'completed'`)
		require.Equal(t, opened, s.ask(session), "a session that was closed since is not opened again")
		s.count(1, `select count(*) from aedpics.inspection_sessions`)

		s.ask(request{
			what: "the key with another request", path: schedules, headers: by(alice, "Idempotency-Key", "visit 1"),
			body: plan("2026-01-05T15:00:00Z"), status: 422, answer: otherRequest,
		})
		s.ask(request{
			what: "the key at another endpoint", path: sessions, headers: by(alice, "Idempotency-Key", "visit 1"),
			body: aed1, status: 422, answer: otherRequest,
		})
		s.ask(request{
			what: "another caller's key is another key", path: schedules, headers: by(bob, "Idempotency-Key", "visit 1"),
			body: plan("2026-01-05T15:00:00Z"), status: 201, answer: planned("2026-01-05T15:00:00.000Z"),
		})
		refused := request{
			what: "what is refused", path: schedules, headers: by(bob, "Idempotency-Key", "visit 2"),
			body: plan("2026-01-05T10:00:00Z"), status: 409, answer: near,
		}
		s.ask(refused)
		s.exec(`update aedpics.inspection_schedules set status = 'cancelled'`)
		refused.what, refused.status, refused.answer = "is not remembered", 201, planned("2026-01-05T10:00:00.000Z")
		s.ask(refused)
		s.ask(request{
			what: "a long key", path: schedules, headers: by(bob, "Idempotency-Key", strings.Repeat("k", 256)),
			body: plan("2026-01-05T10:00:00Z"), status: 400, answer: `{"error":"Idempotency-Key is longer than 255 characters"}`,
		})
	})
}

// While the first attempt runs, the second waits; if that is committed it gets the answer, and otherwise does the work.
func TestIdempotencyKeyRace(t *testing.T) {
	eachService(t, func(t *testing.T, program program) {
		for _, end := range []string{"commit", "rollback"} {
			t.Run(end, func(t *testing.T) {
				t.Parallel()
				s := start(t, program, "idempotent", protected)
				open := s.begin(`insert into aedpics.inspection_sessions (equipment_serial, inspector_id) values ('AED-1', $1)`, bob)
				key := request{path: sessions, headers: by(alice, "Idempotency-Key", "k"), body: aed1}
				key.what = "first attempt"
				first := s.send(key)
				s.waiting(1) // for the session
				key.what = "second attempt"
				second := s.send(key)
				s.waiting(2) // for the key
				if end == "rollback" {
					require.NoError(t, open.Rollback(t.Context()))
					answer := first.expect(201, active)
					require.Equal(t, answer, second.expect(201, active))
					s.count(1, `select count(*) from aedpics.idempotency_keys`)
				} else {
					require.NoError(t, open.Commit(t.Context()))
					first.expect(409, taken)
					second.expect(409, taken)
					s.count(0, `select count(*) from aedpics.idempotency_keys`)
				}
				s.count(1, `select count(*) from aedpics.inspection_sessions`)
			})
		}
	})
}

// The zone of the sessions, which is the database's unless a client says otherwise, is not the zone of the times that are written and looked for.
func TestTimeZone(t *testing.T) {
	eachService(t, func(t *testing.T, program program) {
		for _, form := range forms {
			t.Run(form, func(t *testing.T) {
				t.Parallel()
				s := prepare(t, unprotectedSchedules)
				s.exec(`alter database ` + pgx.Identifier{s.db.Name}.Sanitize() + ` set timezone = 'Asia/Seoul'`)
				s.run(program, form)
				s.ask(request{
					what: "created", path: schedules,
					body: plan("2026-01-05T10:00:00Z"), status: 201, answer: planned("2026-01-05T10:00:00.000Z"),
				})
				s.count(1, `select count(*) from aedpics.inspection_schedules where scheduled_for = '2026-01-05 10:00Z'`)
				s.exec(visit, "2026-01-05T12:00:00Z")
				s.ask(request{what: "near another's", path: schedules, body: plan("2026-01-05T11:45:00Z"), status: 409, answer: near})

				session := request{what: "session", path: sessions, headers: by(alice), body: aed1, status: 201, answer: active}
				s.ask(session)
				session.what, session.status = "resumed", 200
				s.ask(session)
				s.count(1, `select count(*) from aedpics.inspection_sessions
					where resumed_at between date_trunc('milliseconds', started_at) and now() and last_accessed_at = resumed_at and updated_at = resumed_at`)
			})
		}
	})
}

// Each statement says which request it belongs to, and nothing but a traceparent gets into it.
func TestMark(t *testing.T) {
	eachService(t, func(t *testing.T, program program) {
		s := start(t, program, "idempotent", protected, "MARK=1")
		const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		open := s.begin(`insert into aedpics.inspection_sessions (equipment_serial, inspector_id) values ('AED-1', $1)`, bob)
		marked := s.send(request{what: "marked", path: sessions, headers: by(alice, "traceparent", parent, "Idempotency-Key", "k"), body: aed1})
		s.waiting(1)
		s.count(1, `select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%/*traceparent=''`+parent+`''*/'`)
		require.NoError(t, open.Rollback(t.Context()))
		marked.expect(201, active)

		s.ask(request{what: "resumed", path: sessions, headers: by(alice, "traceparent", parent), body: aed1, status: 200, answer: active})
		s.ask(request{
			what: "not a traceparent", path: schedules, headers: by(alice, "traceparent", "'*/; drop schema aedpics cascade; /*"),
			body: plan("2026-01-05T10:00:00Z"), status: 201, answer: planned("2026-01-05T10:00:00.000Z"),
		})
		s.ask(request{
			what: "refused", path: schedules, headers: by(bob, "traceparent", parent),
			body: plan("2026-01-05T10:00:00Z"), status: 409, answer: near,
		})
	})
}

// Told to end, a service gives up what still waits for the database, and its work is rolled back.
func TestEndsWhileARequestWaits(t *testing.T) {
	eachService(t, func(t *testing.T, program program) {
		s := start(t, program, "fixed", protected)
		open := s.begin(`insert into aedpics.inspection_sessions (equipment_serial, inspector_id) values ('AED-1', $1)`, bob)
		s.send(request{what: "never answered", path: sessions, headers: by(alice), body: aed1})
		s.waiting(1)
		s.end()
		require.NoError(t, open.Rollback(t.Context()))
		s.gone()
		s.count(0, `select count(*) from aedpics.inspection_sessions`)
	})
}

// A connection on which nothing has been asked, as clients open them in advance, does not keep a service from ending.
func TestEndsWithAnUnusedConnection(t *testing.T) {
	eachService(t, func(t *testing.T, program program) {
		s := start(t, program, "fixed", protected)
		unused, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		require.NoError(t, err)
		defer unused.Close()
		s.client.CloseIdleConnections() // the next one is accepted after that one
		s.ask(request{what: "health", method: "GET", path: "/healthz", status: 200, answer: `{"status":"ok"}`})
		s.end()
		require.NotContains(t, s.output.String(), "cut off")
	})
}

func TestBadEnvironment(t *testing.T) {
	eachService(t, func(t *testing.T, program program) {
		output, err := program.command(t.Context(), "FORM=best", "PORT=http", "POOL=0").CombinedOutput()
		require.Error(t, err)
		for _, why := range []string{
			`unknown FORM "best"; try production, fixed or idempotent`, `PORT "http" is not a port; try 8080`,
			`POOL "0" is not a number of connections; try 5`, `there is no DATABASE_URL; try postgres://user@127.0.0.1:5432/database`,
		} {
			require.Contains(t, strings.ReplaceAll(string(output), `\"`, `"`), why)
		}
	})
}

// ask sends a request, requires its answer, and returns that.
func (s *service) ask(r request) string {
	s.Helper()
	return s.send(r).expect(r.status, r.answer)
}

// pending is a request that is under way.
type pending struct {
	s    *service
	what string
	came chan came
}

type came struct {
	status int
	body   string
	err    error
}

func (s *service) send(r request) pending {
	s.Helper()
	if r.method == "" {
		r.method = http.MethodPost
	}
	ask, err := http.NewRequestWithContext(s.Context(), r.method, s.url+r.path, strings.NewReader(r.body))
	require.NoError(s, err)
	for name, value := range r.headers {
		ask.Header.Set(name, value)
	}
	p := pending{s: s, what: r.what, came: make(chan came, 1)}
	s.requests.Go(func() {
		answer, err := s.client.Do(ask)
		if err != nil {
			p.came <- came{err: err}
			return
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		p.came <- came{answer.StatusCode, string(body), err}
	})
	return p
}

// expect waits for the answer, requires what it must be, and returns it.
func (p pending) expect(status int, answer string) string {
	p.s.Helper()
	got := <-p.came
	require.NoError(p.s, got.err, p.what)
	require.Equal(p.s, status, got.status, "%s: %s\n%s", p.what, got.body, p.s.output.String())
	var want, have any
	require.NoError(p.s, json.Unmarshal([]byte(answer), &want), answer)
	require.NoError(p.s, json.Unmarshal([]byte(got.body), &have), "%s: %s", p.what, got.body)
	shape, _ := want.(map[string]any)
	values, _ := have.(map[string]any)
	for key, value := range shape {
		if value == "*" && values[key] != nil {
			shape[key] = values[key]
		}
	}
	require.Equal(p.s, want, have, p.what)
	return got.body
}

// begin starts a transaction of the test's own with a statement, and ends it with the test at the latest.
func (s *service) begin(sql string, args ...any) pgx.Tx {
	s.Helper()
	tx, err := s.connect("other").Begin(s.Context())
	require.NoError(s, err)
	_, err = tx.Exec(s.Context(), sql, args...)
	require.NoError(s, err)
	return tx
}

func (s *service) exec(sql string, args ...any) {
	s.Helper()
	_, err := s.conn.Exec(s.Context(), sql, args...)
	require.NoError(s, err)
}

func (s *service) count(want int, sql string) {
	s.Helper()
	var got int
	require.NoError(s, s.conn.QueryRow(s.Context(), sql).Scan(&got))
	require.Equal(s, want, got, sql)
}

// waiting returns when so many of the service's connections wait for a lock.
func (s *service) waiting(n int) {
	s.Helper()
	s.until(`select count(*) = $1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`, n)
}

// gone returns when no connection is left but the test's own.
func (s *service) gone() {
	s.Helper()
	s.until(`select count(*) = 0 from pg_stat_activity where datname = current_database() and application_name not like 'interlock %'
		and backend_type = 'client backend'`)
}

func (s *service) until(sql string, args ...any) {
	s.Helper()
	require.Eventually(s, func() bool {
		var so bool
		err := s.conn.QueryRow(context.WithoutCancel(s.Context()), sql, args...).Scan(&so)
		return err == nil && so
	}, 30*time.Second, 5*time.Millisecond, "%s\n%s", sql, &s.output)
}
