package migrations

import (
	"strings"
	"testing"
	"unicode/utf8"

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

func TestNotInTransaction(t *testing.T) {
	for sql, want := range map[string]bool{
		"CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)": true,
		"drop index concurrently i":                   true,
		"reindex table concurrently t":                true,
		"vacuum":                                      true,
		"alter system set a = 1":                      true,
		"create database d":                           true,
		"create index i on t (concurrently)":          false,
		"create index \"concurrently\" on t (a)":      false,
		"alter type t add value 'x'":                  false, // allowed in a transaction since PostgreSQL 12
		"reindex table t":                             false,
		"alter table t set (a = 1)":                   false,
	} {
		p, err := manners[Flyway].plan(Migration{SQL: sql})
		require.NoError(t, err)
		require.Equal(t, want, !p.transaction, sql)
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
	} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		var joined strings.Builder
		for _, p := range pieces(sql) {
			require.NotEmpty(t, p.Text)
			require.Equal(t, joined.Len(), p.Offset)
			require.Equal(t, 1+strings.Count(joined.String(), "\n"), p.Line)
			joined.WriteString(p.Text)
			switch p.Kind {
			case blank:
				if !strings.HasPrefix(p.Text, "\uFEFF") && strings.ContainsAny(p.Text, "'\"$") {
					require.True(t, strings.Contains(p.Text, "--") || strings.Contains(p.Text, "/*"), "%q is not blank", p.Text)
				}
			case SQL: // on its own, it is one statement still
				again := Split(p.Text)
				require.Len(t, again, 1, "%q", p.Text)
				require.Equal(t, p.Text, again[0].Text)
			}
		}
		require.Equal(t, sql, joined.String())
	})
}

func TestPlace(t *testing.T) {
	text := "a\n점검 é x\r\n\tb"
	for _, c := range []struct {
		of           string
		line, column int
		source, pad  string
	}{
		{"a", 1, 1, "a", ""},
		{"x", 2, 6, "점검 é x", "       "},
		{"b", 3, 2, "\tb", "\t"},
	} {
		line, column, source := place(text, strings.Index(text, c.of))
		require.Equal(t, []any{c.line, c.column, c.source}, []any{line, column, source})
		require.Equal(t, c.pad, pad(source, column-1))
	}
	line, column, source := place(text, len(text))
	require.Equal(t, []any{3, 3, "\tb"}, []any{line, column, source})
	require.Equal(t, len("점"), runes("점검", 1))
	require.Equal(t, len("점검"), runes("점검", 9))
	require.Equal(t, " ", pad("e\u0301", 2), "a combining accent takes no room")
}

func TestCrop(t *testing.T) {
	long := strings.Repeat("점", 100) + "!" + strings.Repeat("x", 200)
	got, column := crop(long, 101)
	require.Equal(t, "!", string([]rune(got)[column-1]))
	require.Equal(t, widest+2, utf8.RuneCountInString(got))
	for _, column := range []int{1, 2, 59, 60, 61, 62, 240, 241, 242, 300, 301, 302} {
		got, at := crop(long, column)
		require.LessOrEqual(t, utf8.RuneCountInString(got), widest+2)
		if column <= 301 {
			require.Equal(t, []rune(long)[column-1], []rune(got)[at-1], "column %d", column)
		}
	}
	got, column = crop("short", 3)
	require.Equal(t, "short", got)
	require.Equal(t, 3, column)
}
