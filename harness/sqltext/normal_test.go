package sqltext_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/sqltext"
)

func TestNormal(t *testing.T) {
	for in, want := range map[string]string{
		"":           "",
		"  SELECT 1": "SELECT ?",
		"SELECT a2, t.b3 FROM t WHERE c = $12 /*traceparent='00-ab'*/": "SELECT a2, t.b3 FROM t WHERE c = $12",
		"/* a */SELECT\n\t'it''s', E'\\'x', $q$ $1 $q$ -- end":         "SELECT ?, ?, ?",
		`INSERT INTO "T 1" VALUES ('2026-01-05', 1.5e-3, -2, x'1F')`:   `INSERT INTO "T 1" VALUES (?, ?, -?, x?)`,
		"SELECT 1 -- unfinished\n + 'open":                             "SELECT ? + ?",
		"SELECT 1e":                                                    "SELECT ?",
	} {
		require.Equal(t, want, sqltext.Normal(in), in)
	}
	require.Equal(t, "SELECT 'a' + 1", sqltext.Bare("/* x */ SELECT  'a' /* y */+ 1 --"))
}

func FuzzNormal(f *testing.F) {
	for _, sql := range []string{"SELECT 1", "E'", "$a$", "$", "/*", `"`, "1e", "--"} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		once := sqltext.Bare(sql)
		require.Equal(t, once, sqltext.Bare(once), "what has no comments is left as it is")
		require.LessOrEqual(t, len(sqltext.Normal(sql)), len(sql)+1)
	})
}
