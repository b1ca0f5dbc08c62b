// Package caret shows where in a text something is wrong.
package caret

import (
	"fmt"
	"strings"
)

// Mistake returns what is wrong with a file, as file:line:column, the line, a caret under the character at the column, and what to try. Lines and
// columns count from 1, columns in characters; one behind the last is the end of the line.
func Mistake(file string, line, column int, text, problem, try string) string {
	lead := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r // the caret stands under its character whatever the width of a tab
		}
		return ' '
	}, string([]rune(text)[:column-1]))
	return fmt.Sprintf("%s:%d:%d: %s\n%s\n%s^\ntry: %s", file, line, column, problem, text, lead, try)
}
