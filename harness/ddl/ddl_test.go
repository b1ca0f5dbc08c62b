package ddl

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/schema"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/sqltext"
)

const patient = "set lock_timeout = '2s';"

// TestRead says what is found in files, without a database: "line:column rule level".
func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		file        string
		transaction bool
		want        []string
	}{
		"nothing":                            {"-- nothing\n", false, nil},
		"reads":                              {"select 1; with x as (select 2) select * from x;", true, nil},
		"its own table":                      {"create table t (id int); create index on t (id); alter table t add column b int not null; alter table t alter column id type bigint; alter table t alter b set not null; alter table t add unique (b); alter table t add check (b > 0); truncate t; update t set b = 1; alter table t rename to u; alter table u drop column b; drop table u;", true, nil},
		"its own table, qualified":           {"create table s.t (id int); set search_path = s; create index on t (id); drop table t;", true, nil},
		"another table":                      {"create table s.t (id int); create index on t (id); create index on u (id);", true, []string{"1:28 index-blocks-writes warning", "1:52 index-blocks-writes warning"}},
		"temporary":                          {"create temp table t (id int); delete from t;", false, nil},
		"place":                              {"-- 점검\n/* é */ create  table é (a int); create index on \"ü\" (a);", false, []string{"2:34 index-blocks-writes warning"}},
		"second line":                        {patient + "\nalter table t\n  add column a int,\n  add column b int not null;", false, []string{"4:14 add-not-null-column error"}},
		"syntax":                             {"select 1;\nselect\n  é frm frm x;", false, []string{"3:9 syntax error"}},
		"CONCURRENTLY by the tool":           {"create index concurrently on t (a);", true, []string{"1:1 concurrently-in-transaction error"}},
		"CONCURRENTLY, all kinds":            {"begin; create index concurrently on t (a); drop index concurrently i; reindex (concurrently) table t; alter table p detach partition q concurrently; commit; drop index concurrently i;", false, []string{"1:8 concurrently-in-transaction error", "1:44 concurrently-in-transaction error", "1:71 concurrently-in-transaction error", "1:103 concurrently-in-transaction error"}},
		"VACUUM":                             {"vacuum t;", true, []string{"1:1 concurrently-in-transaction error"}},
		"BEGIN in a transaction":             {"begin;\nselect 1;\ncommit;", true, []string{"1:1 begin-inside-transaction warning", "3:1 begin-inside-transaction warning"}},
		"BEGIN of its own":                   {"begin; select 1; commit;", false, nil},
		"no timeout":                         {"alter table t add column a int;", false, []string{"1:1 missing-lock-timeout warning"}},
		"timeout":                            {"set lock_timeout = 500; alter table t add column a int;", false, nil},
		"timeout of nothing":                 {"set lock_timeout = 0; alter table t add column a int;", false, []string{"1:23 missing-lock-timeout warning"}},
		"timeout, reset":                     {patient + "reset lock_timeout; alter table t add column a int;", false, []string{"1:45 missing-lock-timeout warning"}},
		"SET LOCAL outside a transaction":    {"set local lock_timeout = '2s'; alter table t add column a int;", false, []string{"1:32 missing-lock-timeout warning"}},
		"SET LOCAL until COMMIT":             {"begin; set local lock_timeout = '2s'; alter table t add column a int; commit; alter table t add column b int;", false, []string{"1:79 missing-lock-timeout warning"}},
		"weak lock":                          {"alter table t validate constraint k; analyze t;", false, nil},
		"now() as a default":                 {patient + "alter table t add column a timestamptz not null default now();", false, nil},
		"NULL as a default":                  {patient + "alter table t add column a int not null default null;", false, []string{"1:50 add-not-null-column error"}},
		"a reference to be filled":           {patient + "alter table t add column a int references u;", false, nil},
		"a reference with a default":         {patient + "alter table t add column a int default 1 references u;", false, []string{"1:66 constraint-scans warning"}},
		"proven by a CHECK":                  {patient + "alter table t add constraint k check (a is not null) not valid; alter table t validate constraint k; alter table t alter a set not null;", false, nil},
		"not proven yet":                     {patient + "alter table t add constraint k check (a is not null) not valid; alter table t alter a set not null;", false, []string{"1:89 not-null-scans warning"}},
		"VALIDATE later":                     {patient + "alter table t add constraint k check (a > 0) not valid; alter table t validate constraint k;", false, nil},
		"VALIDATE at once":                   {patient + "alter table t add constraint k check (a > 0) not valid; alter table t validate constraint k;", true, []string{"1:81 validate-in-same-transaction warning"}},
		"USING INDEX":                        {patient + "alter table t add constraint k unique using index i;", false, nil},
		"enum value":                         {"alter type m add value 'x'; insert into t values ('x');", true, []string{"1:51 enum-value-in-transaction error"}},
		"enum value, committed":              {"alter type m add value 'x'; insert into t values ('x');", false, nil},
		"enum value, in a function":          {"alter type m add value 'x'; create function f() returns m language sql as 'select ''x''::m';", true, nil},
		"view made again":                    {patient + "begin; drop view v; create view v as select 1; commit;", false, nil},
		"view made again, too late":          {patient + "begin; drop view v; commit; create view v as select 1;", false, []string{"1:32 drop-table warning"}},
		"view of the old name":               {patient + "begin; alter table t rename to u; create view t as select * from u; commit;", false, nil},
		"view of the old name, by the tool":  {patient + "alter table t rename to u; create or replace view t as select * from u;", true, nil},
		"view of the old schema":             {patient + "begin; alter table s.t set schema u; create view s.t as select * from u.t; commit;", false, nil},
		"view of another name":               {patient + "begin; alter table t rename to u; create view v as select * from u; commit;", false, []string{"1:32 rename-table error"}},
		"view of another schema":             {patient + "begin; alter table s.t rename to u; create view x.t as select * from s.u; commit;", false, []string{"1:32 rename-table error"}},
		"temporary view of the old name":     {patient + "begin; alter table t rename to u; create temp view t as select * from u; commit;", false, []string{"1:32 rename-table error"}},
		"materialised view of the old name":  {patient + "begin; alter table t rename to u; create materialized view t as select * from u; commit;", false, []string{"1:32 rename-table error"}},
		"view of the old name, later":        {patient + "alter table t rename to u; create view t as select * from u;", false, []string{"1:25 rename-table error"}},
		"view of the old name, after COMMIT": {patient + "begin; alter table t rename to u; commit; begin; create view t as select * from u; commit;", false, []string{"1:32 rename-table error"}},
		"rows with WHERE":                    {"delete from t where a = 1; update t set a = 2 where a = 1;", true, nil},
		"row lock":                           {"lock table t in row exclusive mode;", true, nil},
		"unknown column type":                {"create index concurrently on t (date(a));", false, nil},
		"known from the file":                {"create table t (a timestamptz); create index on t (date(a));", true, []string{"1:52 index-not-immutable error"}},
		"partition's own index":              {"create table p (a int) partition by list (a); create index on p (a);", true, nil},
		"set_config":                         {"select pg_catalog.set_config('search_path', '', false); drop table if exists x.t;", false, []string{"1:57 drop-table error", "1:57 missing-lock-timeout warning"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, s := range read(t, c.file, Facts{Transaction: c.transaction}) {
				for _, f := range s.Findings {
					if f.Rule == RuleLockTimeout && !strings.Contains(strings.Join(c.want, ""), f.Rule) {
						continue // has cases of its own
					}
					got = append(got, fmt.Sprintf("%d:%d %s %s", f.Line, f.Column, f.Rule, f.Level))
				}
			}
			require.Equal(t, c.want, got)
		})
	}
}

