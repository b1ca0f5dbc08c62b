//go:build unix

package target_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/target"
)

// asked starts the application with a file's clients, and returns what each operation of the first came to.
func asked(t *testing.T, rest string) (*target.Instance, race.Scenario, []race.Answer) {
	t.Helper()
	_, database := databaseURL(t)
	f := load(t, "", rest)
	s := scenario(t, f)
	in := start(t, f, database)
	var answers []race.Answer
	for _, op := range s.Clients[0].Operations {
		answers = append(answers, op.Ask(t.Context(), in))
	}
	return in, s, answers
}

// scenario returns that of the file's clients as they are.
func scenario(t testing.TB, f *target.File) race.Scenario {
	t.Helper()
	w, err := f.Workload(nil)
	require.NoError(t, err)
	in, err := w.Generate(1)
	require.NoError(t, err)
	return w.Scenario(in)
}

func TestConversation(t *testing.T) {
	t.Parallel()
	_, s, answers := asked(t, `
generators: {thing: {choice: [AED-1]}}
clients:
  - copies: 2
    requests:
      - name: create
        path: /things
        json: {name: "{{thing}}"}
        row: $.id
        slot: "the {{thing}}"
        subject: "{{thing}}"
        capture: {id: $.id, called: $.name}
      - {name: again, method: POST, path: /things, json: {name: "{{called}}"}, row: $.id, capture: {second: $.id}}
      - {name: rename, method: PUT, path: "/things/{{id}}", json: {name: "was {{called}}", "number": "{{id}}"}}
      - {name: rename none, method: PUT, path: /things/17, json: {name: x}}
      - {name: rename the second, method: PUT, path: "/things/{{second}}", json: {name: x}}
      - {name: bad, method: PUT, path: /things/x, json: {name: x}}`)
	require.Equal(t, race.Answer{Outcome: race.Created, Row: "1", Attempts: 1}, answers[0])
	require.Equal(t, race.Conflict, answers[1].Outcome)
	require.EqualError(t, answers[1].Err, `409 Conflict: {"error":"there is one"}`)
	require.Equal(t, race.Answer{Outcome: race.Done, Attempts: 1}, answers[2])
	require.Equal(t, race.NotFound, answers[3].Outcome)
	require.EqualError(t, answers[3].Err, "404 Not Found")
	require.Equal(t, race.NotFound, answers[4].Outcome)
	require.EqualError(t, answers[4].Err, "not sent, for there is no {{second}}: again was answered 409 Conflict")
	require.Equal(t, race.Failed, answers[5].Outcome)
	require.ErrorContains(t, answers[5].Err, `500 Internal Server Error: {"error":"ERROR: invalid input syntax`)

	first := s.Clients[0].Operations[0]
	require.Equal(t, "create", first.Kind)
	require.Equal(t, "the AED-1", first.Slot)
	require.Equal(t, "AED-1", first.Subject)
	sent, err := json.Marshal(s.Clients[0].Operations[2].Input)
	require.NoError(t, err)
	require.JSONEq(t, `{"method": "PUT", "path": "/things/1", "body": {"name": "was AED-1", "number": 1}}`, string(sent))
	sent, err = json.Marshal(s.Clients[1].Operations[2].Input)
	require.NoError(t, err)
	require.JSONEq(t, `{"method": "PUT", "path": "/things/{{id}}", "body": {"name": "was {{called}}", "number": "{{id}}"}}`, string(sent))
}

// echo is what the application answers on /echo.
type echo struct {
	Headers map[string][]string
	Query   string
	Body    string
}

// echoed sends a file's only request and returns what arrived.
func echoed(t *testing.T, rest string) (race.Scenario, echo) {
	t.Helper()
	// The answer is seen in the error of an outcome that is one.
	_, s, answers := asked(t, "outcomes: {conflict: [200]}\n"+rest)
	require.Equal(t, race.Conflict, answers[0].Outcome)
	var got echo
	require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(answers[0].Err.Error(), "200 OK: ")), &got), answers[0].Err)
	return s, got
}

