package isolation

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShortcuts(t *testing.T) {
	type blocks struct{ setup, teardown, session, permutation string }
	plain := blocks{
		"CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one');", "DROP TABLE t;",
		"step a { BEGIN; UPDATE t SET v = 'two'; } step b { COMMIT; }", "",
	}
	find := func(b blocks) shortcuts {
		spec, err := Parse("f.spec", fmt.Appendf(nil, "setup { %s } teardown { %s } session s1 %s %s", b.setup, b.teardown, b.session, b.permutation))
		require.NoError(t, err)
		return spec.shortcuts()
	}
	const restore = "TRUNCATE t RESTART IDENTITY;\nINSERT INTO t VALUES (1, 'one');\n"
	require.Equal(t, shortcuts{separable: true, restore: restore}, find(plain))

	for name, c := range map[string]struct {
		change  func(*blocks)
		restore string
	}{
		"a step with brackets": {func(b *blocks) {
			b.session = "step a { SELECT count(*) FROM t WHERE id IN (SELECT max(id) FROM T) FOR UPDATE; }"
		}, restore},
		"a level": {func(b *blocks) {
			b.session = "setup { BEGIN; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; }" + b.session
		}, restore},
		"an index before the rows":     {func(b *blocks) { b.setup = "CREATE TABLE t (id int); CREATE INDEX i ON t (id);" }, "TRUNCATE t RESTART IDENTITY;\n"},
		"a partial index":              {func(b *blocks) { b.setup = "CREATE TABLE t (id int); CREATE INDEX i ON t (id) WHERE id > 0;" }, ""},
		"an index behind the rows":     {func(b *blocks) { b.setup += "CREATE INDEX i ON t (v)" }, ""},
		"a foreign key":                {func(b *blocks) { b.setup = "CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES t (id))" }, ""},
		"a teardown of the session":    {func(b *blocks) { b.session = "step a { BEGIN; UPDATE t SET v = 'two'; } teardown { ABORT; }" }, restore},
		"a permutation that ends well": {func(b *blocks) { b.permutation = "permutation a b permutation a b a b" }, restore},
	} {
		b := plain
		c.change(&b)
		require.Equal(t, shortcuts{separable: true, restore: c.restore}, find(b), name)
	}

	for name, change := range map[string]func(*blocks){
		"two tables, of which one stays":    func(b *blocks) { b.setup += "CREATE TABLE u (id int);" },
		"another table is dropped":          func(b *blocks) { b.teardown = "DROP TABLE u;" },
		"something else is done at the end": func(b *blocks) { b.teardown += "SELECT f();" },
		"no teardown":                       func(b *blocks) { b.teardown = "" },
		"if there is one":                   func(b *blocks) { b.setup = "CREATE TABLE IF NOT EXISTS t (id int);" },
		"a temporary table":                 func(b *blocks) { b.setup = "CREATE TEMP TABLE t (id int);" },
		"a table of a query":                func(b *blocks) { b.setup = "CREATE TABLE t AS SELECT 1;" },
		"a function":                        func(b *blocks) { b.setup += "CREATE FUNCTION f() RETURNS int AS 'SELECT 1' LANGUAGE sql;" },
		"a trigger":                         func(b *blocks) { b.setup += "CREATE TRIGGER r BEFORE INSERT ON t EXECUTE FUNCTION f();" },
		"a setup that shows rows":           func(b *blocks) { b.setup += "INSERT INTO t VALUES (2, 'two') RETURNING id;" },
		"a setup that selects":              func(b *blocks) { b.setup += "SELECT 1;" },
		"a transaction that stays open":     func(b *blocks) { b.session = "step a { BEGIN; UPDATE t SET v = 'two'; }" },
		"one that an error leaves open":     func(b *blocks) { b.session = "step a { BEGIN; UPDATE t SET v = 'two'; COMMIT; }" },
		"one that a permutation leaves":     func(b *blocks) { b.permutation = "permutation a b permutation b a" },
		"one that goes back only":           func(b *blocks) { b.session = "step a { BEGIN; SAVEPOINT s; } step b { ROLLBACK TO s; }" },
		"a chain":                           func(b *blocks) { b.session += "step c { COMMIT AND CHAIN; }" },
		"a setting":                         func(b *blocks) { b.session += "step c { SET lock_timeout = 1; }" },
		"a prepared statement":              func(b *blocks) { b.session += "step c { PREPARE p AS SELECT 1; }" },
		"a prepared transaction":            func(b *blocks) { b.session += "step c { PREPARE TRANSACTION 'p'; }" },
		"an advisory lock":                  func(b *blocks) { b.session += "step c { SELECT pg_advisory_lock(1); }" },
		"a view of the server":              func(b *blocks) { b.session += "step c { SELECT * FROM pg_locks; }" },
		"a call that is not known":          func(b *blocks) { b.session += "step c { SELECT set_config('a.b', 'c', false); }" },
		"a call in quotes":                  func(b *blocks) { b.session += `step c { SELECT "pg_notify"('a', 'b'); }` },
		"a call behind a comment":           func(b *blocks) { b.session += `step c { SELECT f/* */(); }` },
		"the time":                          func(b *blocks) { b.session += "step c { SELECT current_timestamp; }" },
		"the time in a string":              func(b *blocks) { b.session += "step c { SELECT 'now'::timestamptz; }" },
		"a notification":                    func(b *blocks) { b.session += "step c { NOTIFY a; }" },
		"a table made by a query":           func(b *blocks) { b.session += "step c { SELECT 1 AS a INTO u; }" },
		"a table made by a step":            func(b *blocks) { b.session += "step c { CREATE TABLE u (); }" },
		"VACUUM":                            func(b *blocks) { b.session += "step c { VACUUM t; }" },
		"a role":                            func(b *blocks) { b.session = "setup { CREATE ROLE r; }" + b.session },
		"a block that is not standard SQL":  func(b *blocks) { b.session += "step c { DO $$ BEGIN END $$; }" },
		"a cursor that outlasts its makers": func(b *blocks) { b.session += "step c { DECLARE c CURSOR WITH HOLD FOR SELECT 1; }" },
	} {
		b := plain
		change(&b)
		found := find(b)
		require.False(t, found.separable, name)
		require.Empty(t, found.restore, name)
	}

	serializable := plain
	serializable.session = strings.Replace(plain.session, "BEGIN", "BEGIN ISOLATION LEVEL Serializable", 1)
	require.Equal(t, shortcuts{separable: true, serializable: true, restore: restore}, find(serializable))
}

// Of PostgreSQL's specs, these may be separated. The others have functions, advisory locks or timeouts.
func TestShortcutsOfSample(t *testing.T) {
	found, err := filepath.Glob("testdata/postgresql/specs/*.spec")
	require.NoError(t, err)
	var separable []string
	for _, file := range found {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		spec, err := Parse(file, text)
		require.NoError(t, err)
		if spec.shortcuts().separable {
			separable = append(separable, strings.TrimSuffix(filepath.Base(file), ".spec"))
		}
	}
	slices.Sort(separable)
	require.Equal(t, strings.Fields(`aborted-keyrevoke deadlock-simple delete-abort-savept fk-contention insert-conflict-do-nothing
		insert-conflict-do-update multixact-no-deadlock nowait partial-index project-manager read-only-anomaly receipt-report
		simple-write-skew skip-locked total-cash two-ids`), separable)
}
