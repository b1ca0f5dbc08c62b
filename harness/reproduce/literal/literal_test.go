package literal_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/reproduce/literal"
)

func TestBindLeavesQuotesAndCommentsAlone(t *testing.T) {
	for sql, want := range map[string]string{
		`select $1, $2`:                        `select <1>, <2>`,
		`select $10+$1`:                        `select <10>+<1>`,
		`select '$1', "a$1", f$1, $1`:          `select '$1', "a$1", f$1, <1>`,
		`select 'it''s $1', e'it\'s $1' , $1`:  `select 'it''s $1', e'it\'s $1' , <1>`,
		"select $1 -- $1\n, $2 /* $1 */":       "select <1> -- $1\n, <2> /* $1 */",
		`select $$ $1 $$, $a$ $1 $$ $a$, $1`:   `select $$ $1 $$, $a$ $1 $$ $a$, <1>`,
		`select $a$ $1`:                        `select $a$ $1`,
		`select '$1`:                           `select '<1>`,
		"select \xff'$1', $1":                  "select \xff'$1', <1>",
		`select "ä""$1", größe$1, typE'$1' $1`: `select "ä""$1", größe$1, typE'$1' <1>`,
	} {
		require.Equal(t, want, literal.Bind(sql, func(n int) string { return fmt.Sprintf("<%d>", n) }))
	}
}

func TestSqueeze(t *testing.T) {
	for sql, want := range map[string]string{
		"\n\tselect  1,\n\t\t2 -- the second\n\tfrom /* no\ntable */ x\n": "select 1, 2 from x",
		"select 'a  \n b', $$  c $$":                                      "select 'a  \n b', $$  c $$",
		"-- only a comment":                                               "",
		"":                                                                "",
	} {
		require.Equal(t, want, literal.Squeeze(sql))
	}
}

func FuzzPieces(f *testing.F) {
	f.Add("select $1, 'a''b', E'\\'', \"c\" /* */ -- d\n $$ e $$ $f$")
	f.Fuzz(func(t *testing.T, sql string) {
		var b strings.Builder
		for _, text := range literal.Pieces(sql) {
			require.NotEmpty(t, text)
			b.WriteString(text)
		}
		require.Equal(t, sql, b.String())
	})
}
