package isolation_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/isolation"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/local"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

func transcript(t testing.TB, tester *isolation.Tester, spec isolation.Named) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, tester.Run(t.Context(), spec, &out))
	return out.String()
}

func parsed(t testing.TB, text string) isolation.Named {
	t.Helper()
	spec, err := isolation.Parse("test.spec", []byte(text))
	require.NoError(t, err)
	return isolation.Named{Name: "test", Spec: spec}
}

// A transcript does not depend on how many work on it.
func TestWorkers(t *testing.T) {
	servertest.Slow(t)
	for name, c := range map[string]struct {
		spec      isolation.Named
		separable bool
	}{
		"waits":          {named(t, "testdata/bench/waits.spec"), true},
		"orders":         {named(t, "testdata/bench/orders.spec"), true},
		"serializable":   {named(t, "testdata/postgresql/specs/two-ids.spec"), true},
		"what it leaves": {parsed(t, `setup { CREATE TABLE IF NOT EXISTS t (); } session s step a { INSERT INTO t DEFAULT VALUES; } step b { SELECT count(*) FROM t; }`), false},
		"what a session keeps": {parsed(t, `session s step a { SELECT count(*) FROM pg_prepared_statements; } step b { PREPARE p AS SELECT 1; }
			permutation a b permutation a b`), false},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.separable, c.spec.Separable())
			if name == "orders" {
				c.spec = shuffled(c.spec, 200)
			}
			for len(c.spec.Permutations) > 0 && len(c.spec.Permutations) < 100 { // so many that they are shared out
				c.spec.Permutations = append(c.spec.Permutations, c.spec.Permutations...)
			}
			alone := transcript(t, open(t, isolation.Config{Workers: 1}), c.spec)
			require.Equal(t, alone, transcript(t, open(t, isolation.Config{Workers: 3}), c.spec))
			require.Equal(t, alone, transcript(t, open(t, isolation.Config{Workers: 3, Servers: servers(t, 2)}), c.spec))
		})
	}
}

// What becomes of several specs is handed over in their order.
func TestEach(t *testing.T) {
	tester := open(t, isolation.Config{Servers: servers(t, 2)})
	var specs []isolation.Named
	for i := range 6 {
		spec := parsed(t, fmt.Sprintf(`session s step a { SELECT pg_sleep(%d); SELECT %d AS n, current_setting('application_name') AS name; }`, max(0, 1-i), i))
		spec.Name = fmt.Sprint("spec", i)
		specs = append(specs, spec)
	}
	var got []string
	require.NoError(t, tester.Each(t.Context(), specs, func(spec isolation.Named, transcript []byte, err error) error {
		require.NoError(t, err)
		require.Contains(t, string(transcript), "isolation/"+spec.Name+"/s")
		got = append(got, spec.Name)
		return nil
	}))
	require.Equal(t, []string{"spec0", "spec1", "spec2", "spec3", "spec4", "spec5"}, got)

	enough := errors.New("enough")
	err := tester.Each(t.Context(), specs, func(isolation.Named, []byte, error) error { return enough })
	require.ErrorIs(t, err, enough)
}

// A run that is called off ends, whatever its steps do.
func TestCancel(t *testing.T) {
	tester := open(t, isolation.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	spec := parsed(t, `session s step a { SELECT pg_sleep(600); }`)
	require.ErrorIs(t, tester.Run(ctx, spec, &bytes.Buffer{}), context.Canceled)
}

// A wait is not reported as long as a session is at work that may end it. The negative control reports it too soon.
func TestPatience(t *testing.T) {
	servertest.Slow(t)
	text := strings.NewReplacer("0.002", "0.5", "lock_timeout = 1", "lock_timeout = '500ms'")
	spec := parsed(t, text.Replace(read(t, "testdata/own/brief.spec")))
	spec.Sessions[1].Teardown = "RESET idle_session_timeout;" // has it count as one whose waits may end soon
	want := text.Replace(read(t, "testdata/own/brief.out"))
	tester := open(t, isolation.Config{})

	undo := isolation.SetPatience(time.Minute)
	require.Equal(t, want, transcript(t, tester, spec))
	undo()

	defer isolation.SetPatience(0)()
	got := transcript(t, tester, spec)
	require.NotEqual(t, want, got)
	require.Equal(t, 2, strings.Count(got, "step read: SELECT count(*) FROM t; <waiting ...>\n"))
}

// What restores a spec leaves what its setup leaves: the rows and where they are, the size of every file, and what the planner knows of the tables.
func TestRestore(t *testing.T) {
	changed := 0
	for _, file := range append(files(t, "testdata/postgresql/specs/*.spec"), files(t, "testdata/bench/*.spec")...) {
		spec := named(t, file)
		if spec.Restore() == "" {
			continue
		}
		t.Run(spec.Name, func(t *testing.T) {
			conn, err := servertest.Database(t, "").Connect(t.Context(), "test")
			require.NoError(t, err)
			defer conn.Close(context.Background())
			_, err = conn.PgConn().Exec(t.Context(), spec.Setup()).ReadAll()
			require.NoError(t, err)
			fresh := state(t, conn)
			for _, session := range spec.Sessions {
				for _, step := range append([]isolation.Step{{SQL: session.Setup}}, append(session.Steps, isolation.Step{SQL: session.Teardown})...) {
					_, _ = conn.PgConn().Exec(t.Context(), step.SQL).ReadAll() // some fail, for that they are run in this order
				}
				_, err := conn.Exec(t.Context(), "COMMIT")
				require.NoError(t, err)
			}
			if !slices.Equal(fresh, state(t, conn)) {
				changed++
			}
			_, err = conn.PgConn().Exec(t.Context(), spec.Restore()).ReadAll()
			require.NoError(t, err)
			require.Equal(t, fresh, state(t, conn))
		})
	}
	require.Greater(t, changed, 5, "there was nothing to restore")
}

// state describes the tables of a database.
func state(t *testing.T, conn *pgx.Conn) (lines []string) {
	collect := func(sql string) []string {
		rows, err := conn.Query(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return found
	}
	lines = collect(`SELECT concat_ws(' ', relname, relkind, CASE WHEN relkind <> 'i' THEN concat_ws(' ', relpages, reltuples, relallvisible, relhasindex) END,
		pg_relation_size(oid), pg_relation_size(oid, 'fsm'), pg_relation_size(oid, 'vm')) FROM pg_class WHERE oid >= 16384 ORDER BY relname`)
	for _, table := range collect(`SELECT relname::text FROM pg_class WHERE oid >= 16384 AND relkind = 'r' ORDER BY relname`) {
		lines = append(lines, collect(`SELECT concat_ws(' ', ctid, t) FROM `+pgx.Identifier{table}.Sanitize()+` t`)...)
	}
	return append(lines, collect(`SELECT concat_ws(' ', starelid::regclass, staattnum) FROM pg_statistic WHERE starelid >= 16384`)...)
}

// servers returns several servers, of which the first is that of the other tests.
func servers(t testing.TB, n int) []*server.Server {
	t.Helper()
	all := []*server.Server{servertest.Server(t)}
	for len(all) < n {
		config := servertest.Config()
		srv, err := (local.Provider{}).Start(t.Context(), config)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, srv.Stop(context.Background())) })
		all = append(all, srv)
	}
	return all
}
