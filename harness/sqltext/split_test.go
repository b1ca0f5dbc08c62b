package sqltext

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSplit(t *testing.T) {
	for name, c := range map[string]struct {
		sql  string
		want []string // "kind text"
	}{
		"two":               {"SELECT 1; SELECT 2", []string{"sql SELECT 1;", "sql SELECT 2"}},
		"nothing":           {" -- a;\n/* b; /* c; */ d; */ ;; \n", nil},
		"byte order mark":   {"\uFEFFSELECT 1;", []string{"sql SELECT 1;"}},
		"string":            {`SELECT 'a;''b;', "c;""d;"; X`, []string{`sql SELECT 'a;''b;', "c;""d;";`, "sql X"}},
		"no escape":         {`SELECT 'a\'; X`, []string{`sql SELECT 'a\';`, "sql X"}},
		"escape":            {`SELECT E'a\';b''\\', e'\''; X`, []string{`sql SELECT E'a\';b''\\', e'\'';`, "sql X"}},
		"escape, continued": {"SELECT E'a' -- it's\n '\\';'; X", []string{"sql SELECT E'a' -- it's\n '\\';';", "sql X"}},
		"not an escape":     {`SELECT date'a\'; X`, []string{`sql SELECT date'a\';`, "sql X"}},
		"dollars":           {"SELECT $$a;$b$;$$, $a1$;$$;$a1$; X", []string{"sql SELECT $$a;$b$;$$, $a1$;$$;$a1$;", "sql X"}},
		"parameters":        {"SELECT $1;$2; X", []string{"sql SELECT $1;", "sql $2;", "sql X"}},
		"dollar in name":    {"SELECT a$$; SELECT b$$;", []string{"sql SELECT a$$;", "sql SELECT b$$;"}},
		"comment inside":    {"SELECT /* ; */ 1 -- ;\n; X -- end", []string{"sql SELECT /* ; */ 1 -- ;\n;", "sql X"}},
		"rule":              {"CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b); X", []string{"sql CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b);", "sql X"}},
		"atomic": {
			"create function f() returns int begin /**/ atomic select case when a.end then 1 end; select 2; end; X",
			[]string{"sql create function f() returns int begin /**/ atomic select case when a.end then 1 end; select 2; end;", "sql X"},
		},
		"transaction": {"BEGIN; SELECT 1; END; X", []string{"sql BEGIN;", "sql SELECT 1;", "sql END;", "sql X"}},
		"command":     {"\\set a 'b;\nSELECT 1 \\gexec\nX;", []string{`command \set a 'b;`, "sql SELECT 1", `command \gexec`, "sql X;"}},
		"copy": {
			"COPY t (a) FROM STDIN WITH (FORMAT csv); -- rows\n1;'\n\\.\nX;\nCOPY t TO STDOUT;\nCOPY t FROM '/f';",
			[]string{"sql COPY t (a) FROM STDIN WITH (FORMAT csv);", "copy data 1;'\n\\.\n", "sql X;", "sql COPY t TO STDOUT;", "sql COPY t FROM '/f';"},
		},
		"copy, unfinished":    {"COPY t FROM stdin;\n1\r\n", []string{"sql COPY t FROM stdin;", "copy data 1\r\n"}},
		"unterminated string": {"SELECT 1; SELECT 'a; ", []string{"sql SELECT 1;", "sql SELECT 'a; "}},
		"unterminated dollar": {"SELECT $a$;", []string{"sql SELECT $a$;"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, s := range Split(c.sql) {
				got = append(got, string(s.Kind)+" "+s.Text)
				require.Equal(t, s.Text, c.sql[s.Offset:s.Offset+len(s.Text)])
				require.Equal(t, 1+strings.Count(c.sql[:s.Offset], "\n"), s.Line)
			}
			require.Equal(t, c.want, got)
		})
	}
}

func TestMessage(t *testing.T) {
	for sql, want := range map[string][]Statement{
		`SELECT 1 \ 2; \echo`: {
			{Kind: SQL, Text: `SELECT 1 \ 2;`, Line: 1, Words: []string{"select"}},
			{Kind: SQL, Text: `\echo`, Offset: 14, Line: 1, Words: []string{"echo"}},
		},
		"COPY t FROM STDIN;\nSELECT $1": {
			{Kind: SQL, Text: "COPY t FROM STDIN;", Line: 1, Words: []string{"copy", "t", "from", "stdin"}},
			{Kind: SQL, Text: "SELECT $1", Offset: 19, Line: 2, Words: []string{"select"}, Parameters: true},
		},
		"SELECT $$1$$, '$1', a$1, $a$$1$a$": {
			{Kind: SQL, Text: "SELECT $$1$$, '$1', a$1, $a$$1$a$", Line: 1, Words: []string{"select", "a$1"}},
		},
		"/* /* */ begin */ -- x\n Begin": {{Kind: SQL, Text: "Begin", Offset: 24, Line: 2, Words: []string{"begin"}}},
		" ; -- ping":                     nil,
	} {
		require.Equal(t, want, Message(sql), sql)
	}
}

func FuzzSplit(f *testing.F) {
	for _, sql := range []string{
		"SELECT 1; SELECT 'a;''b', \"c;\" -- d;\n/* e; /* f */ */;",
		"SELECT E'\\'' \n '\\';'; SELECT $a$ ; $$ ; $a$, $1;",
		"CREATE FUNCTION f() BEGIN ATOMIC SELECT CASE WHEN x THEN 1 END; END; (begin atomic",
		"COPY t FROM STDIN;\n1;2\n\\.\n\\echo x\nSELECT 1 \\gexec\n",
		"\uFEFF점검; é'한;글'$é$;$é$\x80\x00(;)",
		"copy t from stdin; select 1;\n'",
		";\uFEFF",
	} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		var whole strings.Builder
		for _, p := range pieces(sql, message) {
			require.NotEmpty(t, p.Text)
			require.Contains(t, []Kind{SQL, blank}, p.Kind)
			whole.WriteString(p.Text)
		}
		require.Equal(t, sql, whole.String())

		var joined strings.Builder
		for _, p := range pieces(sql, psql) {
			require.NotEmpty(t, p.Text)
			require.Equal(t, joined.Len(), p.Offset)
			require.Equal(t, 1+strings.Count(joined.String(), "\n"), p.Line)
			joined.WriteString(p.Text)
			switch p.Kind {
			case blank:
				if !strings.HasPrefix(p.Text, "\uFEFF") && strings.ContainsAny(p.Text, "'\"$") {
					require.True(t, strings.Contains(p.Text, "--") || strings.Contains(p.Text, "/*"), "%q is not blank", p.Text)
				}
			case SQL: // on its own, it is one statement still, unless that makes a file's mark of a name's first letter
				if strings.HasPrefix(p.Text, "\uFEFF") {
					continue
				}
				again := Split(p.Text)
				require.Len(t, again, 1, "%q", p.Text)
				require.Equal(t, p.Text, again[0].Text)
			}
		}
		require.Equal(t, sql, joined.String())
	})
}
