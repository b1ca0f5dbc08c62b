package desk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/desk"
	"github.com/interlock-pg/interlock/harness/proxy"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire"
)

// room is a desk at a database of its own, and who sits there.
type room struct {
	desk    *desk.Desk
	db      *server.Database
	told    *paper
	said    chan string
	serving chan error
}

// paper is what is written on it.
type paper struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *paper) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func setup(t *testing.T, change func(*desk.Config, *server.Database)) *room {
	r := &room{told: &paper{}, said: make(chan string), serving: make(chan error, 1)}
	r.db = servertest.Database(t, `create table people (id int primary key, name text); insert into people values (1, 'Kim')`)
	config := desk.Config{Trace: r.told, Hold: true, Script: true, Patience: time.Minute, Control: r.db.Config("control")}
	if change != nil {
		change(&config, r.db)
	}
	var err error
	r.desk, err = desk.Open(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.desk.Close(context.Background())) })
	go func() { r.serving <- r.desk.Serve(t.Context(), r.said) }()
	return r
}

// client connects a client with a name.
func (r *room) client(t *testing.T, name string) *pgx.Conn {
	config := r.db.Config("client")
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	r.desk.Gate().Attach(&config.Config, r.desk.Name(proxy.Hello{Parameters: map[string]string{"application_name": name}}))
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// do has a client execute statements, and returns what the first that fails comes to.
func do(t *testing.T, conn *pgx.Conn, statements ...string) <-chan error {
	done := make(chan error, 1)
	go func() {
		var err error
		for _, sql := range statements {
			if _, err = conn.Exec(t.Context(), sql); err != nil {
				break
			}
		}
		done <- err
	}()
	return done
}

// says gives commands, and ends.
func (r *room) says(t *testing.T, commands ...string) {
	for _, c := range commands {
		r.said <- c
	}
	close(r.said)
	require.NoError(t, <-r.serving)
}

// reads closes the desk, and returns what it has told.
func (r *room) reads(t *testing.T) string {
	require.NoError(t, r.desk.Close(t.Context()))
	return numbers.ReplaceAllString(r.told.String(), "(…)")
}

var numbers = regexp.MustCompile(`\([0-9]+\)`)

func TestStepsGoAsSaid(t *testing.T) {
	r := setup(t, nil)
	a, b := r.client(t, "A"), r.client(t, "A")
	first, second := do(t, a, `begin`, `update people set name = 'Lee' where id = 1`, `commit`), do(t, b, `update people set name = 'Ann' where id = 1`)
	r.says(t, "A", "1", "2", "1", "2", "l")
	require.NoError(t, <-first)
	require.NoError(t, <-second)
	told := r.reads(t)
	require.Contains(t, told, `= several sessions have this name: "A"; try its number, one of 1, 2`)
	require.Contains(t, told, "1  waits for 1 A: the end of a transaction\n")
	require.Regexp(t, `(?m)^= 2 A \(…\)  waits for 1 A: the end of a transaction, at 1: update people`, told)
	require.Regexp(t, `(?s)1 A \(…\) +2  goes on.*2 A \(…\) +1  → UPDATE 1.*2 A \(…\) +2  → committed`, told)
}

// TestSomebodyLooks: at a terminal, what is not there is not waited for.
func TestSomebodyLooks(t *testing.T) {
	r := setup(t, func(c *desk.Config, _ *server.Database) { c.Script = false })
	r.client(t, "A")
	r.says(t, "", "1", "2", "a B", "t", "h", "o", "1")
	told := r.reads(t)
	require.Contains(t, told, "= 1 A (…)  idle\n")
	require.Contains(t, told, "= nothing is held: 1 A (…)  idle\n")
	require.Contains(t, told, `= no session is called "2"; try one of these`)
	require.Contains(t, told, `= no session is called "B"; try one of these`)
	require.Contains(t, told, `= no session is called "t"; try one of these`)
	require.Contains(t, told, desk.Help[:strings.Index(desk.Help, "\n")])
}

func TestSessionsEnd(t *testing.T) {
	r := setup(t, nil)
	for name, code := range map[string]string{"cut": "", "terminated": "57P01"} {
		done := do(t, r.client(t, name), `insert into people values (2, 'Lee')`)
		r.said <- map[string]string{"cut": "a ", "terminated": "t "}[name] + name
		err := <-done
		require.Error(t, err)
		if of := new(pgconn.PgError); code != "" {
			require.ErrorAs(t, err, &of)
			require.Equal(t, code, of.Code)
		}
	}
	r.says(t, "w")
	told := r.reads(t)
	require.Contains(t, told, "cut off\n")
	require.Contains(t, told, "ended by the server: 57P01: terminating connection")
	require.Contains(t, told, "= all have left\n")
	var n int
	conn, err := r.db.Connect(t.Context(), "observer")
	require.NoError(t, err)
	defer conn.Close(t.Context())
	require.NoError(t, conn.QueryRow(t.Context(), `select count(*) from people`).Scan(&n))
	require.Equal(t, 1, n)
}

// TestCancelled: a client that gives its step up while it is held.
func TestCancelled(t *testing.T) {
	r := setup(t, nil)
	conn := r.client(t, "A")
	done := do(t, conn, `insert into people values (2, 'Lee')`)
	require.NoError(t, r.desk.Gate().Wait(t.Context(), func() bool { return r.desk.Gate().Sessions()[0].State().Phase == wire.Holding }))
	require.NoError(t, conn.PgConn().CancelRequest(t.Context()))
	require.ErrorContains(t, <-done, "57014")
	r.says(t, "l")
	require.Regexp(t, `1  held: (?s:.*) asks to cancel\n(?s:.*)1  → cancelled while it was held`, r.reads(t))
}

// TestWithoutControl: who may not ask the server is told so, and what needs no asking works.
func TestWithoutControl(t *testing.T) {
	troubles := &paper{}
	r := setup(t, func(c *desk.Config, db *server.Database) {
		c.Control = db.Config("control")
		c.Control.Database = "nowhere"
		c.Trouble = func(err error) { troubles.Write([]byte(err.Error())) }
		c.Hold = false
	})
	require.Contains(t, troubles.String(), "a user who may connect")
	require.NoError(t, <-do(t, r.client(t, "A"), `select 1`))
	r.says(t, "t A")
	told := r.reads(t)
	require.Contains(t, told, `= terminating 1 A (…): `)
	require.Contains(t, told, "→ SELECT 1\n")
}

func TestEventsAsJSON(t *testing.T) {
	answers := &paper{}
	r := setup(t, func(c *desk.Config, _ *server.Database) { c.JSON, c.Answers = true, answers })
	done := do(t, r.client(t, "A"), `select name from people`)
	r.says(t, "A", "A")
	require.NoError(t, <-done)
	told := r.reads(t)
	require.Contains(t, answers.String(), "idle\n")
	var kinds []string
	for line := range strings.Lines(told) {
		var e desk.Event
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		require.Equal(t, "1 A", e.Session)
		kinds = append(kinds, string(e.Kind))
	}
	require.Equal(t, []string{"started", "held", "released", "answered", "held", "released", "answered", "closed"}, kinds)
}

// stuck is a reader who reads nothing until told.
type stuck struct {
	paper
	reads chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	<-s.reads
	return s.paper.Write(b)
}

// TestNobodyReads: nobody waits for who does not read what is told, and what has been told then comes in its order, with how much was left out.
func TestNobodyReads(t *testing.T) {
	trace := &stuck{reads: make(chan struct{})}
	troubles := &paper{}
	r := setup(t, func(c *desk.Config, _ *server.Database) {
		c.Trace, c.JSON, c.Hold = trace, true, false
		c.Trouble = func(err error) { troubles.Write([]byte(err.Error())) }
	})
	conn := r.client(t, "A")
	long := `select length('` + strings.Repeat("x", 1<<20) + `')`
	require.NoError(t, <-do(t, conn, long, long, long))
	r.says(t, "l")
	over, stop := context.WithCancel(t.Context())
	stop()
	require.NoError(t, r.desk.Close(over))
	require.Contains(t, troubles.String(), "has not been read")
	close(trace.reads)
	require.NoError(t, r.desk.Close(t.Context()))
	var last desk.Event
	lines := 0
	for line := range strings.Lines(trace.String()) {
		lines++
		last = desk.Event{}
		require.NoError(t, json.Unmarshal([]byte(line), &last))
		if last.Kind != desk.Unread {
			require.Equal(t, uint64(lines), last.Number)
		}
	}
	require.Equal(t, desk.Unread, last.Kind)
	require.Equal(t, 1+3*4+1+1, lines-1+last.Lines, "started, the steps, what l is answered, closed")
}

func TestHeldStepsThatNobodyIsToldOf(t *testing.T) {
	_, err := desk.Open(t.Context(), desk.Config{Hold: true})
	require.ErrorContains(t, err, "try a trace")
}
