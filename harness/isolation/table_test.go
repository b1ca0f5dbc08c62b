package isolation

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTable(t *testing.T) {
	for name, c := range map[string]struct {
		table table
		want  string
	}{
		"numbers are on the right, texts on the left": {
			table{[]string{"id", "name"}, [][]string{{"1", "one"}, {"100", "a hundred"}}},
			" id|name     \n---+---------\n  1|one      \n100|a hundred\n(2 rows)\n\n",
		},
		"one row": {table{[]string{"n"}, [][]string{{"1"}}}, "n\n-\n1\n(1 row)\n\n"},
		"no rows": {table{[]string{"a", "bc"}, nil}, "a|bc\n-+--\n(0 rows)\n\n"},
		"what is empty in each row is a number": {
			table{[]string{"function", "x"}, [][]string{{"", "a"}}}, "function|x\n--------+-\n        |a\n(1 row)\n\n",
		},
		"one text makes a column of texts": {
			table{[]string{"value"}, [][]string{{"1"}, {""}, {"x"}, {"22"}}}, "value\n-----\n1    \n     \nx    \n22   \n(4 rows)\n\n",
		},
		"dates are numbers, times are not": {
			table{[]string{"the date", "the time"}, [][]string{{"12-22-2008", "12:00"}}},
			"  the date|the time\n----------+--------\n12-22-2008|12:00   \n(1 row)\n\n",
		},
		"padding counts bytes": {
			table{[]string{"ä"}, [][]string{{"xyz"}}}, "ä \n---\nxyz\n(1 row)\n\n",
		},
		"a line break is printed as it is": {
			table{[]string{"a", "b"}, [][]string{{"1\n2", "3"}}}, "a  |b\n---+-\n1\n2|3\n(1 row)\n\n",
		},
		"no columns": {table{nil, [][]string{{}, {}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			c.table.print(&out)
			require.Equal(t, c.want, out.String())
		})
	}
}

func TestLooksNumeric(t *testing.T) {
	for _, yes := range strings.Fields("1 -2.50 1e5 1E-5 2001-02-03 1.2.3 --1 -e1") {
		require.True(t, looksNumeric(yes), yes)
	}
	require.True(t, looksNumeric(" 1 2"))
	for _, no := range strings.Fields("e5 E5 1- 1. 1e - . x 0x1 1:2 +1 NaN Infinity ä t {1}") {
		require.False(t, looksNumeric(no), no)
	}
	require.False(t, looksNumeric("1 "))
}
