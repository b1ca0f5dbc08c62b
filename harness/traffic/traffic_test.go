package traffic_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/traffic"
)

// Indexing slow(x) takes half a second at the least: 250 rows, 2 ms each.
const shop = `
create function slow(x int) returns int immutable language plpgsql as 'begin perform pg_sleep(0.002); return x; end';
create table orders (id int primary key, customer int, note text not null default '');
create table customers (id int primary key, name text);
insert into customers select i, 'c' || i from generate_series(1, 20) i;
insert into orders select i, i % 20 from generate_series(1, 250) i;
create table empty (id int primary key);
create table keyless (x int);
insert into keyless values (1);
create table parts (id int, x text, primary key (id)) partition by range (id);
create table parts_1 partition of parts for values from (0) to (1000);
insert into parts select i, 'x' from generate_series(1, 20) i;
create function refuse() returns trigger language plpgsql as 'begin raise exception ''never''; end';
create table frozen (id int primary key, x int);
insert into frozen values (1, 1);
create trigger refuse before update on frozen for each row execute function refuse();
create table done (id int primary key, x int);
insert into done select i, i from generate_series(1, 20) i;
create trigger refuse before update on done for each row when (old.x > 15) execute function refuse();
`

const built = 500 * time.Millisecond

// apply sends statements one after the other, on one connection.
func apply(statements ...string) func(context.Context, *pgx.ConnConfig) error {
	return func(ctx context.Context, config *pgx.ConnConfig) error {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		for _, sql := range statements {
			if err == nil {
				_, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
			}
		}
		return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	}
}

// clones returns what clones shop. All clones must be gone when the test ends.
func clones(t *testing.T) func(context.Context) (*server.Database, error) {
	template := servertest.Template(t, shop)
	var names []string
	t.Cleanup(func() {
		ctx := context.Background()
		conn, err := pgx.ConnectConfig(ctx, template.Server().Config("", "test"))
		require.NoError(t, err)
		defer conn.Close(ctx)
		var left int
		require.NoError(t, conn.QueryRow(ctx, `select count(*) from pg_database where datname = any($1)`, names).Scan(&left))
		require.NotEmpty(t, names)
		require.Zero(t, left)
	})
	return func(ctx context.Context) (*server.Database, error) {
		db, err := template.Database(ctx)
		if err == nil {
			names = append(names, db.Name)
		}
		return db, err
	}
}

type outcome struct {
	trial    history.Trial
	findings []history.Finding
	report   traffic.Report
}

func try(t *testing.T, config traffic.Config) outcome {
	t.Helper()
	config.Database = clones(t)
	config.File, config.Seed = "m.sql", 1
	var o outcome
	var err error
	o.trial, o.findings, o.report, err = traffic.Try(t.Context(), config)
	require.NoError(t, err)
	require.Equal(t, history.TrialLive, o.trial.Name)
	require.NotEmpty(t, o.trial.Says)
	t.Log(o.trial.State, o.trial.Says)
	for _, line := range o.trial.Details {
		t.Log("  ", line)
	}
	for _, f := range o.findings {
		t.Log("  ", f.Level, f.Rule, f.Says, f.Evidence)
		require.Equal(t, "m.sql", f.File)
		require.Equal(t, history.TrialLive, f.Trial)
	}
	return o
}

// errors returns the rules of the findings of level error.
func (o outcome) errors() (rules []string) {
	for _, f := range o.findings {
		if f.Level == history.LevelError {
			rules = append(rules, f.Rule)
		}
	}
	return rules
}

func (o outcome) finding(t *testing.T, rule string) history.Finding {
	t.Helper()
	for _, f := range o.findings {
		if f.Rule == rule {
			return f
		}
	}
	require.Fail(t, "no finding "+rule)
	return history.Finding{}
}

// held returns the lock that was seen on orders.
func held(t *testing.T, locks []traffic.Held, mode string) traffic.Held {
	t.Helper()
	for _, h := range locks {
		if h.Table == "public.orders" && h.Mode == mode {
			return h
		}
	}
	require.Failf(t, "not seen", "%s in %v", mode, locks)
	return traffic.Held{}
}

func waits(locks ...[]traffic.Held) (n int) {
	for _, some := range locks {
		for _, h := range some {
			n += h.Reads + h.Writes
		}
	}
	return n
}

