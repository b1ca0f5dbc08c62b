package monitor_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/monitor"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m, func() error { return goleak.Find() }) }

// slots is a table of who has which slot; none may be taken twice.
const slots = `create table slots (slot int, owner text, at timestamptz default '2025-11-10 10:00Z', updated_at timestamptz default now());
	create table numbers (number int primary key)`

// twice is a query for slots that are taken twice.
func twice(where string) string {
	return `select slot::text collate "C", count(*), min(at), max(at), jsonb_build_object('owners', jsonb_agg(owner order by owner))
		from slots where ` + where + ` group by slot having count(*) > 1 order by slot::text collate "C"`
}

func watch() monitor.Watch {
	return monitor.Watch{Invariant: "T1", Name: "taken-twice", Says: "no slot is taken twice", All: twice(`true`)}
}

// blocked is a watch whose looks wait for the test to release an advisory lock.
func blocked() monitor.Watch {
	return monitor.Watch{
		Invariant: "T2", Name: "blocked", Says: "nothing",
		All: `select 'x', 1::bigint, null::timestamptz, null::timestamptz, null::jsonb from (select pg_advisory_xact_lock_shared(1)) l`,
	}
}

// looking is true of a session with the look of blocked under way. The lock is what tells: that a session waits is not to be seen while it looks for
// deadlocks, and that it has a query is true while that is prepared, too.
const looking = `pid in (select pid from pg_locks where locktype = 'advisory' and not granted)`

// clock is one of a test's own, in whose time all that takes any takes a tick.
type clock struct {
	mu   sync.Mutex
	at   time.Time
	tick time.Duration
}

func ticking(tick time.Duration) *clock {
	return &clock{at: time.Date(2025, 11, 10, 10, 0, 0, 0, time.UTC), tick: tick}
}

func (c *clock) now() time.Time {
	c.skip(c.tick)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) skip(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// open opens a monitor, which looks whenever somebody asks unless the test says otherwise: a query may take long for no reason but the machine's.
func open(t *testing.T, config monitor.Config) *monitor.Monitor {
	t.Helper()
	if config.Share == 0 {
		config.Share = 1
	}
	m, err := monitor.Open(config)
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return m
}

// run has the monitor look at set times until the test is over, or what it returns is called.
func run(t *testing.T, m *monitor.Monitor) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	end = func() {
		if cancel(); ended != nil {
			require.NoError(t, <-ended)
			ended = nil
		}
	}
	t.Cleanup(end)
	return end
}

// look makes a look now.
func look(t *testing.T, m *monitor.Monitor, name string) monitor.Result {
	t.Helper()
	r, err := m.Result(t.Context(), name, 0)
	require.NoError(t, err)
	return r
}

func keys(groups []monitor.Group) []string {
	all := []string{}
	for _, g := range groups {
		all = append(all, g.Key)
	}
	return all
}

// until waits for something to be seen.
func until(t *testing.T, what string, seen func() bool) {
	t.Helper()
	require.Eventually(t, seen, 30*time.Second, time.Millisecond, "waiting until %s", what)
}

// client is a connection beside the monitor.
type client struct {
	*pgx.Conn
	t *testing.T
}

func connect(t *testing.T, config *pgx.ConnConfig) client {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	return client{conn, t}
}

func (c client) exec(sql string, args ...any) {
	c.t.Helper()
	_, err := c.Exec(c.t.Context(), sql, args...)
	require.NoError(c.t, err, sql)
}

// backends returns how many sessions the monitor has with the database.
func (c client) backends(where string) (n int) {
	c.t.Helper()
	err := c.QueryRow(c.t.Context(), `select count(*) from pg_stat_activity
		where application_name = 'interlock serve' and datname = current_database() and `+where).Scan(&n)
	require.NoError(c.t, err)
	return n
}

func (c client) take(slot int, owners ...string) {
	c.t.Helper()
	for _, owner := range owners {
		c.exec(`insert into slots (slot, owner) values ($1, $2)`, slot, owner)
	}
}

func numbers(n int) string {
	return fmt.Sprintf(`insert into numbers select * from generate_series(1, %d)`, n)
}
