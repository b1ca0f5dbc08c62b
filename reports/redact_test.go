package reports_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/reports"
)

var treated = reports.Treated()

// textFields finds the fields of t, and of all types that it holds, that hold text or a time.
func textFields(t reflect.Type, all map[string]bool, seen map[reflect.Type]bool) (isText bool) {
	switch {
	case t == reflect.TypeFor[time.Time](), t == reflect.TypeFor[json.RawMessage](), t.Kind() == reflect.String, t.Kind() == reflect.Interface:
		return true
	case t.Kind() == reflect.Map:
		key, value := textFields(t.Key(), all, seen), textFields(t.Elem(), all, seen)
		return key || value
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer || t.Kind() == reflect.Array:
		return textFields(t.Elem(), all, seen)
	case t.Kind() == reflect.Struct && !seen[t]:
		seen[t] = true
		for f := range t.Fields() {
			if textFields(f.Type, all, seen) {
				all[t.Name()+"."+f.Name] = true
			}
		}
	}
	return false
}

func TestEveryTextOfARunIsRedactedOrKeptForAReason(t *testing.T) {
	fields := map[string]bool{}
	textFields(reflect.TypeFor[history.Run](), fields, map[reflect.Type]bool{})
	require.Greater(t, len(fields), 100)
	for field := range fields {
		require.Len(t, treated[field], 1, "%s: put it into one list of what is redacted, or kept, in redact.go", field)
		require.NotEmpty(t, treated[field][0], field)
	}
	for field := range treated {
		require.True(t, fields[field], "%s is no field with text: take it out of redact.go", field)
	}
}

// leaf is one value of a run.
type leaf struct{ path, text string }

// leaves returns the values in places that hold nothing else, in order; those of JSON too.
func leaves(v reflect.Value, path, field string) (all []leaf) {
	switch v.Kind() {
	case reflect.Struct:
		for f, value := range v.Fields() {
			if v.Type() != reflect.TypeFor[time.Time]() {
				all = append(all, leaves(value, path+"."+f.Name, v.Type().Name()+"."+f.Name)...)
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return leaves(v.Elem(), path, field)
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			var value any
			if dec := json.NewDecoder(bytes.NewReader(v.Bytes())); v.Len() > 0 {
				dec.UseNumber()
				if dec.Decode(&value) == nil {
					return elements(value, path)
				}
			}
			return nil
		}
		for i := range v.Len() {
			all = append(all, leaves(v.Index(i), fmt.Sprintf("%s[%d]", path, i), field)...)
		}
	case reflect.String:
		if why := treated[field]; len(why) == 1 && why[0] == "a value" {
			all = append(all, leaf{path, v.String()})
		}
	}
	return all
}

// elements returns the values of an input.
func elements(value any, path string) (all []leaf) {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			all = append(all, elements(v[key], path+"."+key)...)
		}
		return all
	case []any:
		for i, one := range v {
			all = append(all, elements(one, fmt.Sprintf("%s[%d]", path, i))...)
		}
		return all
	}
	return []leaf{{path, fmt.Sprint(value)}}
}

func TestRedactKeepsShapeAndEquality(t *testing.T) {
	servertest.Slow(t)
	for name, run := range redactable() {
		before := render(t, reports.JSON, run)
		redacted := reports.Redact(run)
		same(t, before, render(t, reports.JSON, run), name)
		require.Equal(t, strings.Count(before, "\n"), strings.Count(render(t, reports.JSON, redacted), "\n"), "%s: the same rows, cells and keys", name)

		was, is := leaves(reflect.ValueOf(run), "", ""), leaves(reflect.ValueOf(redacted), "", "")
		require.Len(t, is, len(was), name)
		token, value := map[string]string{}, map[string]string{}
		for i := range was {
			require.Equal(t, was[i].path, is[i].path, name)
			a, b := was[i].text, is[i].text
			if seen, met := token[a]; met {
				require.Equal(t, seen, b, "%s%s: equal before", name, was[i].path)
			}
			if seen, met := value[b]; met {
				require.Equal(t, seen, a, "%s%s: equal after", name, was[i].path)
			}
			token[a], value[b] = b, a
		}
	}
}