func TestIndexStallsWriters(t *testing.T) {
	t.Parallel()
	const statement = `create index slow_orders on orders (slow(customer))`
	o := try(t, traffic.Config{Apply: apply(statement), Tables: []string{"public.orders"}, MaxStall: 200 * time.Millisecond})
	require.Equal(t, history.TrialFailed, o.trial.State)
	share := held(t, o.report.Locks, "SHARE")
	require.Zero(t, share.Reads, "readers go on")
	require.Equal(t, 2, share.Writes, "each writer")
	require.Greater(t, share.Longest, 200*time.Millisecond)
	require.GreaterOrEqual(t, o.report.Applied, built)
	require.GreaterOrEqual(t, o.report.During.Max, share.Longest)
	f := o.finding(t, traffic.StallsClients)
	require.Equal(t, history.LevelError, f.Level)
	require.Equal(t, statement, f.Statement)
	require.Contains(t, f.Says, "SHARE on public.orders is held for")
	require.Contains(t, f.Says, "clients that write it wait")
	require.Equal(t, []string{traffic.StallsClients}, o.errors())

	require.Len(t, o.report.Beside, 2)
	beside := o.report.Beside[0]
	require.False(t, beside.Long)
	require.Equal(t, o.report.Baseline.Max, time.Duration(beside.Usual))
	span := course(t, beside, "SHARE")
	require.GreaterOrEqual(t, span.Ended-span.Granted, history.Duration(built))
	require.LessOrEqual(t, span.Ended, beside.Took)
	require.Equal(t, statement, span.Statement)
	require.Equal(t, o.report.During.Max.Truncate(time.Microsecond), time.Duration(slices.Max(beside.Slowest)))
	middle := len(beside.Slowest) * int((span.Granted+span.Ended)/2/1e6) / int(beside.Took/1e6)
	require.Greater(t, beside.Slowest[middle], history.Duration(200*time.Millisecond), "while the index is built, a writer is held up")
	require.True(t, o.report.Beside[1].Long)

	for _, b := range o.report.Beside {
		for _, l := range b.Locks {
			require.Equal(t, "public.orders", l.Table, "nobody waits for its indexes, or for other tables")
		}
	}

	const tries = 5
	for n := 0; n == 0 || n < tries && len(o.report.Beside) < 2; n++ { // it may run into a deadlock with clients, which ends the trial
		o = try(t, traffic.Config{
			Apply:  apply(`begin`, `insert into customers values (1000, 'x')`, `reindex index orders_pkey`, `commit`),
			Tables: []string{"public.orders"},
		})
	}
	require.Len(t, o.report.Beside, 2)
	i := slices.IndexFunc(o.report.Beside[1].Locks, func(l history.LockSpan) bool { return l.Table == "public.orders_pkey" })
	require.GreaterOrEqual(t, i, 0, "everybody waits for this index: %+v", o.report.Beside[1].Locks)
	require.Less(t, o.report.Beside[1].Locks[i].Asked, o.report.Beside[1].Locks[i].Granted)
	require.False(t, slices.ContainsFunc(o.report.Beside[1].Locks, func(l history.LockSpan) bool { return l.Table == "public.customers" }), "it keeps nobody waiting")
}

// course returns when the migration had a lock on orders.
func course(t *testing.T, b history.Beside, mode string) history.LockSpan {
	t.Helper()
	i := slices.IndexFunc(b.Locks, func(h history.LockSpan) bool { return h.Table == "public.orders" && h.Mode == mode })
	require.GreaterOrEqual(t, i, 0, "%s in %+v", mode, b.Locks)
	return b.Locks[i]
}

func TestConcurrentlyStallsNobody(t *testing.T) {
	t.Parallel()
	o := try(t, traffic.Config{
		Apply:  apply(`create index concurrently slow_orders on orders (slow(customer))`),
		Tables: []string{"public.orders"}, MaxStall: 200 * time.Millisecond,
	})
	require.Equal(t, history.TrialPassed, o.trial.State)
	require.Empty(t, o.findings)
	require.GreaterOrEqual(t, o.report.Applied, built)
	require.Zero(t, waits(o.report.Locks, o.report.Queued))
	held(t, o.report.Locks, "SHARE UPDATE EXCLUSIVE")
	require.Positive(t, o.report.During.Requests)
	require.Positive(t, o.report.Baseline.Requests)
}

