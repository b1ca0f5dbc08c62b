// Package literal puts the values of parameters into the text of a statement. It knows where quotes and comments are in SQL, and nothing else;
// strings are taken to be standard-conforming.
package literal

import (
	"iter"
	"regexp"
	"strconv"
	"strings"
)

// Kind says what a piece of SQL is.
type Kind string

// The kinds.
const (
	Space     Kind = "space" // and comments
	Parameter Kind = "parameter"
	String    Kind = "string" // quoted with ' or $
	Other     Kind = "other"
)

var (
	piece = regexp.MustCompile(`(?s)(\s+|--[^\n]*|/\*.*?\*/)` +
		`|([eE]'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*')` +
		`|\$([0-9]+)` +
		`|(\$(?:[\pL_][\pL_0-9]*)?\$)` +
		`|"(?:[^"]|"")*"|[\pL_][\pL_0-9$]*|.`)
	kinds = []Kind{1: Space, 2: String, 3: Parameter, 4: String}
)

// Pieces yields the pieces of sql, which joined are sql again.
func Pieces(sql string) iter.Seq2[Kind, string] {
	return func(yield func(Kind, string) bool) {
		for sql != "" {
			at := piece.FindStringSubmatchIndex(sql) // there always is one, and it begins where sql does
			kind, end := Other, at[1]
			for i, k := range kinds {
				if k != "" && at[2*i] >= 0 {
					kind = k
				}
			}
			if tag := sql[:end]; kind == String && tag[0] == '$' {
				closing := strings.Index(sql[end:], tag)
				if closing < 0 {
					closing = len(sql) - end - len(tag)
				}
				end += closing + len(tag)
			}
			if !yield(kind, sql[:end]) {
				return
			}
			sql = sql[end:]
		}
	}
}

// Bind returns sql with what value returns in the place of each parameter; n counts from 1.
func Bind(sql string, value func(n int) string) string {
	var b strings.Builder
	for kind, text := range Pieces(sql) {
		if kind == Parameter {
			n, _ := strconv.Atoi(text[1:])
			text = value(n)
		}
		b.WriteString(text)
	}
	return b.String()
}

// Squeeze returns sql on one line, as far as its quotes are: without comments, with one blank where there was white space.
func Squeeze(sql string) string {
	var b strings.Builder
	blank := false
	for kind, text := range Pieces(sql) {
		if kind == Space {
			blank = b.Len() > 0
			continue
		}
		if blank {
			b.WriteByte(' ')
			blank = false
		}
		b.WriteString(text)
	}
	return b.String()
}

// Quote returns s as a string in SQL.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