// same fails with the first line that differs.
func same(t *testing.T, want, got, name string) {
	t.Helper()
	if want == got {
		return
	}
	wants, gots := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(wants), len(gots)) {
		require.Equal(t, wants[i], gots[i], "%s, line %d", name, i+1)
	}
	require.Len(t, gots, len(wants), name)
}

func TestRedactIsIdempotent(t *testing.T) {
	servertest.Slow(t)
	for name, run := range redactable() {
		once := reports.Redact(run)
		same(t, render(t, reports.JSON, once), render(t, reports.JSON, reports.Redact(once)), name)
	}
}

// redactable are all samples and some runs of anything.
func redactable() map[string]history.Run {
	all := samples()
	random := rand.New(rand.NewPCG(5, 6))
	for i := range 8 {
		var run history.Run
		fill(random, reflect.ValueOf(&run).Elem())
		all[fmt.Sprint("any ", i)] = run
		run = history.Run{}
		marks(random, reflect.ValueOf(&run).Elem(), "", &marked{})
		all[fmt.Sprint("marked ", i)] = run
	}
	for _, run := range all {
		if run.Check != nil {
			for i := range run.Check.Invariants {
				run.Check.Invariants[i].Groups = nil // the times in it are left out
			}
		}
	}
	return all
}

// marked are the values that marks puts into a run: words that are there once.
type marked struct{ words, whole []string }

// fill returns one of some texts with a word in the place of each § and a number in that of each #.
func (m *marked) fill(random *rand.Rand, texts ...string) string {
	const letters = "bcdfghjklmnpqrstvwxz"
	var b strings.Builder
	for _, c := range texts[random.IntN(len(texts))] {
		word := ""
		switch c {
		case '§':
			word = "q"
			for range 9 {
				word += string(letters[random.IntN(len(letters))])
			}
		case '#':
			word = fmt.Sprint(1_000_000_000 + random.IntN(8_000_000_000))
		default:
			b.WriteRune(c)
			continue
		}
		m.words = append(m.words, word)
		b.WriteString(word)
	}
	return b.String()
}