func TestQueue(t *testing.T) {
	t.Parallel()
	const statement = `alter table orders add column extra int`
	for name, test := range map[string]struct {
		statements []string
		maxStall   time.Duration
		want       []string
		refused    bool
	}{
		"without lock_timeout":      {[]string{statement}, 300 * time.Millisecond, []string{traffic.LockQueue}, false},
		"with lock_timeout":         {[]string{`set lock_timeout = '500ms'`, statement}, time.Minute, nil, true},
		"with statement_timeout":    {[]string{`set statement_timeout = '500ms'`, statement}, time.Minute, nil, true},
		"lock_timeout but too long": {[]string{`set lock_timeout = '1min'`, statement}, 300 * time.Millisecond, []string{traffic.LockQueue}, false},
		"leaves something behind": {
			[]string{`set lock_timeout = '500ms'`, `create table made ()`, statement}, time.Minute, []string{traffic.CannotBeRepeated}, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := try(t, traffic.Config{Apply: apply(test.statements...), Tables: []string{"public.orders"}, MaxStall: test.maxStall})
			require.Equal(t, test.want, o.errors())
			require.Equal(t, test.refused, o.report.Refused > 0)
			h := held(t, o.report.Queued, "ACCESS EXCLUSIVE")
			require.Positive(t, h.Waited)
			span := course(t, o.report.Beside[1], "ACCESS EXCLUSIVE")
			require.Less(t, span.Asked, span.Granted, "it waits for the long transaction")
			require.LessOrEqual(t, span.Granted, span.Ended)
			if !test.refused {
				require.Greater(t, h.Behind, test.maxStall)
				require.Positive(t, h.Reads)
				require.Positive(t, h.Writes)
				f := o.finding(t, traffic.LockQueue)
				require.Equal(t, statement, f.Statement)
				require.Contains(t, f.Says, "ACCESS EXCLUSIVE on public.orders behind a transaction that only reads")
				require.Equal(t, "SET lock_timeout = '150ms';\n"+statement, f.Rewrite.SQL)
			}
		})
	}
}

func TestRunningCode(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		statement string
		state     string // empty: nothing breaks
		level     history.Level
		table     string
	}{
		"a column is dropped":     {`alter table orders drop column note`, "42703", history.LevelWarning, "public.orders"},
		"a column is renamed":     {`alter table orders rename customer to buyer`, "42703", history.LevelWarning, "public.orders"},
		"the key is renamed":      {`alter table orders rename id to order_id`, "42703", history.LevelWarning, "public.orders"},
		"the table is dropped":    {`drop table customers`, "42P01", history.LevelWarning, "public.customers"},
		"the table is renamed":    {`alter table customers rename to people`, "42P01", history.LevelWarning, "public.customers"},
		"a type changes":          {`alter table orders alter customer type bigint`, "0A000", history.LevelNote, "public.orders"},
		"old rows break a check":  {`alter table orders add constraint c check (note <> '') not valid`, "23514", history.LevelWarning, "public.orders"},
		"a column is added":       {`alter table orders add extra int not null default 1`, "", "", ""},
		"the primary key is gone": {`alter table orders drop constraint orders_pkey`, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "a column is dropped" && name != "a type changes" {
				servertest.Slow(t)
			}
			t.Parallel()
			o := try(t, traffic.Config{
				Apply: apply(`set lock_timeout = '50ms'`, test.statement), Tables: []string{"public.orders", "public.customers"}, MaxStall: time.Minute,
			})
			require.Empty(t, o.errors())
			require.Equal(t, test.state != "", o.report.Errors > 0)
			for _, failure := range o.report.Failures {
				require.Equal(t, test.state, failure.SQLState)
				require.Equal(t, test.table, failure.Table)
			}
			if test.state != "" {
				f := o.finding(t, traffic.BreaksCode)
				require.Equal(t, test.level, f.Level)
				require.Equal(t, test.state, f.SQLState)
				require.Contains(t, f.Evidence[0], "failed with "+test.state)
			}
		})
	}
}

// It is not only the lock that it waits for which holds clients up meanwhile. All of them may happen to wait for that one, though.
func TestQueueForAnotherLock(t *testing.T) {
	t.Parallel()
	const tries = 5
	writes := 0
	for n := 0; n < tries && writes == 0; n++ {
		o := try(t, traffic.Config{
			Apply:  apply(`begin`, `create index on orders (customer)`, `alter table customers add extra int`, `commit`),
			Tables: []string{"public.orders", "public.customers"}, MaxStall: 300 * time.Millisecond,
		})
		require.Equal(t, []string{traffic.LockQueue}, o.errors())
		f := o.finding(t, traffic.LockQueue)
		require.Equal(t, `alter table customers add extra int`, f.Statement)
		require.Contains(t, f.Says, "ACCESS EXCLUSIVE on public.customers behind")
		writes = held(t, o.report.Queued, "SHARE").Writes
	}
	require.Positive(t, writes)
}

// A migration that locks no table that clients use is not heard of.
func TestAnotherTable(t *testing.T) {
	t.Parallel()
	o := try(t, traffic.Config{
		Apply:  apply(`create table new (id int primary key)`, `create index on empty (slow(id))`, `alter table customers add extra int`),
		Tables: []string{"public.orders"},
	})
	require.Equal(t, history.TrialPassed, o.trial.State)
	require.Empty(t, o.findings)
	require.Zero(t, waits(o.report.Locks, o.report.Queued))
	require.Zero(t, o.report.Refused)
}

