package reports_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/rivo/uniseg"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/reports"
)

func TestWidth(t *testing.T) {
	for s, want := range map[string]int{
		"": 0, "abc": 3, "한국어": 6, "각": 2, "\u1100\u1161\u11a8": 2, "e\u0301": 1, "é": 1, "🚑": 2, "👩‍🚒": 2, "👍🏽": 2, "🇰🇷": 2, "✓ → …": 5,
		"ｆｕｌｌ": 8, "日本": 4, "a\u00a0b": 3, "\u4e00\u3000": 4,
	} {
		require.Equal(t, want, reports.Width(s), "%q", s)
	}
}

func TestCleanLeavesNothingThatActs(t *testing.T) {
	for in, want := range map[string]string{
		"plain 한국어 🚑": "plain 한국어 🚑", "a\nb\r\tc": `a\nb\r\tc`, "\x1b[2J": `\x1b[2J`, "\u009b31m": `\u009b31m`, "\u202eabc": `\u202eabc`,
		"a\u00a0b": `a\u00a0b`, "\xff": `\xff`, "\ufffd": "\ufffd", "it's \"so\"": `it's "so"`, `back\slash`: `back\slash`, "": "",
	} {
		require.Equal(t, want, reports.Clean(in), "%q", in)
	}
}

func TestWrap(t *testing.T) {
	require.Equal(t, []string{"one two", "three"}, reports.Wrap("one two three", 7))
	require.Equal(t, []string{"a", "b"}, reports.Wrap("a\nb", 7))
	require.Equal(t, []string{"가나", "다라"}, reports.Wrap("가나다라", 5))
	require.Equal(t, []string{"two  spaces"}, reports.Wrap("two  spaces", 20))
	require.Equal(t, []string{""}, reports.Wrap("", 20))
	require.Equal(t, "가나…", reports.Clip("가나다라", 6))
}

func TestPasswordsAreNotShown(t *testing.T) {
	for in, want := range map[string]string{
		"postgres://u:p@h/db":                   "postgres://u:***@h/db",
		"postgres://u:p@ss@h:5432/db":           "postgres://u:***@h:5432/db",
		"postgres://u@h:5432/db?x=a@b":          "postgres://u@h:5432/db?x=a@b",
		"postgres://h/db?password=p&sslmode=no": "postgres://h/db?password=***&sslmode=no",
		"host=h PASSWORD='a b\\'c' user=u":      "host=h PASSWORD=*** user=u",
		"host=h user=u":                         "host=h user=u",
	} {
		require.Equal(t, strings.ToLower(want), strings.ToLower(reports.Plain(in)), in)
	}
	require.Equal(t, `interlock run 'it'\''s' '' a=b`, reports.Shell([]string{"interlock", "run", "it's", "", "a=b"}))
}

func FuzzText(f *testing.F) {
	f.Add("한국어 👩‍🚒 e\u0301\x1b[0m", 7)
	f.Add("한0", -61)
	f.Add("⸻ \u0d4e\u0d4e\u0d4e", 60)
	f.Add("a \ufe0f", 60)
	f.Add("⸻x", 2)
	f.Fuzz(func(t *testing.T, s string, n int) {
		n = 2 + abs(n)%60
		s = reports.Clean(s)
		require.Equal(t, s, reports.Clean(s))
		for _, r := range s {
			require.True(t, unicode.IsPrint(r) || r == '\u200d')
		}
		require.LessOrEqual(t, reports.Width(reports.Clip(s, n)), n)
		for _, line := range reports.Wrap(s, n) {
			if uniseg.GraphemeClusterCount(line) > 1 { // one alone may have no room: nothing tears it apart
				require.LessOrEqual(t, reports.Width(line), n)
			}
		}
		require.Equal(t, strings.ReplaceAll(s, " ", ""), strings.ReplaceAll(strings.Join(reports.Wrap(s, n), ""), " ", ""))
	})
}

func abs(n int) int {
	if n < 0 {
		return -(n + 1)
	}
	return n
}
