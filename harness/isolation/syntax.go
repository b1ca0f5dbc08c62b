package isolation

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// SyntaxError says what is wrong with the text of a spec, and where.
type SyntaxError struct {
	File    string
	Line    int    // from 1
	Column  int    // from 1, in characters
	Text    string // of the line
	Problem string
	Try     string // what to do about it
}

func (e *SyntaxError) Error() string {
	// The caret stands under its character whatever the width of a tab.
	lead := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, string([]rune(e.Text)[:e.Column-1]))
	return fmt.Sprintf("%s:%d:%d: %s\n%s\n%s^\ntry: %s", e.File, e.Line, e.Column, e.Problem, e.Text, lead, e.Try)
}

// fail returns the error that something is wrong at a token.
func (p *parser) fail(t token, problem, try string) error {
	start := strings.LastIndexByte(p.text[:t.at], '\n') + 1
	line := strings.ToValidUTF8(p.text[start:endOfLine(p.text, t.at)], "\uFFFD")
	return &SyntaxError{
		File: p.file, Line: strings.Count(p.text[:start], "\n") + 1, Column: utf8.RuneCountInString(strings.ToValidUTF8(p.text[start:t.at], "\uFFFD")) + 1,
		Text: line, Problem: problem, Try: try,
	}
}
