package gate_test

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/gate"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/migrations"
)

const visits = `CREATE TABLE visits (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, device integer NOT NULL, at timestamptz NOT NULL);`

// last judges the last of a series of plain migrations.
func last(t *testing.T, config gate.Config, files ...string) history.Judged {
	t.Helper()
	config.Server, config.Set = servertest.Server(t), migrations.Set{Layout: migrations.Plain, Dir: "m"}
	for i, sql := range files {
		config.Set.Migrations = append(config.Set.Migrations, migrations.Migration{Version: int64(i + 1), Path: "m/" + string(rune('1'+i)) + ".sql", SQL: sql})
	}
	config.Versions = []int64{int64(len(files))}
	run, err := gate.Run(t.Context(), config)
	require.NoError(t, err)
	require.Equal(t, run.Verdict, run.Gate.Migrations[0].Verdict)
	return run.Gate.Migrations[0]
}

func rules(m history.Judged) (names []string) {
	for _, f := range m.Findings {
		if f.Level == history.LevelError || f.Level == history.LevelWarning {
			names = append(names, f.Rule)
		}
	}
	return names
}

func trial(t *testing.T, m history.Judged, name history.TrialName) history.Trial {
	t.Helper()
	i := slices.IndexFunc(m.Trials, func(one history.Trial) bool { return one.Name == name })
	require.GreaterOrEqual(t, i, 0)
	return m.Trials[i]
}

// skipped leaves out all trials but those named.
func skipped(but ...history.TrialName) (skip []history.TrialName) {
	for _, name := range history.Trials()[2:] {
		if !slices.Contains(but, name) {
			skip = append(skip, name)
		}
	}
	return skip
}

// An index is for a query. One that the query does not use, and one that is there already, are told; the one that is used is not.
func TestIndexes(t *testing.T) {
	servertest.Slow(t)
	config := gate.Config{Skip: skipped(history.TrialAfter), Rows: 5000}
	for name, c := range map[string]struct {
		sql  string
		want []string
	}{
		"used": {"-- interlock: uses visits_device for: SELECT * FROM visits WHERE device = $1\nCREATE INDEX CONCURRENTLY visits_device ON visits (device);", nil},
		"another expression": {
			"-- interlock: uses visits_day for: SELECT * FROM visits WHERE at::date = $1\n" +
				"CREATE INDEX CONCURRENTLY visits_day ON visits (((at AT TIME ZONE 'UTC')::date));", []string{"index-not-used", "index-not-used"},
		},
		"no such column": {
			"-- interlock: uses visits_device for: SELECT * FROM visits WHERE devise = $1\nCREATE INDEX CONCURRENTLY visits_device ON visits (device);",
			[]string{"index-query", "index-query"},
		},
		"a copy": {"CREATE INDEX CONCURRENTLY visits_id ON visits (id);", nil}, // unique beside not unique
		"two copies": {
			"CREATE INDEX CONCURRENTLY visits_device ON visits (device);\nCREATE INDEX CONCURRENTLY visits_device_again ON visits (device);",
			[]string{"duplicate-index"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := last(t, config, visits, c.sql)
			require.Equal(t, c.want, rules(m), "%+v", m.Findings)
			after := trial(t, m, history.TrialAfter)
			require.Contains(t, strings.Join(after.Details, "\n"), "for 1 million rows")
		})
	}
}

// An index that goes with its table to another name is not one that the migration adds.
func TestIndexOfRenamedTable(t *testing.T) {
	config := gate.Config{Skip: skipped(history.TrialAfter), Rows: 50}
	m := last(t, config, visits, "ALTER TABLE visits RENAME TO calls;")
	require.NotContains(t, trial(t, m, history.TrialAfter).Says, "added")
	m = last(t, config, visits, "ALTER TABLE visits RENAME TO calls; CREATE INDEX calls_at ON calls (at);")
	require.Contains(t, trial(t, m, history.TrialAfter).Says, "1 index added")
}