// What is sent in one message is in one transaction.
func TestMessage(t *testing.T) {
	const file = "-- all at once\nselect 1; create index concurrently i on t (a);"
	statements, _, err := Read(file, []sqltext.Statement{{Kind: sqltext.SQL, Text: file, Line: 1}}, Facts{})
	require.NoError(t, err)
	require.Len(t, statements, 2)
	require.Equal(t, "CREATE INDEX", statements[1].Kind)
	require.Equal(t, RuleConcurrently, statements[1].Findings[0].Rule)
	require.Equal(t, []int{2, 11}, []int{statements[1].Findings[0].Line, statements[1].Findings[0].Column})
}

// A table may get another name where the same message makes a view of the old one; in the next message it is too late.
func TestRenamedInMessage(t *testing.T) {
	const rename, view = "select 1; alter table t rename to u;", "create view t as select * from u; select 2;"
	rules := func(statements []Statement, _ []Directive, err error) (found []string) {
		require.NoError(t, err)
		for _, s := range statements {
			for _, f := range s.Findings {
				found = append(found, f.Rule)
			}
		}
		return found
	}
	one := []sqltext.Statement{{Kind: sqltext.SQL, Text: rename + view, Line: 1}}
	require.Equal(t, []string{RuleLockTimeout}, rules(Read(rename+view, one, Facts{})))
	two := []sqltext.Statement{{Kind: sqltext.SQL, Text: rename, Line: 1}, {Kind: sqltext.SQL, Text: view, Line: 1, Offset: len(rename)}}
	require.Equal(t, []string{RuleRenameTable, RuleLockTimeout}, rules(Read(rename+view, two, Facts{})))
	require.Equal(t, []string{RuleLockTimeout}, rules(Read(rename+view, two, Facts{Transaction: true})))
}

