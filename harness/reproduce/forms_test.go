package reproduce_test

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/reproduce"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

var forms = map[string]func(io.Writer, reproduce.Race) error{"psql": reproduce.Psql, "spec": reproduce.Spec, "go": reproduce.Go}

// savepoints is a client that takes back a part of what it did, and one that sends two statements at once.
func savepoints() reproduce.Race {
	step := func(number int, client, kind, sql string) history.Step {
		return history.Step{Number: number, Client: client, Kind: kind, SQL: sql, Outcome: history.Answered}
	}
	steps := []history.Step{
		step(1, "A", "statement", "insert into t values (1);"), step(2, "A", "statement", "insert into t values (2) -- two"),
		step(3, "B", "statement", "insert into t values (3); insert into t values (4)"), step(4, "A", "rollback to", "rollback to s"),
		step(5, "A", "commit", ""), step(6, "B", "commit", "insert into t values (3); insert into t values (4)"),
	}
	steps[0].Passed, steps[0].Begins = []string{"begin isolation level repeatable read", "set local lock_timeout = 0"}, true
	steps[1].Passed = []string{"savepoint s -- here"}
	steps[2].Begins, steps[2].Autocommit, steps[5].Autocommit = true, true, true
	return reproduce.Race{
		Name: "savepoints", Says: "there are less than three", Schema: []string{"create schema s; set search_path = s; create table public.t (n int)"},
		Example: history.Counterexample{
			Invariant: "few", Query: "select string_agg(n::text, ' ' order by n) as numbers from t having count(*) > 2",
			Interleaving: &history.Interleaving{Clients: []string{"A", "B"}, Steps: steps},
		},
	}
}

func TestWhatIsNoStepIsSentAsWell(t *testing.T) {
	script := write(t, reproduce.Psql, savepoints())
	for _, block := range []string{
		"-- 1  terminal A: returns 0 rows\nbegin isolation level repeatable read;\nset local lock_timeout = 0;\ninsert into t values (1);\n",
		"savepoint s -- here\n;\ninsert into t values (2) -- two\n;\n", "RESET ALL;\n", "rollback to s;\n", "COMMIT;\n",
		"BEGIN;\ninsert into t values (3); insert into t values (4);\n",
	} {
		require.Contains(t, script, block)
	}
	_, last := pasted(t, script, 2)
	require.Contains(t, last, " 1 3 4")
	require.Contains(t, write(t, reproduce.Spec, savepoints()), "teardown { DROP TABLE public.t CASCADE;\nDROP SCHEMA s CASCADE; }\n")
	require.Contains(t, write(t, reproduce.Go, savepoints()), "{SQL: \"savepoint s -- here\"},\n")
}

// A race that begins in a copy of a database says so, and makes no tables.
func TestACopyIsAskedFor(t *testing.T) {
	r := savepoints()
	r.Template, r.Schema = "the app's", nil
	script := write(t, reproduce.Psql, r)
	require.Contains(t, script, "-- For psql, in 2 terminals, on a copy of the database the app's that you can throw away:\n"+
		`-- createdb --template 'the app'\''s' race; psql race`+"\n")
	require.NotContains(t, script, "-- 0 ")
	require.Contains(t, write(t, reproduce.Spec, r), `# For isolationtester, on a copy of the database the app's: createdb --template 'the app'\''s' race`+"\n")
	source := write(t, reproduce.Go, r)
	require.Contains(t, source, `auto.Provider{}.Start(ctx, server.Config{DSN: os.Getenv("INTERLOCK_POSTGRES")})`)
	require.Contains(t, source, `postgres.TemplateOf(ctx, "the app's", nil)`)
	r.Example.Start = []string{"insert into t values (5)"}
	require.Contains(t, write(t, reproduce.Psql, r), "terminal A: the starting rows beside those of the app's\ninsert into t values (5);\n")
}

func TestACommitThatFailsFailsItsStatement(t *testing.T) {
	r := savepoints()
	steps := r.Example.Interleaving.Steps
	alone := history.Step{Number: 3, Client: "B", Kind: "statement", SQL: "insert into t values (3)", Autocommit: true, Begins: true, Outcome: history.Answered}
	refused := history.Step{Number: 4, Client: "B", Kind: "commit", Autocommit: true, Outcome: history.Refused, SQLState: "23505", Message: "twice"}
	r.Example.Interleaving.Steps = []history.Step{steps[0], steps[1], alone, refused}
	require.Contains(t, write(t, reproduce.Psql, r), "-- 3  terminal B: fails with 23505: twice\ninsert into t values (3);\n")
	require.Contains(t, write(t, reproduce.Go, r), `{SQL: "insert into t values (3)", Fails: "23505"}`)
}

func TestPsqlKeepsItsOwnCommands(t *testing.T) {
	r := savepoints()
	r.Schema = []string{"create table x (n int);\ncopy x from stdin;\n1\n\\.\n", "create table t (n int)"}
	script := write(t, reproduce.Psql, r)
	require.Contains(t, script, "\n1\n\\.\ncreate table t (n int);\n")
}

