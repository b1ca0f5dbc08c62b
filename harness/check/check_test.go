package check_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/check"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m, func() error { return goleak.Find() }) }

const schema = `
create table slots (slot int, owner text);
insert into slots values (1, 'A'), (1, 'B'), (2, 'C');
create unique index good on slots (owner);
create index other on slots (slot, owner);
create index weak on slots (slot)`

func invariant(name, sql string) race.Invariant {
	return race.Invariant{Name: name, Says: name, SQL: sql}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, schema)
	run, err := check.Run(t.Context(), check.Config{
		Plans: true,
		Invariants: []race.Invariant{
			invariant("broken", `select slot, count(*) from slots group by slot having count(*) > 1`),
			invariant("whole", `select owner from slots group by owner having count(*) > 1`),
			invariant("missing", `select * from nowhere`),
			invariant("writing", `with w as (delete from slots returning slot) select slot from w`),
			{Name: "told", Outcomes: true, SQL: `select 1`},
		},
	}, db.Config("test"))
	require.NoError(t, err)
	require.Equal(t, history.Violated, run.Verdict)
	slow, err := check.Run(t.Context(), check.Config{
		StatementTimeout: 100 * time.Millisecond, Invariants: []race.Invariant{invariant("slow", `select pg_sleep(60)`)},
	}, db.Config("test"))
	require.NoError(t, err)
	require.Equal(t, history.Unknown, slow.Verdict)
	require.Contains(t, slow.Check.Invariants[0].Why, "--timeout")
	verdicts := map[string]history.Verdict{}
	why := map[string]string{}
	for _, one := range run.Check.Invariants {
		verdicts[one.Invariant], why[one.Invariant] = one.Verdict, one.Why
	}
	require.Equal(t, map[string]history.Verdict{
		"broken": history.Violated, "whole": history.Held, "missing": history.Unknown, "writing": history.Unknown,
	}, verdicts)
	require.Contains(t, why["missing"], "does not have the schema")
	require.Contains(t, why["writing"], "25006", "nothing can be written")
	require.Equal(t, 1, run.Check.Invariants[0].Rows.Total)
	require.Equal(t, "1", *run.Check.Invariants[0].Rows.Rows[0][0])
	require.Contains(t, run.Check.Invariants[0].Plan, "slots")
}

// Whatever the server says, there is something to try.
func TestWhy(t *testing.T) {
	t.Parallel()
	for _, code := range []string{
		"57014", "55P03", "42P01", "3F000", "42703", "42501", "28P01", "28000", "3D000", "40001", "53100", "22012", "XX000",
	} {
		require.Regexp(t, `^said \(`+code+`\).*\btry `, check.Why(&pgconn.PgError{Message: "said", Code: code}))
	}
}

func TestALockedTableIsUnknownAtOnce(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, schema)
	holder, err := db.Connect(t.Context(), "holder")
	require.NoError(t, err)
	defer holder.Close(t.Context())
	tx, err := holder.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `lock table slots in access exclusive mode`)
	require.NoError(t, err)
	run, err := check.Run(t.Context(), check.Config{
		LockTimeout: 50 * time.Millisecond, Invariants: []race.Invariant{invariant("locked", `select * from slots`)},
	}, db.Config("test"))
	require.NoError(t, err)
	require.Equal(t, history.Unknown, run.Verdict)
	require.Contains(t, run.Check.Invariants[0].Why, "try again later")
	require.NoError(t, tx.Rollback(t.Context()))
}

func TestIndexes(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, schema)
	conn, err := db.Connect(t.Context(), "test")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `create unique index concurrently torn on slots (slot)`)
	require.Error(t, err, "the slots are not unique")
	require.NoError(t, conn.Close(t.Context()))

	index := func(name, definition string) check.Index {
		return check.Index{Schema: "public", Table: "slots", Name: name, Protects: "S", Definition: definition}
	}
	run, err := check.Run(t.Context(), check.Config{Indexes: []check.Index{
		index("good", "CREATE UNIQUE INDEX good ON public.slots USING btree (owner)"),
		index("torn", ""), index("weak", ""), index("gone", ""), index("other", "CREATE UNIQUE INDEX other ON public.slots USING btree (slot)"),
	}}, db.Config("test"))
	require.NoError(t, err)
	found := map[string]history.Index{}
	for _, one := range run.Check.Indexes {
		found[one.Name] = one
	}
	require.True(t, found["good"].Enforcing)
	require.Empty(t, found["good"].Why)
	require.True(t, found["torn"].Present)
	require.False(t, found["torn"].Valid)
	require.Contains(t, found["torn"].Why, "CONCURRENTLY")
	require.Contains(t, found["weak"].Why, "not unique")
	require.False(t, found["gone"].Present)
	require.Equal(t, "missing", found["gone"].Why)
	require.False(t, found["other"].Enforcing)
	require.Contains(t, found["other"].Why, "should be: CREATE UNIQUE INDEX")
}

func TestNoServer(t *testing.T) {
	t.Parallel()
	config := servertest.Database(t, "").Config("test")
	config.Host, config.Port, config.Password = "127.0.0.1", 1, "hunter2"
	_, err := check.Run(t.Context(), check.Config{}, config)
	require.ErrorContains(t, err, "connecting to 127.0.0.1:1")
	require.NotContains(t, err.Error(), "hunter2")
}