// What the machine lacks is not the migration's fault: nothing is said against it, and nothing for it.
func TestEnvironment(t *testing.T) {
	m := last(t, gate.Config{}, visits, `CREATE EXTENSION no_such_extension;`)
	if environment := trial(t, m, history.TrialEmpty); environment.State == history.TrialFailed {
		require.Equal(t, history.Violated, m.Verdict) // PostgreSQL 16 and later call it 0A000
		return
	}
	require.Equal(t, history.Unknown, m.Verdict)
	require.Empty(t, rules(m))
	require.Equal(t, history.TrialUnknown, trial(t, m, history.TrialEmpty).State)
	require.NotEmpty(t, m.NotCovered)
}

// Rows that a migration brings are not in its way when it brings them; those of an earlier one are there.
func TestSeeds(t *testing.T) {
	config := gate.Config{Skip: skipped(history.TrialDown), Rows: 100}
	roles := `CREATE TABLE roles (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE);`
	m := last(t, config, roles, `INSERT INTO roles (name) VALUES ('admin');`)
	require.Equal(t, history.Held, m.Verdict, "%+v", m.Findings)
	require.Contains(t, trial(t, m, history.TrialPopulated).Says, "100 generated rows in 1 table")
	m = last(t, config, roles+`INSERT INTO roles (name) VALUES ('admin');`, `INSERT INTO roles (name) VALUES ('guest');`)
	require.Equal(t, history.Held, m.Verdict, "%+v", m.Findings)
	m = last(t, config, roles+`INSERT INTO roles (name) VALUES ('admin');`, `INSERT INTO roles (name) VALUES ('admin');`)
	require.Equal(t, history.Violated, m.Verdict)
}

// A role belongs to the server, and is made anew in each trial.
func TestRoles(t *testing.T) {
	servertest.Slow(t)
	m := last(t, gate.Config{Rows: 50}, visits, `CREATE ROLE interlock_test_reader; GRANT SELECT ON visits TO interlock_test_reader;`)
	for _, one := range m.Trials {
		require.NotEqual(t, history.TrialUnknown, one.State, one.Says)
	}
	require.NotContains(t, rules(m), "fails")
	roles, err := servertest.Server(t).Roles(t.Context())
	require.NoError(t, err)
	require.NotContains(t, roles, "interlock_test_reader")
}

// The release that still runs goes on writing as it did.
func TestRelease(t *testing.T) {
	servertest.Slow(t)
	config := gate.Config{Skip: skipped(), Rows: 50}
	orders := `CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text, state text NOT NULL DEFAULT 'new');`
	const patient = "SET lock_timeout = '100ms';\n"
	for sql, want := range map[string][]string{
		patient + `ALTER TABLE orders ADD COLUMN region text;`:                                                                                   nil,
		patient + `ALTER TABLE orders ALTER COLUMN state DROP DEFAULT;`:                                                                          {"breaks-running-code"},
		`CREATE UNIQUE INDEX CONCURRENTLY orders_note ON orders (note);`:                                                                         nil,
		patient + `ALTER TABLE orders ALTER COLUMN state SET DEFAULT 'old';`:                                                                     nil,
		patient + `UPDATE orders SET note = '-' WHERE note IS NULL; ALTER TABLE orders ADD CONSTRAINT noted CHECK (note IS NOT NULL) NOT VALID;`: {"breaks-running-code"},
	} {
		m := last(t, config, orders, sql)
		require.Equal(t, want, rules(m), "%s: %+v", sql, m.Findings)
		require.Equal(t, history.Held, m.Verdict, "it may be that no release leaves it out")
	}
	m := last(t, config, orders, `CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.nope := 1; RETURN NEW; END $$;`+"\n"+patient+
		`CREATE TRIGGER f BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION f();`)
	require.Equal(t, history.Violated, m.Verdict)
	require.Contains(t, rules(m), "breaks-running-code")
	m = last(t, config, orders+`CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'rows stay as they are'; END $$;
		CREATE TRIGGER f BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION f();`, patient+`ALTER TABLE orders ADD COLUMN region text;`)
	require.Empty(t, rules(m), "refused before as well: %+v", m.Findings)
}

// What depends on values that were made up is left open.
func TestMadeUp(t *testing.T) {
	config := gate.Config{Skip: skipped(), Rows: 50}
	m := last(t, config, `CREATE TABLE notes (id int PRIMARY KEY, note text NOT NULL);`, "SET lock_timeout = '100ms';\nALTER TABLE notes ALTER COLUMN note TYPE integer USING note::integer;")
	require.Equal(t, history.Unknown, m.Verdict, "%+v", m.Findings)
	require.Contains(t, trial(t, m, history.TrialPopulated).Says, "try --data")
}

