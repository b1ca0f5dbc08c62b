package isolation

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// table is a result with rows, as text. Null and the empty text look the same in it.
type table struct {
	names []string
	rows  [][]string
}

func newTable(fields []pgproto3.FieldDescription) *table {
	t := &table{names: make([]string, len(fields))}
	for i, f := range fields {
		t.names[i] = string(f.Name)
	}
	return t
}

func (t *table) add(values [][]byte) {
	row := make([]string, len(values))
	for i, v := range values {
		row[i] = string(v)
	}
	t.rows = append(t.rows, row)
}

// print writes the table in the layout of libpq's PQprint: columns are padded to the same number of bytes, those of numbers on the left. A result
// without columns is not shown at all.
func (t *table) print(out *bytes.Buffer) {
	if len(t.names) == 0 {
		return
	}
	widths, texts := make([]int, len(t.names)), make([]bool, len(t.names))
	for i, name := range t.names {
		widths[i] = len(name)
		for _, row := range t.rows {
			widths[i] = max(widths[i], len(row[i]))
			texts[i] = texts[i] || row[i] != "" && !looksNumeric(row[i])
		}
	}
	line := func(values []string) {
		for i, v := range values {
			if i > 0 {
				out.WriteByte('|')
			}
			padding := widths[i] - len(v)
			if !texts[i] {
				writeRepeated(out, ' ', padding)
			}
			out.WriteString(v)
			if texts[i] {
				writeRepeated(out, ' ', padding)
			}
		}
		out.WriteByte('\n')
	}
	line(t.names)
	for i, width := range widths {
		if i > 0 {
			out.WriteByte('+')
		}
		writeRepeated(out, '-', width)
	}
	out.WriteByte('\n')
	for _, row := range t.rows {
		line(row)
	}
	plural := "s"
	if len(t.rows) == 1 {
		plural = ""
	}
	fmt.Fprintf(out, "(%d row%s)\n\n", len(t.rows), plural)
}

// looksNumeric is PQprint's idea of a number: made of digits and what else is found in numbers, with a digit at the end, and no exponent at the
// beginning. So dates are numbers, and infinities are not.
func looksNumeric(value string) bool {
	last := value[len(value)-1]
	return strings.Trim(value, "0123456789.eE -") == "" && value[0] != 'e' && value[0] != 'E' && last >= '0' && last <= '9'
}

func writeRepeated(out *bytes.Buffer, c byte, times int) {
	for range times {
		out.WriteByte(c)
	}
}
