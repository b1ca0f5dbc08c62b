package isolation

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
)

func TestText(t *testing.T) {
	m := &pgproto3.ErrorResponse{
		Severity: "ERROR", Message: "no", Detail: "d", Hint: "h\nh", InternalQuery: "SELECT\n  x y", InternalPosition: 10, Where: "w",
	}
	const common = "ERROR:  no\nLINE 2:   x y\n          ^\nDETAIL:  d\nHINT:  h\nh\nQUERY:  SELECT\n  x y\n"
	require.Equal(t, common+"CONTEXT:  w\n", text(m, "", true))
	require.Equal(t, common, text(m, "", false))
	require.Equal(t, "NOTICE:  n\n", text(&pgproto3.ErrorResponse{Severity: "NOTICE", Message: "n"}, "SELECT 1", false))
}

// The positions are marked by ^ in the SQL.
func TestExcerpt(t *testing.T) {
	digits := strings.Repeat("1234567890", 12)
	for _, c := range []struct{ sql, want string }{
		{"SELECT ^x", "LINE 1: SELECT x\n               ^\n"},
		{"SELECT^", "LINE 1: SELECT\n              ^\n"},
		{"a\r\nb\rc\n\td ^e\r\nf", "LINE 4:  d e\n           ^\n"},
		{"\n^\n", "LINE 2: \n        ^\n"},
		{"'ä漢' ^x", "LINE 1: 'ä漢' x\n              ^\n"},
		{"^" + digits, "LINE 1: " + digits[:60] + "...\n        ^\n"},
		{digits[:50] + "^" + digits, "LINE 1: " + digits[:60] + "...\n" + strings.Repeat(" ", 58) + "^\n"},
		{digits[:60] + "^" + digits, "LINE 1: ..." + digits[10:70] + "...\n" + strings.Repeat(" ", 61) + "^\n"},
		{digits + "^" + digits[:5], "LINE 1: ..." + (digits + digits)[65:125] + "\n" + strings.Repeat(" ", 66) + "^\n"},
	} {
		before, after, _ := strings.Cut(c.sql, "^")
		require.Equal(t, c.want, excerpt(before+after, len([]rune(before))+1), c.sql)
	}
	require.Empty(t, excerpt("SELECT", 8))
	require.Empty(t, excerpt("SELECT", 0))
}