// What a file allows, with a reason, does not count, and is listed.
func TestSilenced(t *testing.T) {
	servertest.Slow(t)
	config := gate.Config{Skip: skipped(), Rows: 50}
	sql := "SET lock_timeout = '100ms';\n%ALTER TABLE visits DROP COLUMN device;"
	require.Equal(t, history.Violated, last(t, config, visits, strings.Replace(sql, "%", "", 1)).Verdict)
	m := last(t, config, visits, strings.Replace(sql, "%", "-- interlock: allow drop-column nobody reads it\n", 1))
	require.Equal(t, history.Held, m.Verdict)
	require.Equal(t, "nobody reads it", m.Findings[0].Allowed)
	require.Equal(t, history.Violated, last(t, config, visits, strings.Replace(sql, "%", "-- interlock: allow drop-column\n", 1)).Verdict, "a reason is needed")
}

// Each statement is traced in a transaction of its own where it can be in one, and what it rewrote is told of it alone.
func TestTrace(t *testing.T) {
	before := visits + `
		CREATE MATERIALIZED VIEW devices AS SELECT DISTINCT device FROM visits; CREATE UNIQUE INDEX devices_device ON devices (device);
		CREATE TABLE log (at date NOT NULL) PARTITION BY RANGE (at); CREATE TABLE log_old PARTITION OF log FOR VALUES FROM (minvalue) TO ('2000-01-01');`
	m := last(t, gate.Config{Skip: skipped(), Rows: 50}, before, `SET lock_timeout = '1s';
VACUUM FULL visits;
ANALYZE visits;
REINDEX (CONCURRENTLY) TABLE visits;
REFRESH MATERIALIZED VIEW CONCURRENTLY devices;
ALTER TABLE log DETACH PARTITION log_old CONCURRENTLY;
BEGIN;
ALTER TABLE visits ADD COLUMN note text;
COMMIT;
ALTER TABLE visits ADD COLUMN number bigserial;`)
	require.NotContains(t, strings.Join(m.NotCovered, "\n"), "alone fails")
	require.Len(t, m.Statements, 10, "%+v", m.Trials)
	require.Equal(t, []string{"public.visits", "public.visits_pkey"}, m.Statements[1].Rewrote)
	require.Empty(t, m.Statements[2].Rewrote)
	require.Contains(t, m.Statements[4].Locks, history.Lock{Table: "public.devices", Mode: "EXCLUSIVE", Blocks: "writes"})
	require.Contains(t, m.Statements[7].Locks, history.Lock{Table: "public.visits", Mode: "ACCESS EXCLUSIVE", Blocks: "reads and writes"})
	require.Contains(t, m.Statements[9].Rewrote, "public.visits")
	for _, f := range append(m.Findings, last(t, gate.Config{Skip: skipped(), Rows: 50}, before, `ALTER TABLE log ADD COLUMN number bigserial;`).Findings...) {
		require.NotEqual(t, "prediction", f.Rule, f.Says)
	}
}

// Values that change without a word, and rows that are gone, are told; those that the file says it changes are not.
func TestRows(t *testing.T) {
	servertest.Slow(t)
	config := gate.Config{Skip: skipped(), Rows: 200}
	trigger := `CREATE FUNCTION shift() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN %; END $$; CREATE EVENT TRIGGER shift ON ddl_command_end EXECUTE FUNCTION shift();`
	add := "SET lock_timeout = '100ms';\nALTER TABLE visits ADD COLUMN note text;"
	require.Equal(t, []string{"values-changed"}, rules(last(t, config, visits, strings.Replace(trigger, "%", "UPDATE public.visits SET device = device + 1", 1), add)))
	require.Equal(t, []string{"rows-lost"}, rules(last(t, config, visits, strings.Replace(trigger, "%", "DELETE FROM public.visits WHERE id % 2 = 0", 1), add)))
	cascade := visits + `CREATE TABLE parts (visit bigint NOT NULL REFERENCES visits ON DELETE CASCADE);`
	require.Equal(t, []string{"rows-lost"}, rules(last(t, config, cascade, "DELETE FROM visits WHERE id % 2 = 0;")))
	require.Empty(t, rules(last(t, config, cascade, "DELETE FROM parts WHERE visit > 0; DELETE FROM visits WHERE id % 2 = 0;")))
	require.Empty(t, rules(last(t, config, "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE t (id int PRIMARY KEY, m mood);", "ALTER TYPE mood RENAME VALUE 'sad' TO 'low';")))
	require.Empty(t, rules(last(t, config, visits, add)))
	require.Empty(t, rules(last(t, config, visits, add+"\nUPDATE visits SET device = device + 1 WHERE id < 100;")))
}