// All tables of a schema: partitions, tables without a key and those whose rows cannot be written are no trouble.
func TestAllTables(t *testing.T) {
	t.Parallel()
	o := try(t, traffic.Config{Apply: apply(`create table new (id int primary key)`), Clients: 3})
	require.Equal(t, history.TrialPassed, o.trial.State)
	require.Empty(t, o.findings)
	require.Zero(t, o.report.Errors)
	details := strings.Join(o.trial.Details, "\n")
	require.Contains(t, details, "update public.done set x = x where id = $1: never (P0001)")
	require.Contains(t, details, "update public.frozen set x = x where id = $1: never (P0001)")
}

// Rows that the migration has changed are locked until it ends.
func TestRowsStayLocked(t *testing.T) {
	t.Parallel()
	o := try(t, traffic.Config{
		Apply:  apply(`begin`, `update orders set note = 'x'`, `select pg_sleep(0.5)`, `commit`),
		Tables: []string{"public.orders"}, MaxStall: 200 * time.Millisecond,
	})
	require.Equal(t, []string{traffic.StallsClients}, o.errors())
	require.Contains(t, o.finding(t, traffic.StallsClients).Says, "rows of public.orders stay locked")
	require.Zero(t, held(t, o.report.Locks, "rows").Reads)
}

// Writers pile up in transactions that have read the table, which then has to be locked altogether.
func TestDeadlock(t *testing.T) {
	t.Parallel()
	o := try(t, traffic.Config{
		Apply:  apply(`begin; create index on orders (slow(customer)); alter table orders add extra int; commit`),
		Tables: []string{"public.orders"}, MaxStall: time.Minute,
	})
	require.Contains(t, o.errors(), traffic.Deadlock)
	f := o.finding(t, traffic.Deadlock)
	require.Equal(t, "40P01", f.SQLState)
	require.Contains(t, f.Evidence[0], "blocked by process")
	require.Equal(t, len(f.Evidence), o.report.Deadlocks)
}

func TestTheMigrationFails(t *testing.T) {
	t.Parallel()
	o := try(t, traffic.Config{Apply: apply(`select 1/0`)})
	require.Equal(t, []string{traffic.FailsLive}, o.errors())
	require.Equal(t, "22012", o.finding(t, traffic.FailsLive).SQLState)
	require.Equal(t, history.TrialFailed, o.trial.State)
}

func TestNothingToTry(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		tables []string
		says   string
	}{
		"no such table":  {[]string{"public.new"}, "it touches no table that was there before"},
		"no rows":        {[]string{"public.empty"}, "none of the tables that it touches has a primary key and rows"},
		"no primary key": {[]string{"public.keyless"}, "none of the tables that it touches has a primary key and rows"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := try(t, traffic.Config{Apply: apply(), Tables: test.tables})
			require.Equal(t, history.TrialSkipped, o.trial.State)
			require.Equal(t, test.says, o.trial.Says)
			require.Empty(t, o.findings)
		})
	}
}

func TestTrouble(t *testing.T) {
	t.Parallel()
	t.Run("the environment's is unknown", func(t *testing.T) {
		t.Parallel()
		o := try(t, traffic.Config{Apply: func(context.Context, *pgx.ConnConfig) error {
			return &pgconn.PgError{Code: "53100", Message: "disk full"}
		}})
		require.Equal(t, history.TrialUnknown, o.trial.State)
		require.Contains(t, o.trial.Says, "disk full")
		require.Empty(t, o.findings)
	})
	t.Run("clients that lose their server", func(t *testing.T) {
		t.Parallel()
		o := try(t, traffic.Config{Apply: apply(`select pg_terminate_backend(pid) from pg_stat_activity
			where datname = current_database() and application_name like '% client %'`)})
		require.Equal(t, history.TrialUnknown, o.trial.State)
	})
	t.Run("no database", func(t *testing.T) {
		t.Parallel()
		none := errors.New("none left")
		_, _, _, err := traffic.Try(t.Context(), traffic.Config{Database: func(context.Context) (*server.Database, error) { return nil, none }})
		require.ErrorIs(t, err, none)
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		_, _, _, err := traffic.Try(ctx, traffic.Config{
			Database: clones(t),
			Apply: func(ctx context.Context, config *pgx.ConnConfig) error {
				cancel()
				return apply(`select pg_sleep(60)`)(ctx, config)
			},
		})
		require.ErrorIs(t, err, context.Canceled)
	})
}
