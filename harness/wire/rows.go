package wire

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgproto3"
)

// shown is how many bytes of a value are kept.
const shown = 200

// column is one of those that a statement returns.
type column struct {
	name string
	oid  uint32 // of its type
}

// described returns the columns of a description, and their formats.
func described(m *pgproto3.RowDescription) (columns []column, formats []int16) {
	columns, formats = make([]column, len(m.Fields)), make([]int16, len(m.Fields))
	for i, f := range m.Fields {
		columns[i], formats[i] = column{name: string(f.Name), oid: f.DataTypeOID}, f.Format
	}
	return columns, formats
}

// keeper reads rows while they pass, in whatever pieces, and keeps the first ones.
type keeper struct {
	most    int      // rows
	columns []column // none: not known
	formats []int16
	values  [][]*string

	row    []*string // that is being read
	within bool      // a row
	number []byte    // of which not all bytes have come
	body   int       // bytes to come of a value
	value  []byte    // what has come of it, up to shown and one more
	fields int       // to come of the row; -1: their number is to come
}

// begin takes a DataRow, or the beginning of one.
func (k *keeper) begin(piece []byte) {
	k.within = len(k.values) < k.most
	if k.within {
		k.row, k.number, k.body, k.fields = nil, k.number[:0], 0, -1
		k.more(piece[header:])
	}
}

// more goes on with the row.
func (k *keeper) more(p []byte) {
	for k.within {
		if k.body > 0 {
			n := min(k.body, len(p))
			k.value = append(k.value, p[:min(n, shown+1-len(k.value))]...)
			k.body -= n
			p = p[n:]
			if k.body > 0 {
				return
			}
			k.keep(k.text())
			continue
		}
		size := 4
		if k.fields < 0 {
			size = 2
		}
		n := min(size-len(k.number), len(p))
		k.number, p = append(k.number, p[:n]...), p[n:]
		if len(k.number) < size {
			return
		}
		if size == 2 {
			k.fields = int(binary.BigEndian.Uint16(k.number))
			k.number = k.number[:0]
			k.finish()
			continue
		}
		k.value, k.body = k.value[:0], int(int32(binary.BigEndian.Uint32(k.number)))
		k.number = k.number[:0]
		switch {
		case k.body < 0:
			k.body = 0
			k.keep(nil)
		case k.body == 0:
			k.keep(k.text())
		}
	}
}

func (k *keeper) keep(value *string) {
	k.row = append(k.row, value)
	k.fields--
	k.finish()
}

// finish ends the row if it is complete.
func (k *keeper) finish() {
	if k.fields == 0 {
		k.values, k.within = append(k.values, k.row), false
	}
}

// text returns the value as people read it.
func (k *keeper) text() *string {
	var s string
	switch at := len(k.row); {
	case !isBinary(k.formats, at):
		s = string(k.value)
	case at < len(k.columns):
		s = printed(k.columns[at].oid, k.value)
	default:
		s = printed(0, k.value)
	}
	if len(s) > shown {
		s = s[:shown]
		for !utf8.ValidString(s) && len(s) > shown-utf8.UTFMax {
			s = s[:len(s)-1]
		}
		s += "…"
	}
	s = strings.ToValidUTF8(s, "�")
	return &s
}

// names returns what the columns are called.
func (k *keeper) names() []string {
	var names []string
	for _, c := range k.columns {
		names = append(names, c.name)
	}
	return names
}