func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	s, got := echoed(t, `
headers: {X-Who: file, accept-encoding: br, User-Agent: t}
generators: {odd: {choice: ['a b/c?d&e#f%"']}}
clients:
  - copies: 2
    headers: {x-who: client, X-Copy: "{{client}} {{copy}}"}
    requests: [{method: POST, path: "/echo/200?a={{odd}}&b=1", headers: {X-WHO: request}, json: {odd: "{{odd}}", n: 12345678901234567}}]`)
	require.Equal(t, []string{"request"}, got.Headers["X-Who"])
	require.Equal(t, []string{"A 1"}, got.Headers["X-Copy"])
	require.Equal(t, []string{"application/json"}, got.Headers["Content-Type"])
	require.Equal(t, []string{"00-" + s.Clients[0].Mark + "-0000000000000001-01"}, got.Headers["Traceparent"])
	require.Len(t, s.Clients[0].Mark, 32)
	require.NotEqual(t, s.Clients[0].Mark, s.Clients[1].Mark)
	require.Equal(t, "a=a+b%2Fc%3Fd%26e%23f%25%22&b=1", got.Query)
	require.JSONEq(t, `{"odd": "a b/c?d&e#f%\"", "n": 12345678901234567}`, got.Body)
}

func TestMarker(t *testing.T) {
	t.Parallel()
	s, got := echoed(t, "marker: {header: X-Request-Id}\nclients: [{copies: 2, requests: [{path: /echo/200}]}]")
	require.Equal(t, []string{s.Clients[0].Mark}, got.Headers["X-Request-Id"])
	require.Empty(t, got.Headers["Traceparent"])
	require.Empty(t, got.Body)

	s, got = echoed(t, "marker: {header: ''}\nclients: [{copies: 2, requests: [{path: /echo/200}]}]")
	require.Empty(t, s.Clients[0].Mark)
	require.Empty(t, got.Headers["Traceparent"])
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	_, _, answers := asked(t, `
outcomes: {conflict: [4xx], not_found: [422], resumed: [200], unknown: [504]}
clients:
  - copies: 2
    requests:
      - {path: /echo/200}
      - {path: /echo/200, outcomes: {created: [200]}}
      - {path: /echo/202}
      - {path: /echo/404}
      - {path: /echo/422}
      - {path: /echo/404, outcomes: {not_found: [404]}}
      - {path: /moved}
      - {path: /echo/503}
      - {path: /echo/504}
      - {path: /echo/200, row: $.id}`)
	var outcomes []race.Outcome
	for _, a := range answers {
		outcomes = append(outcomes, a.Outcome)
	}
	require.Equal(t, []race.Outcome{
		race.Resumed, race.Created, race.Done, race.Conflict, race.NotFound, race.NotFound, race.Failed, race.Failed, race.Unknown, race.Resumed,
	}, outcomes)
	require.ErrorContains(t, answers[6].Err, "302 Found")
	require.ErrorContains(t, answers[9].Err, "nothing at row: $.id in the answer: 200 OK: {")
}

func TestLostAnswers(t *testing.T) {
	t.Parallel()
	in, _, answers := asked(t, `
clients:
  - copies: 2
    requests:
      - {path: /healthz} # so that the next has a connection that was used before
      - {path: /cut?times=1, capture: {id: $.id}}
      - {path: "/echo/200?id={{id}}"}
      - {path: /healthz}
      - {path: /cut?times=2, method: POST, headers: {Idempotency-Key: "1"}}
      - {path: /cut?times=3&middle=1, method: POST, json: {}}
      - {path: /cut?times=6, row: $.id, retries: {times: 4, on: [lost]}}
      - {path: /echo/503, retries: {times: 2, on: [lost, 5xx]}}
      - {path: /echo/503, retries: {times: 2, on: [lost, 502]}}`)
	require.Equal(t, race.Unknown, answers[1].Outcome)
	require.ErrorContains(t, answers[1].Err, "no answer: EOF")
	require.EqualError(t, answers[2].Err, "not sent, for there is no {{id}}: the answer to GET /cut?times=1 was lost")
	require.Equal(t, race.Unknown, answers[4].Outcome)
	require.Equal(t, race.Unknown, answers[5].Outcome)
	require.ErrorContains(t, answers[5].Err, "no answer: 201 Created, and then: unexpected EOF")
	require.Equal(t, race.Answer{Outcome: race.Created, Row: "whole", Attempts: 4}, answers[6])
	require.Equal(t, 3, answers[7].Attempts)
	require.Equal(t, race.Failed, answers[7].Outcome)
	require.Equal(t, 1, answers[8].Attempts)

	body, err := get(in, "/requests")
	require.NoError(t, err)
	require.JSONEq(t, `{"requests": 7}`, string(body)) // none was sent twice behind our back
}