// A server that is newer than the grammar has the last word.
func TestNewerServer(t *testing.T) {
	const file = "alter table t add constraint c not null a not valid"
	require.Equal(t, history.LevelWarning, read(t, file, Facts{Version: 18})[0].Findings[0].Level)
	require.Equal(t, history.LevelError, read(t, file, Facts{Version: 15})[0].Findings[0].Level)
}

// The seed's migration, on the schema that it is for.
func TestSeed(t *testing.T) {
	conn := database(t, servertest.Template(t, `create schema aedpics;
		create table aedpics.inspection_schedules (id uuid primary key, aed_data_id int, scheduled_for timestamptz(6), status text);`))
	facts := Facts{Before: before(t, conn)}
	s := read(t, "CREATE INDEX idx_inspection_schedules_equipment_date\n  ON aedpics.inspection_schedules(aed_data_id, DATE(scheduled_for));", facts)[0]
	f := s.Findings[1]
	require.Equal(t, []any{RuleNotImmutable, "42P17", 2, 48}, []any{f.Rule, f.SQLState, f.Line, f.Column})
	require.Equal(t, "It fails on every database: an index expression must be IMMUTABLE, and DATE(timestamptz) depends on TimeZone.", f.Says)
	require.Equal(t, "CREATE INDEX idx_inspection_schedules_equipment_date ON aedpics.inspection_schedules USING btree (aed_data_id, ((scheduled_for AT TIME ZONE 'UTC')::date));", f.Rewrite.SQL)
	require.Contains(t, s.Findings[0].Rewrite.SQL, "CONCURRENTLY idx_inspection_schedules_equipment_date ON aedpics.inspection_schedules USING btree (aed_data_id, ((")
	require.Equal(t, []history.Lock{{Table: "aedpics.inspection_schedules", Mode: "SHARE", Blocks: "writes"}}, s.Locks)
}