// Run twice, a migration must be refused, or change nothing.
func TestTwice(t *testing.T) {
	servertest.Slow(t)
	config := gate.Config{Skip: skipped(history.TrialTwice), Rows: 50}
	require.Equal(t, []string{"twice-changes"}, rules(last(t, config, visits, `INSERT INTO visits (device, at) VALUES (1, 'epoch');`)))
	require.Empty(t, rules(last(t, config, visits, `INSERT INTO visits (device, at) SELECT -1, 'epoch' WHERE NOT EXISTS (SELECT FROM visits WHERE device = -1);`)))
	m := last(t, config, visits, `CREATE TABLE devices (id int);`)
	require.Empty(t, rules(m))
	require.Contains(t, trial(t, m, history.TrialTwice).Says, "refused")
}

// Cut off, a migration leaves nothing, or what it is gone on from; what is in its way is told.
func TestInterrupted(t *testing.T) {
	servertest.Slow(t)
	const patient = "SET lock_timeout = '100ms';\n"
	for name, c := range map[string]struct {
		sql, says string
		want      []string
	}{
		"one transaction": {"BEGIN;\n" + patient + "CREATE TABLE regions (id int);\nALTER TABLE visits ADD COLUMN region int;\nCOMMIT;", "what was left is complete", nil}, // after COMMIT
		"harmless twice":  {patient + "CREATE TABLE IF NOT EXISTS a (id int);\nCREATE TABLE IF NOT EXISTS b (id int);", "gone on from", nil},
		"half":            {patient + "CREATE TABLE regions (id int);\nALTER TABLE visits ADD COLUMN region int;", "cannot be run again", []string{"half-applied"}},
		"another end": {
			"DO $$ BEGIN IF to_regclass('public.a') IS NULL THEN CREATE TABLE a (); ELSE CREATE TABLE b (); END IF; END $$;\nCREATE TABLE IF NOT EXISTS c ();",
			"succeeds but leaves another schema",
			[]string{"half-applied"},
		},
		"an index":      {"CREATE INDEX CONCURRENTLY i ON visits (device);", "has to be dropped", []string{"leaves-invalid-index"}},
		"an index kept": {"CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON visits (device);", "stays INVALID", []string{"concurrently-if-not-exists", "invalid-index-kept"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := last(t, gate.Config{Skip: skipped(history.TrialInterrupted), Rows: 50}, visits, c.sql)
			require.ElementsMatch(t, c.want, rules(m), "%+v", m.Findings)
			done := trial(t, m, history.TrialInterrupted)
			require.Contains(t, done.Says+strings.Join(done.Details, "; "), c.says)
		})
	}
}

// The way back leads to the state before, rows and all, and from there to the state after.
func TestDown(t *testing.T) {
	servertest.Slow(t)
	for name, c := range map[string]struct {
		up, down string
		want     []string
	}{
		"faithful":       {"ALTER TABLE visits ADD COLUMN note text;", "ALTER TABLE visits DROP COLUMN note;", nil},
		"refused":        {"ALTER TABLE visits ADD COLUMN note text;", "ALTER TABLE visits DROP COLUMN nota;", []string{"down-fails"}},
		"another schema": {"ALTER TABLE visits ADD COLUMN note text;", "ALTER TABLE visits DROP COLUMN note; ALTER TABLE visits ALTER at SET DEFAULT now();", []string{"down-differs"}},
		"rows are gone":  {"ALTER TABLE visits ADD COLUMN note text;", "ALTER TABLE visits DROP COLUMN note; DELETE FROM visits WHERE id = 7;", []string{"down-loses-data"}},
		"values changed": {"ALTER TABLE visits ADD COLUMN note text;", "ALTER TABLE visits DROP COLUMN note; UPDATE visits SET device = 0 WHERE id = 7;", []string{"down-loses-data"}},
		"not again":      {"SELECT lo_create(4711);", "SELECT 1;", []string{"up-again-fails"}},
		"not the same":   {"INSERT INTO visits (device, at) VALUES (-1, 'epoch');", "DELETE FROM visits WHERE device = -1;", []string{"up-again-differs"}},
	} {
		t.Run(name, func(t *testing.T) {
			const patient = "SET lock_timeout = '100ms';\n"
			m := judge(t, map[string]string{"before.sql": visits, "a.sql": patient + c.up, "a-down.sql": patient + c.down}, "a", skipped(history.TrialDown))[0]
			require.Equal(t, c.want, rules(m), "%+v", m.Findings)
			require.Equal(t, c.want != nil, trial(t, m, history.TrialDown).State == history.TrialFailed)
		})
	}
}