// A request that nobody answers ends with its context.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	db, database := databaseURL(t)
	f := load(t, "", "clients: [{copies: 2, requests: [{method: POST, path: /things, json: {name: x}, retries: {times: 5, on: [lost]}}]}]")
	in := start(t, f, database)
	conn, err := db.Connect(t.Context(), "test")
	require.NoError(t, err)
	defer conn.Close(context.Background())
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "lock table things")
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan race.Answer)
	go func() { answer <- scenario(t, f).Clients[0].Operations[0].Ask(ctx, in) }()
	waits(t, db, "relation")
	cancel()
	got := <-answer
	require.Equal(t, race.Unknown, got.Outcome)
	require.Equal(t, 1, got.Attempts)
	require.ErrorIs(t, got.Err, context.Canceled)
	require.NoError(t, tx.Rollback(t.Context()))
}

func TestCommands(t *testing.T) {
	t.Parallel()
	db, database := databaseURL(t)
	f, err := target.Load(write(t, strings.ReplaceAll(`
name: jobs
database: {schema: schema.sql}
generators: {thing: {choice: [AED-1]}}
clients:
  - command: [PROGRAM, insert, "{{thing}} of {{client}}"]
  - command: [PROGRAM, fail]
  - command: [PROGRAM, wait]
`, "PROGRAM", program(t))))
	require.NoError(t, err)
	s := scenario(t, f)
	in := start(t, f, database)
	require.Empty(t, in.URL())
	require.Equal(t, race.Answer{Outcome: race.Done, Attempts: 1}, s.Clients[0].Operations[0].Ask(t.Context(), in))
	conn, err := db.Connect(t.Context(), "test")
	require.NoError(t, err)
	defer conn.Close(context.Background())
	var name string
	require.NoError(t, conn.QueryRow(t.Context(), "select name from things").Scan(&name))
	require.Equal(t, "AED-1 of A "+s.Clients[0].Mark, name)

	got := s.Clients[1].Operations[0].Ask(t.Context(), in)
	require.Equal(t, race.Failed, got.Outcome)
	require.EqualError(t, got.Err, `exit status 1: no job "fail"`)

	_, err = conn.Exec(t.Context(), "select pg_advisory_lock(1)")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan race.Answer)
	go func() { answer <- s.Clients[2].Operations[0].Ask(ctx, in) }()
	waits(t, db, "advisory")
	cancel()
	got = <-answer
	require.Equal(t, race.Unknown, got.Outcome)
	require.ErrorIs(t, got.Err, context.Canceled)
}

// A command that is cut off has its time to end in order; one that takes longer is killed, before its driver gives it up.
func TestCommandsAreToldToEnd(t *testing.T) {
	t.Parallel()
	_, database := databaseURL(t)
	f, err := target.Load(write(t, `
name: jobs
database: {schema: schema.sql}
clients:
  - command: [/bin/sh, -c, "trap 'sleep 0.2; echo in order > ended; exit' TERM; echo > begun; while :; do sleep 0.05; done"]
  - command: [/bin/sh, -c, "trap '' TERM; echo > deaf; while :; do sleep 1; done"]
`))
	require.NoError(t, err)
	file := func(name string) string { return filepath.Join(filepath.Dir(f.Path), name) }
	s, in := scenario(t, f), start(t, f, database)
	for i, begun := range []string{"begun", "deaf"} {
		ctx, cancel := context.WithCancel(t.Context())
		answer := make(chan race.Answer)
		go func() { answer <- s.Clients[i].Operations[0].Ask(ctx, in) }()
		require.Eventually(t, func() bool { _, err := os.Stat(file(begun)); return err == nil }, 20*time.Second, 5*time.Millisecond)
		cancel()
		told := time.Now()
		got := <-answer
		require.Less(t, time.Since(told), 2*time.Second)
		require.Equal(t, race.Unknown, got.Outcome)
		require.ErrorIs(t, got.Err, context.Canceled)
	}
	said, err := os.ReadFile(file("ended"))
	require.NoError(t, err)
	require.Equal(t, "in order\n", string(said))
}

// waits waits until a backend of the database waits for a lock.
func waits(t *testing.T, db *server.Database, kind string) {
	t.Helper()
	conn, err := db.Connect(t.Context(), "watch")
	require.NoError(t, err)
	defer conn.Close(context.Background())
	require.Eventually(t, func() bool {
		var waiting bool
		err := conn.QueryRow(t.Context(), `
			select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and wait_event = $1)`,
			kind).Scan(&waiting)
		return err == nil && waiting
	}, 20*time.Second, 5*time.Millisecond)
}
