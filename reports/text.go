package reports

import (
	"fmt"
	"iter"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// Sentences may hold two characters that lay them out and that clean lets nothing else bring in: a line break, and nbsp, a space at which
// wrap does not break the line.
const nbsp = "\u00a0"

// longest is the most columns that one value may take in a sentence or a cell. The run file has all of it.
const longest = 240

// say is Sprintf for sentences that hold data: whatever is a string, of any named type, is cleaned and clipped.
func say(format string, args ...any) string {
	for i, arg := range args {
		if v := reflect.ValueOf(arg); v.Kind() == reflect.String {
			args[i] = clip(clean(v.String()), longest)
		}
	}
	return fmt.Sprintf(format, args...)
}

const joiner = '\u200d' // makes one emoji of two

// clean returns s with everything written out that a terminal would act on or a reader could not see: control characters, changes of
// direction, spaces that are not a space, bytes that are not UTF-8. Cleaning twice is cleaning once.
func clean(s string) string {
	harmless := func(r rune) bool { return strconv.IsPrint(r) || r == joiner }
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !harmless(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case harmless(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
		s = s[n:]
	}
	return b.String()
}

// value returns one value of a table; NULL, the text NULL and the empty text are told apart.
func value(v *string) string {
	switch {
	case v == nil:
		return "NULL"
	case *v == "" || *v == "NULL":
		return "'" + *v + "'"
	}
	return say("%s", *v)
}

// count returns "1 row", "2 rows".
func count[N int | int64](n N, one, many string) string {
	if n != 1 {
		one = many
	}
	return fmt.Sprintf("%d %s", n, one)
}

// thousands returns a number as people write it, as "5,000".
func thousands(n int) string { return grouped(strconv.Itoa(n)) }

// grouped is thousands of a number in decimal; what is none it leaves as it is.
func grouped(digits string) string {
	if strings.Trim(digits, "0123456789") != "" {
		return say("%s", digits)
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

var passwords = regexp.MustCompile(`(://[^:/@\s]*:)[^/\s]*@|(?i)password=('(?:[^'\\]|\\.)*'|[^\s&']+)`)

// withoutPassword returns a connection string, or a command with one, as a report may show it.
func withoutPassword(dsn string) string {
	return passwords.ReplaceAllStringFunc(clean(dsn), func(s string) string {
		if found := passwords.FindStringSubmatch(s); found[1] != "" {
			return found[1] + "***@"
		}
		return s[:len("password=")] + "***"
	})
}

// command returns words as one types them into a shell.
func command(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = shell(word)
	}
	return withoutPassword(strings.Join(quoted, " "))
}

// shell returns a word as one types it into a shell.
func shell(word string) string {
	acts := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_./:=@,+%‹›", r)
	}
	if word != "" && !strings.ContainsFunc(word, acts) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// clusters yields the pieces of s that must not be torn apart, each with the columns that it takes.
func clusters(s string) iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		for state := -1; s != ""; {
			var piece string
			var columns int
			piece, s, columns, state = uniseg.FirstGraphemeClusterInString(s, state)
			if !yield(piece, columns) {
				return
			}
		}
	}
}

// width returns the columns that s takes.
func width(s string) (columns int) {
	for _, w := range clusters(s) {
		columns += w
	}
	return columns
}

// cut returns the longest beginning of s that takes at most n columns, but at least one cluster.
func cut(s string, n int) string {
	end := 0
	for piece, w := range clusters(s) {
		if n -= w; n < 0 && end > 0 {
			break
		}
		end += len(piece)
	}
	return s[:end]
}

// clip returns s, or its beginning and an ellipsis, in at most n columns.
func clip(s string, n int) string {
	if width(s) <= n { // which may be more than its bytes: one dash of three takes four columns
		return s
	}
	head := cut(s, n-1)
	if width(head) >= n {
		head = "" // a wide one has no room beside the ellipsis
	}
	return head + "…"
}

// wrap returns s as lines of at most n columns, broken at spaces where there are any. Only a single cluster may be wider.
func wrap(s string, n int) []string {
	var lines []string
	for paragraph := range strings.SplitSeq(s, "\n") {
		if width(paragraph) <= n {
			lines = append(lines, paragraph)
			continue
		}
		line := ""
		for word := range strings.SplitSeq(paragraph, " ") {
			switch {
			case word == "":
				continue
			case line != "" && width(line+" "+word) <= n: // a mark may widen the space before it
				line += " " + word
				continue
			case line != "":
				lines = append(lines, line)
			}
			for head := cut(word, n); head != word; head = cut(word, n) {
				lines, word = append(lines, head), word[len(head):]
			}
			line = word
		}
		lines = append(lines, line)
	}
	return lines
}