// Rows that are given take the place of generated ones, and all that stand in the way are named.
func TestData(t *testing.T) {
	const before = visits + `CREATE TABLE parts (id int PRIMARY KEY, visit bigint, note text);`
	const data = "INSERT INTO visits (device, at) SELECT n / 2, 'epoch' FROM generate_series(2, 21) n;\nCOPY public.parts (id, visit, note) FROM stdin;\n1\t1\t1\n2\t20\t-\n3\t21\t7\n4\t\\N\t\\N\n5\t22\t\n6\t22\t\n\\.\n"
	config := gate.Config{Skip: skipped(), Data: data}
	const patient = "SET lock_timeout = '100ms';\n"
	inTheWay := func(sql string) history.Finding {
		m := last(t, config, before, patient+sql)
		require.Equal(t, history.TrialFailed, trial(t, m, history.TrialPopulated).State)
		i := slices.IndexFunc(m.Findings, func(f history.Finding) bool { return f.Rule == "rows-in-the-way" })
		require.GreaterOrEqual(t, i, 0, "%+v", m.Findings)
		return m.Findings[i]
	}
	first := func(f history.Finding) (values []string) {
		require.Equal(t, len(f.Keys.Rows), f.Keys.Total)
		require.NotEmpty(t, f.Query)
		for _, row := range f.Keys.Rows {
			values = append(values, *row[0])
		}
		return values
	}
	m := last(t, config, before, patient+`CREATE UNIQUE INDEX CONCURRENTLY once ON visits (device, id);`)
	require.Equal(t, history.Held, m.Verdict, "%+v", m.Findings)
	require.Contains(t, trial(t, m, history.TrialPopulated).Says, "over the rows given")

	f := inTheWay(`CREATE UNIQUE INDEX CONCURRENTLY once ON visits (device);`)
	require.Equal(t, []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}, first(f))
	f = inTheWay(`ALTER TABLE parts ADD CONSTRAINT parts_visit FOREIGN KEY (visit) REFERENCES visits;`)
	require.Equal(t, []string{"21", "22"}, first(f))
	f = inTheWay(`ALTER TABLE parts ALTER COLUMN visit SET NOT NULL;`)
	require.Equal(t, []string{"4"}, first(f))
	f = inTheWay(`ALTER TABLE parts ALTER COLUMN note TYPE integer USING note::integer;`) // not made up: it counts
	require.Equal(t, "22P02", f.SQLState)
	require.Nil(t, f.Keys)
}

// Of a new foreign key, generated rows keep to it, and those planted do not. What it refers to is filled as the table itself; what it has nothing to do
// with has few rows.
func TestForeignKey(t *testing.T) {
	servertest.Slow(t)
	const before = visits + `CREATE TABLE parts (id int PRIMARY KEY, visit bigint NOT NULL REFERENCES visits, device int NOT NULL);
		CREATE TABLE devices (id int PRIMARY KEY);`
	config := gate.Config{Skip: skipped(history.TrialDirty), Rows: 3000}
	const patient = "SET lock_timeout = '100ms';\n"
	m := last(t, config, before, patient+`ALTER TABLE parts ADD COLUMN note text;`)
	require.Contains(t, trial(t, m, history.TrialPopulated).Says, "in 3 tables (1, which it does not touch, have few)")

	m = last(t, config, before, patient+`ALTER TABLE parts ADD CONSTRAINT parts_device FOREIGN KEY (device) REFERENCES devices;`)
	require.Equal(t, history.TrialPassed, trial(t, m, history.TrialPopulated).State, "%+v", m.Findings)
	require.Contains(t, trial(t, m, history.TrialPopulated).Says, "9000 generated rows in 3 tables; nothing is lost")
	i := slices.IndexFunc(m.Findings, func(f history.Finding) bool { return f.Rule == "dirty-data" })
	require.GreaterOrEqual(t, i, 0, "%+v", m.Findings)
	require.Len(t, m.Findings[i].Keys.Rows, 52)
	require.Contains(t, m.Findings[i].Query, "NOT EXISTS")
}

