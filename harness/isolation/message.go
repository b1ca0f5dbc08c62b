package isolation

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/rivo/uniseg"
)

// closedText is what libpq says when a connection has gone.
const closedText = "server closed the connection unexpectedly\n" +
	"\tThis probably means the server terminated abnormally\n" +
	"\tbefore or while processing the request.\n"

// text returns an error or a notice as libpq words it for a client that has set nothing: with the line of sql where it happened, if the server
// says where. A context is shown for errors only.
func text(m *pgproto3.ErrorResponse, sql string, isError bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:  %s\n", m.Severity, m.Message)
	if m.Position > 0 {
		b.WriteString(excerpt(sql, int(m.Position)))
	} else if m.InternalPosition > 0 {
		b.WriteString(excerpt(m.InternalQuery, int(m.InternalPosition)))
	}
	for _, field := range []struct{ label, value string }{
		{"DETAIL", m.Detail}, {"HINT", m.Hint}, {"QUERY", m.InternalQuery}, {"CONTEXT", m.Where},
	} {
		if field.value != "" && (field.label != "CONTEXT" || isError) {
			fmt.Fprintf(&b, "%s:  %s\n", field.label, field.value)
		}
	}
	return b.String()
}

// What an excerpt shows: so many columns of a line, and so many behind the position where there are that many.
const (
	excerptWidth = 60
	excerptRight = 10
)

// excerpt returns the line of sql that has the character at position, from 1, with a caret below; nothing if it is not there.
func excerpt(sql string, position int) string {
	chars := []rune(strings.ReplaceAll(sql, "\t", " "))
	at := position - 1
	if at < 0 || at > len(chars) {
		return ""
	}
	line, begin := 1, 0
	for i, c := range chars[:at] {
		if c == '\r' || c == '\n' {
			begin = i + 1
			if c == '\r' || i == 0 || chars[i-1] != '\r' {
				line++
			}
		}
	}
	end := at
	for end < len(chars) && chars[end] != '\r' && chars[end] != '\n' {
		end++
	}
	cut := false // on the left, and then on the right
	before, behind := "", ""
	if width(chars[begin:end]) > excerptWidth {
		if width(chars[begin:at])+excerptRight <= excerptWidth {
			for width(chars[begin:end]) > excerptWidth {
				end--
			}
			behind = "..."
		} else {
			for width(chars[at:end]) > excerptRight {
				end--
				behind = "..."
			}
			for width(chars[begin:end]) > excerptWidth {
				begin++
				cut = true
			}
		}
	}
	if cut {
		before = "..."
	}
	lead := "LINE " + strconv.Itoa(line) + ": " + before
	return lead + string(chars[begin:end]) + behind + "\n" + strings.Repeat(" ", len(lead)+width(chars[begin:at])) + "^\n"
}

// width returns how many columns the characters take on a terminal; libpq counts at least one for each.
func width(chars []rune) int {
	n := 0
	for _, c := range chars {
		n += max(uniseg.StringWidth(string(c)), 1)
	}
	return n
}