func TestDirectives(t *testing.T) {
	const file = `-- interlock: allow-file missing-lock-timeout the tool sets it
-- interlock: allow drop-table nobody reads it
DROP TABLE a;
DROP TABLE b; -- interlock: allow drop-table nor this
CREATE INDEX i ON c (x -- interlock: uses i for: SELECT * FROM c WHERE x = $1;
);
SELECT '-- interlock: allow x y';
-- interlock: allow drop-table
-- interlock: hush
DROP TABLE d;
-- interlock: allow drop-table below everything
`
	statements, directives, err := Read(file, sqltext.Split(file), Facts{})
	require.NoError(t, err)
	require.Equal(t, []Directive{
		{Line: 1, Allow: "missing-lock-timeout", Reason: "the tool sets it"},
		{Line: 2, First: 3, Last: 3, Allow: "drop-table", Reason: "nobody reads it"},
		{Line: 4, First: 4, Last: 4, Allow: "drop-table", Reason: "nor this"},
		{Line: 5, First: 5, Last: 6, UsesIndex: "i", For: "SELECT * FROM c WHERE x = $1"},
		{Line: 8, First: 10, Last: 10, Problem: "It gives no reason: write -- interlock: allow drop-table REASON."},
		{Line: 9, First: 10, Last: 10, Problem: "It says nothing that interlock knows: write -- interlock: allow RULE REASON, -- interlock: allow-file RULE REASON, or -- interlock: uses INDEX for: SELECT …."},
		{Line: 11, Problem: "There is no statement below this comment: move it above the one that it is about."},
	}, directives)
	var found []history.Finding
	for _, s := range statements {
		found = append(found, s.Findings...)
	}
	silent := map[string]string{}
	for _, f := range Silence(found, directives) {
		silent[fmt.Sprint(f.Line, " ", f.Rule)] = f.Allowed
	}
	require.Equal(t, map[string]string{
		"3 drop-table": "nobody reads it", "3 missing-lock-timeout": "the tool sets it", "4 drop-table": "nor this", "4 missing-lock-timeout": "the tool sets it",
		"5 index-blocks-writes": "", "10 drop-table": "", "10 missing-lock-timeout": "the tool sets it",
	}, silent)
}

// FuzzRead: no text makes it panic, and every finding is at a place of the file.
func FuzzRead(f *testing.F) {
	for _, sql := range append(append([]string{}, locked...), rewritten...) {
		f.Add(sql)
	}
	f.Add("-- interlock: allow x y\ncreate index on orders (date(placed)) where now() > placed;\n")
	known := schema.Schema{Objects: []schema.Object{{Kind: schema.Table, Name: `public."a.b"`}, {Kind: schema.Column, Name: `public."a.b".c`, Table: `public."a.b"`}}}
	f.Fuzz(func(t *testing.T, file string) {
		lines := strings.Split(file, "\n")
		for _, facts := range []Facts{{}, {Before: known, Transaction: true}} {
			statements, directives, err := Read(file, sqltext.Split(file), facts)
			require.NoError(t, err)
			for _, s := range statements {
				for _, f := range s.Findings {
					require.True(t, f.Line >= 1 && f.Line <= len(lines), "line %d", f.Line)
					require.True(t, f.Column >= 1 && f.Column <= len([]rune(lines[f.Line-1]))+1, "column %d", f.Column)
				}
			}
			for _, d := range directives {
				require.True(t, d.Line >= 1 && d.Line <= len(lines))
			}
		}
	})
}

// What the grammar's stack cannot hold is not shown to it: it would not recover.
func TestDeep(t *testing.T) {
	servertest.Slow(t)
	for unit, fine := range map[string]bool{"+1": false, "::text": false, " union select a, b": false, " or a": false, "||'a'": false, ", 1": true, ", (1 + 1)": true, ", -1": true} {
		for _, n := range []int{100, 700, 1400, 5000, 20_000} {
			s := read(t, "select 1"+strings.Repeat(unit, n), Facts{})[0]
			if fine || n == 100 {
				require.Empty(t, s.Findings, "%d of %s", n, unit)
			} else if n >= 5000 {
				require.Equal(t, history.LevelWarning, s.Findings[0].Level, "%d of %s", n, unit)
			}
		}
	}
	require.NotEmpty(t, read(t, "select "+strings.Repeat("not ", 20_000)+"true", Facts{})[0].Findings)
	require.Empty(t, read(t, "select "+strings.Repeat("not ", 1400)+"true", Facts{})[0].Findings)
	require.Empty(t, read(t, "select 1", Facts{})[0].Findings)
	require.False(t, gaveUp.Load())
}