// marks fills v, and puts values of its own into every place of a field that holds values.
func marks(random *rand.Rand, v reflect.Value, field string, m *marked) {
	why := ""
	if all := treated[field]; all != nil {
		why = all[0]
	}
	switch v.Interface().(type) {
	case time.Time:
		return
	case json.RawMessage:
		v.SetBytes([]byte(m.fill(random, `{"device": #, "more": [{"serial": "§ \"§\""}, null, true, "", 1.5e3]}`)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		var s string
		switch why {
		case "a value":
			s = m.fill(random, "§ §-§", "§", `§ "§" §`, "(§)", "#")
			m.whole = append(m.whole, s)
		case "SQL with literals", "SQL that the gate wrote for a migration":
			s = m.fill(random, "select '§', e'it\\'s §', $$§$$, $x$ § $x$, #, -#.5, $1 -- for '§'\nfrom t where a=# /* by='§' */ and b = '§")
		case "a sentence that may hold values", "run-time parameters":
			if len(m.whole) > 0 && random.IntN(3) == 0 {
				s = fmt.Sprintf("it met %s, twice", m.whole[random.IntN(len(m.whole))])
				break
			}
			s = m.fill(random, `duplicate key value violates unique constraint "one_open": Key (serial, lower(x))=(§, §) already exists.`,
				`conflicting key: Key (id, during)=(§, ["§","§")) conflicts with existing key (id, during)=(§, §(§)).`,
				`invalid input syntax for type uuid: "§ "§" §"`, `Failing row contains (§, null, §).`, `it met "§" and '§'`,
				`dial tcp 10.12.13.14:5432 (§.example): refused; lookup §; host=§ password='§'; postgres://me:§@§:5432/§`,
				`no such file /home/§/§/0001_a.sql`, `Index Cond: (serial = '§'::text)`)
		case "a server, or a database":
			s = m.fill(random, "postgres://§:§@§:5432/§?user=§", "host=§ user='§' password=§", "§ on §.example:5432", "/home/§/run", "§")
		case "a directory":
			s = m.fill(random, "/home/§/§", "§")
		case "a file":
			s = m.fill(random, "/home/§/0001_a.sql", "§/0001_a.sql")
		case "a word of a command":
			s = m.fill(random, "--postgres=postgres://§:§@§:5432/§", "host=§ password=§", "/home/§/interlock", "--seed")
		case "a command":
			s = m.fill(random, "interlock replay §/a.json --postgres 'host=§ password=§' --again=§/b", "delete from t where a = '§'")
		default:
			s = []string{"held", "violated", "S1", "run", "explore", "statement", "check"}[random.IntN(7)]
		}
		v.SetString(s)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(random.IntN(3)))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		marks(random, v.Elem(), field, m)
	case reflect.Slice:
		n := 2
		if v.Type().Elem().Kind() == reflect.Struct {
			n = 1 // or it grows beyond measure
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			marks(random, v.Index(i), field, m)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		if v.Type().Elem().Kind() == reflect.String {
			v.SetMapIndex(reflect.ValueOf("my.tenant"), reflect.ValueOf(m.fill(random, "§")))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			marks(random, v.Field(i), v.Type().Name()+"."+v.Type().Field(i).Name, m)
		}
	}
}

func TestNoMarkedValueIsLeft(t *testing.T) {
	servertest.Slow(t)
	random := rand.New(rand.NewPCG(7, 8))
	kinds := []history.Kind{
		history.KindRun, history.KindExplore, history.KindReplay, history.KindCheck, history.KindRepair, history.KindGate, history.KindLoad,
	}
	for _, kind := range kinds {
		var run history.Run
		var m marked
		marks(random, reflect.ValueOf(&run).Elem(), "", &m)
		run.Kind = kind
		require.Greater(t, len(m.words), 200)
		before := render(t, reports.JSON, run)
		for _, word := range m.words {
			require.True(t, strings.Contains(before, word), word)
		}
		redacted := reports.Redact(run)
		all := renderers()
		if run.Kind == history.KindGate {
			all["sarif"] = reports.SARIF
		}
		for name, r := range all {
			out := render(t, r, redacted)
			for _, word := range m.words {
				if strings.Contains(out, word) {
					line := slices.IndexFunc(strings.Split(out, "\n"), func(l string) bool { return strings.Contains(l, word) })
					require.Failf(t, "left", "%s of %s: %s: %s", name, run.Kind, word, strings.Split(out, "\n")[line])
				}
			}
		}
	}
}

func TestRedactedRunsRenderAlike(t *testing.T) {
	servertest.Slow(t)
	tables := func(run history.Run) (lines int) {
		for line := range strings.Lines(render(t, reports.Markdown, run)) {
			if strings.HasPrefix(line, "|") {
				lines++
			}
		}
		return lines
	}
	for name, run := range samples() {
		redacted := reports.Redact(run)
		require.Equal(t, tables(run), tables(redacted), name)
		for suffix, r := range renderers() {
			require.NoError(t, r(io.Discard, redacted), "%s.%s", name, suffix)
		}
	}
}

func TestRedactSQL(t *testing.T) {
	for sql, want := range map[string]string{
		`select a, "B 1" from t1 where b = $1`:                  `select a, "B 1" from t1 where b = $1`,
		`select 'x', 'x', 'y''s', ''`:                           `select '‹1›', '‹1›', '‹2›', ''`,
		`select e'y\'s', 'y''s', $$y's$$, $q$z$q$`:              `select e'‹1›', '‹1›', $$‹1›$$, $q$‹2›$q$`,
		`select 17, 17.5, 1e3, .5, 0x1F, -17, a1, a.b2, x[3]`:   `select ‹1›, ‹2›, ‹3›, ‹4›, ‹5›, -‹1›, a1, a.b2, x[‹6›]`,
		`select 't', 'false', true, null`:                       `select 't', 'false', true, null`,
		"select 'abc' -- 'abc' of abc, the \"a\"\n, 2":          "select '‹1›' -- '‹1›' of ‹1›, the \"‹2›\"\n, ‹3›",
		`select 'never ends`:                                    `select '‹1›`,
		"select e'a\\nb', 'anb', 'a\nb'":                        "select e'‹1›', '‹2›', '‹1›'",
		`select /* never ends`:                                  `select /*‹1›`,
		`insert into t values (17, 'AED-17', '2026-03-01'::da)`: `insert into t values (‹1›, '‹2›', '‹3›'::da)`,
	} {
		run := reports.Redact(history.Run{Cells: []history.Cell{{Counterexamples: []history.Counterexample{{Query: sql}}}}})
		require.Equal(t, want, run.Cells[0].Counterexamples[0].Query)
	}
}

func TestRedactSentences(t *testing.T) {
	for sentence, want := range map[string]string{
		`AED-17 and AED-171, AED-17's and xAED-17`: `‹1› and AED-171, ‹1›'s and xAED-17`,
		`17 of 17`:                               `17 of 17`,
		`Key (serial)=(AED-17) already exists.`:  `Key (serial)=(‹1›) already exists.`,
		`Key (a, b)=(17, AED-17) is duplicated.`: `Key (a, b)=(‹2›, ‹1›) is duplicated.`,
		`Key (a, b)=(17, [1,2)) conflicts with existing key (a, b)=(17, [1,3)).`:       `Key (a, b)=(‹2›, ‹3›) conflicts with existing key (a, b)=(‹2›, ‹4›).`,
		`Key (a)=(null) already exists.`:                                               `Key (a)=(null) already exists.`,
		`duplicate key value violates unique constraint "one open"`:                    `duplicate key value violates unique constraint "one open"`,
		`the index of "serial" has "serials"`:                                          `the index of "serial" has "‹3›"`,
		`invalid input syntax for type uuid: "a "b" c"`:                                `invalid input syntax for type uuid: "‹3›"`,
		`Postgres' own, the clients' own`:                                              `Postgres' own, the clients' own`,
		`filter (serial = 'AED-17'::text)`:                                             `filter (serial = '‹1›'::text)`,
		"failed to connect to `user=me database=d`: 10.0.0.5:5432 (db.acme): refused":  "failed to connect to `user=‹3› database=‹4›`: ‹5›:5432 (‹6›): refused",
		`open /home/kim/shop/0001_a.sql: no such file, reads/writes/updates, and/or 1`: `open ‹3›/0001_a.sql: no such file, reads/writes/updates, and/or 1`,
		`‹1› is no token`:                                                              `‹3› is no token`,
		`could not serialize access due to concurrent update`:                          `could not serialize access due to concurrent update`,
	} {
		run := reports.Redact(history.Run{Cells: []history.Cell{{
			Rounds: []history.Round{{Operations: []history.Operation{
				{Subject: "AED-17", Slot: "17", Message: sentence},
				{Message: sentence},
			}}},
			Counterexamples: []history.Counterexample{{Query: "select serial from t"}},
		}}})
		ops := run.Cells[0].Rounds[0].Operations
		require.Equal(t, "‹1›", ops[0].Subject)
		require.Equal(t, ops[0].Message, ops[1].Message)
		require.Equal(t, want, ops[0].Message)
	}
}

func TestRedactCommandsAndPlaces(t *testing.T) {
	run := history.Run{
		Command: []string{
			"/home/kim/bin/interlock", "run", "sessions/none,sessions", "--seed", "7341", "--out=/home/kim/out", "./a.json",
			"--postgres", "postgres://me:hunter2@db.acme:5432/prod?password=hunter3", "--also=host=db.acme port=5432 password='hunter 4'", "postgres://db.acme",
		},
		Server:        history.Server{Where: "prod on db.acme:5432"},
		MigrationsDir: "/home/kim/out", Cells: []history.Cell{{Scenario: "sessions", Variant: "none"}},
		Check:  &history.Check{Database: "postgres:15.18"},
		Repair: &history.Repair{Database: "/tmp/socket"},
	}
	for range 2 {
		run = reports.Redact(run)
		require.Equal(t, []string{
			"‹1›/interlock", "run", "sessions/none,sessions", "--seed", "7341", "--out=‹2›/out", "./a.json",
			"--postgres", "postgres://‹3›:5432/‹4›", "--also=host=‹3› port=5432 password=‹5›", "postgres://‹3›",
		}, run.Command)
		require.Equal(t, "‹4› on ‹3›:5432", run.Server.Where)
		require.Equal(t, "‹6›", run.MigrationsDir)
		require.Equal(t, "postgres:15.18", run.Check.Database)
		require.Equal(t, "‹7›", run.Repair.Database)
		require.NotContains(t, render(t, reports.JSON, run), "hunter")
	}
}

// What looks like a connection string is hidden whole, whatever is in its password.
func TestRedactConnectionStringsAsWords(t *testing.T) {
	for word, want := range map[string]string{
		`DSN=postgres://me:hun'ter2@db.acme/x`:         `DSN=‹1›`,
		`postgres://me:hun'ter 2@db.acme/x`:            `postgres://‹1›/‹2›`,
		`host=db.acme password='hun ter2' port=5432`:   `host=‹1› password=‹2› port=5432`,
		`see postgres://me:hunter2@db.acme/x for more`: `see postgres://‹1›/‹2› for more`,
	} {
		run := reports.Redact(history.Run{Command: []string{word}})
		require.Equal(t, []string{want}, run.Command)
		require.Equal(t, run, reports.Redact(run))
	}
}

func TestAMigrationsOwnSQLIsCode(t *testing.T) {
	run := reports.Redact(recorded("gate-seed"))
	was := recorded("gate-seed").Gate.Migrations[0]
	is := run.Gate.Migrations[0]
	require.Equal(t, was.Statements, is.Statements)
	require.Equal(t, was.Findings[1].Statement, is.Findings[1].Statement)
	require.Contains(t, is.Findings[1].Query, "status IN ('active', 'paused')")
	require.Contains(t, is.Findings[3-1+1].Rewrite.SQL, "SET lock_timeout = '2s'")
	require.NotContains(t, render(t, reports.JSON, run), "AED-0001")
	require.NotContains(t, render(t, reports.JSON, run), "secret")
}

func TestTheTimesOfRowsAreLeftOut(t *testing.T) {
	now := time.Now()
	run := reports.Redact(history.Run{Started: now, Check: &history.Check{Invariants: []history.CheckedOne{{Groups: &history.Groups{Total: 1, Members: 2, Oldest: &now}}}}})
	require.Equal(t, now, run.Started)
	require.Equal(t, history.Groups{Total: 1, Members: 2}, *run.Check.Invariants[0].Groups)
}

func TestInputsOfAnyForm(t *testing.T) {
	for in, want := range map[string]string{
		`{"device":17,"at":"10:00","open":true,"by":null,"of":[17,"17",""]}`: `{"device":"‹1›","at":"‹2›","open":true,"by":null,"of":["‹1›","‹1›",""]}`,
		` { "b" : {} , "a" : [ ] } `:                                         `{"b":{},"a":[]}`, `{"<k>":1}`: `{"<k>":"‹1›"}`, `"x"`: `"‹1›"`, `null`: `null`, ``: ``, `{"a":`: `"‹1›"`, `1 2`: `"‹1›"`,
	} {
		run := reports.Redact(history.Run{Cells: []history.Cell{{Rounds: []history.Round{{Input: json.RawMessage(in)}}}}})
		require.Equal(t, want, string(run.Cells[0].Rounds[0].Input))
	}
}

func FuzzRedact(f *testing.F) {
	for _, s := range nasty {
		f.Add(s, s, "x")
	}
	f.Add(`Key (a, b)=(1, x) already exists. "a" 'b' postgres://a:b@c/d host=e 10.0.0.1:5 (f) /g/h/i`, `select 'a', $$b$$, 1.5 -- 'c'`, "a")
	f.Add(`Key (a, b)ostgre) already exists. "a" 'b' p=(1,bxs://`, `select 'a', c 1. -- '`, "a")
	f.Add(`r't>ix'x'xx> `, "b=b= \t\t@", "d")
	f.Add(`''#'''''`, "a", "x")
	f.Fuzz(func(t *testing.T, sentence, sql, value string) {
		run := history.Run{
			Trouble: sentence, Command: []string{sentence, sql}, Server: history.Server{Where: sentence}, MigrationsDir: value,
			Migrations: []history.Migration{{Path: sentence}},
			Cells: []history.Cell{{Trouble: value + " " + sentence, Counterexamples: []history.Counterexample{{
				Query: sql, Start: []string{sentence}, Again: "interlock " + sentence, Database: sql,
			}}, Rounds: []history.Round{{Operations: []history.Operation{{Subject: value, Message: sql}}}}}},
			Gate: &history.Gate{Migrations: []history.Judged{{Findings: []history.Finding{{Statement: value, Query: sql, Evidence: []string{sentence}}}}}},
		}
		once := reports.Redact(run)
		require.Equal(t, once, reports.Redact(once))
	})
}
