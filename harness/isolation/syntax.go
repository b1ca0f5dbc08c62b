package isolation

import (
	"strings"
	"unicode/utf8"

	"github.com/interlock-pg/interlock/harness/internal/caret"
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
	return caret.Mistake(e.File, e.Line, e.Column, e.Text, e.Problem, e.Try)
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