func TestWhatCannotBeWrittenIsAnError(t *testing.T) {
	change := func(f func(*reproduce.Race)) reproduce.Race {
		r := savepoints()
		f(&r)
		return r
	}
	psqlOnly := change(func(r *reproduce.Race) { r.Schema = []string{"\\i schema.sql\n"} })
	for name, c := range map[string]struct {
		race   reproduce.Race
		errors map[string]string // by form
	}{
		"met by luck": {
			change(func(r *reproduce.Race) { r.Example.Interleaving = nil }), map[string]string{"psql": "by luck", "spec": "by luck", "go": "by luck"},
		},
		"no step": {
			change(func(r *reproduce.Race) { r.Example.Interleaving = &history.Interleaving{} }), map[string]string{"psql": "no step", "spec": "no step", "go": "no step"},
		},
		"no query": {
			change(func(r *reproduce.Race) { r.Example.Query = "" }), map[string]string{"psql": "not recorded", "spec": "not recorded", "go": "not recorded"},
		},
		"strangers": {
			change(func(r *reproduce.Race) { r.Example.Interleaving.Clients = []string{"A"} }), map[string]string{"psql": `"B"`, "spec": `"B"`, "go": `"B"`},
		},
		"a schema for psql": {psqlOnly, map[string]string{"psql": "", "spec": "--as psql", "go": "--as psql"}},
		"a brace": {
			change(func(r *reproduce.Race) { r.Schema = []string{`create table "}" ()`} }), map[string]string{"psql": "", "spec": "--as psql", "go": ""},
		},
	} {
		for form, want := range c.errors {
			err := forms[form](io.Discard, c.race)
			if want == "" {
				require.NoError(t, err, "%s as %s", name, form)
				continue
			}
			require.ErrorContains(t, err, want, "%s as %s", name, form)
			require.ErrorContains(t, err, "; try ", "%s as %s", name, form)
		}
	}
}

func TestBracesAreEscaped(t *testing.T) {
	db := servertest.Database(t, "")
	conn, err := db.Connect(t.Context(), "braces")
	require.NoError(t, err)
	defer conn.Close(t.Context())
	for _, sql := range []string{
		`select '{"a": 1}'`, `select '}\', 'it''s }'`, `select e'\'}\\'`, "select $$ it's } \\ $$, $a$}$$$a$", "select /* } */ '}' -- }",
		`do $$ begin perform '{}'::int[]; end $$; select '{}'`, `select jsonb '{}', '{1}'::int[]`,
	} {
		got, err := reproduce.Braceless(sql)
		require.NoError(t, err)
		require.NotContains(t, got, "}")
		value := func(sql string) (all []string) {
			results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
			require.NoError(t, err, sql)
			for _, v := range results[len(results)-1].Rows[0] {
				all = append(all, string(v))
			}
			return all
		}
		require.Equal(t, value(sql), value(got), got)
	}
}

func TestDrops(t *testing.T) {
	require.Equal(t, []string{
		"DROP EXTENSION btree_gist CASCADE", "DROP SCHEMA app CASCADE", "DROP FUNCTION f CASCADE", `DROP VIEW "my view" CASCADE`, "DROP TABLE public.t CASCADE",
		"DROP TYPE mood CASCADE",
	}, reproduce.Drops([]string{
		`create type mood as enum ('create table x');
		create unlogged table if not exists public.t (a int); create index on public.t (a); insert into public.t values (1);
		-- create table y
		CREATE OR REPLACE VIEW "my view" AS SELECT 1; create or replace function f(a int) returns int language sql as 'select 1';`,
		`create schema app; create table app.a (); create extension if not exists btree_gist with schema public; create unique index on public.t (a)`,
	}))
}

func TestConstants(t *testing.T) {
	db := servertest.Database(t, "")
	conn, err := db.Connect(t.Context(), "constants")
	require.NoError(t, err)
	defer conn.Close(t.Context())
	text := func(s string) *string { return &s }
	for _, c := range []struct {
		value      *string
		kind, want string
	}{
		{nil, "", "NULL"},
		{nil, "timestamp with time zone", "NULL::timestamp with time zone"},
		{text("it's"), "", "'it''s'"},
		{text("17"), "", "'17'"},
		{text("17"), "integer", "17"},
		{text("-17"), "integer", "'-17'::integer"},
		{text("17"), "bigint", "'17'::bigint"},
		{text(`a\b`), "character varying", `'a\b'::character varying`},
		{text("{1,2}"), "integer[]", "'{1,2}'::integer[]"},
	} {
		require.Equal(t, c.want, reproduce.Constant(c.value, c.kind))
		_, err := conn.Exec(t.Context(), "select "+c.want)
		require.NoError(t, err, c.want)
	}
}

func TestCommentsStayComments(t *testing.T) {
	r := savepoints()
	r.Name, r.Says = "x\n; drop database y", "a\r\nb"
	for i := range r.Example.Interleaving.Steps {
		r.Example.Interleaving.Steps[i].Outcome, r.Example.Interleaving.Steps[i].Message = history.Refused, "no\n; drop database y"
	}
	for form, as := range forms {
		for line := range strings.Lines(write(t, as, r)) {
			require.False(t, strings.HasPrefix(strings.TrimSpace(line), "; drop"), form)
		}
	}
}