// The same seed gives the same report, but for times, and for what clients happened to feel.
func TestRepeatable(t *testing.T) {
	servertest.Slow(t)
	config := gate.Config{Skip: skipped(history.TrialDirty, history.TrialInterrupted, history.TrialTwice, history.TrialDown), Rows: 300, Seed: 7}
	one := func() string {
		m := last(t, config, visits, `CREATE UNIQUE INDEX visits_once ON visits (device, at);`)
		raw, err := json.Marshal(m)
		require.NoError(t, err)
		return regexp.MustCompile(`"(took|elapsed)":"[^"]*"|[0-9.]+ m?s\b`).ReplaceAllString(string(raw), "")
	}
	require.Equal(t, one(), one())
}

// A migration that does not apply before the one that is judged is said to be the trouble; so is data that does not fit.
func TestTrouble(t *testing.T) {
	config := gate.Config{
		Server: servertest.Server(t), Versions: []int64{2},
		Set: migrations.Set{Layout: migrations.Plain, Migrations: []migrations.Migration{{Version: 1, Path: "1.sql", SQL: "CREATE TABEL x ();"}, {Version: 2, Path: "2.sql"}}},
	}
	run, err := gate.Run(t.Context(), config)
	require.ErrorContains(t, err, "a migration before the one to judge does not apply")
	require.Equal(t, history.Unknown, run.Verdict)

	config.Set.Migrations[0].SQL, config.Data = visits, "COPY visits (device) FROM stdin;\nx\n\\.\n"
	_, err = gate.Run(t.Context(), config)
	var data gate.DataError
	require.ErrorAs(t, err, &data)
	require.ErrorContains(t, err, "line 1")

	config.Versions = []int64{9}
	_, err = gate.Run(t.Context(), config)
	require.ErrorContains(t, err, "there is no migration 9")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = gate.Run(ctx, config)
	require.Error(t, err)
}

// An index that is built the plain way keeps writers out, and the run shows for how long; CONCURRENTLY keeps out nobody.
func TestStall(t *testing.T) {
	servertest.Slow(t)
	const slow = visits + `
		CREATE FUNCTION slow(device integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.001); RETURN device; END $$;`
	config := gate.Config{Skip: skipped(history.TrialLive), Rows: 300, MaxStall: 200 * time.Millisecond}
	blocked := func(m history.Judged) (found []history.Finding) {
		for _, f := range m.Findings {
			if f.Rule == "stalls-clients" {
				found = append(found, f)
			}
		}
		return found
	}
	m := last(t, config, slow, `CREATE UNIQUE INDEX visits_slow ON visits (slow(device), id);`)
	require.Equal(t, history.Violated, m.Verdict)
	require.Len(t, blocked(m), 1)
	require.Contains(t, blocked(m)[0].Says, "SHARE on public.visits is held for")
	require.Len(t, m.Beside, 2)
	require.Contains(t, []string{m.Beside[0].Locks[0].Table, m.Beside[1].Locks[0].Table}, "public.visits")
	require.Contains(t, trial(t, m, history.TrialLive).Says, "clients stalled")

	m = last(t, config, slow, `CREATE UNIQUE INDEX CONCURRENTLY visits_slow ON visits (slow(device), id);`)
	require.Equal(t, history.Held, m.Verdict, "%+v", m.Findings)
	require.Empty(t, blocked(m))
	require.Contains(t, trial(t, m, history.TrialLive).Says, "clients stalled")
}

// docs/GATE.md lists all rules.
func TestDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/GATE.md")
	require.NoError(t, err)
	for _, r := range gate.Rules() {
		require.Contains(t, string(doc), "| `"+r.Name+"` | "+r.Says+" |")
	}
}
