package migrations

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

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
