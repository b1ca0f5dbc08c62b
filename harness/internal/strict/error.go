package strict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"

	"github.com/interlock-pg/interlock/harness/internal/caret"
)

// Error is one thing that is wrong with a file, and where.
type Error struct {
	File    string
	Line    int    // from 1
	Column  int    // from 1, in characters; one behind the last is the end of the line
	Text    string // of the line
	Problem string
	Try     string // what to do about it
	Hidden  bool   // the text of the line is not shown
}

func (e *Error) Error() string {
	if e.Hidden {
		return fmt.Sprintf("%s:%d:%d: %s\ntry: %s", e.File, e.Line, e.Column, e.Problem, e.Try)
	}
	return caret.Mistake(e.File, e.Line, e.Column, e.Text, e.Problem, e.Try)
}

// Errors is all that is wrong with a file, in the order of the file.
type Errors []*Error

func (e Errors) Error() string {
	texts := make([]string, len(e))
	for i, one := range e {
		texts[i] = one.Error()
	}
	return strings.Join(texts, "\n\n")
}

// Unwrap returns them one by one.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// Problem is what is wrong with a value, by who does not know where it stands.
type Problem struct{ What, Try string }

func (p Problem) Error() string { return p.What + "; try " + p.Try }

// fail adds an error at a place in the text, from 1. A place outside it is moved in.
func (r *Reader) fail(line, column int, what, try string) {
	line = min(max(line, 1), len(r.lines))
	text := r.lines[line-1]
	column = min(max(column, 1), utf8.RuneCountInString(text)+1)
	e := &Error{File: r.path, Line: line, Column: column, Text: text, Problem: what, Try: try, Hidden: r.hidden}
	if r.hidden {
		e.Text = ""
	}
	if !slices.ContainsFunc(r.errs, func(other *Error) bool { return *other == *e }) {
		r.errs = append(r.errs, e)
	}
}

// Err returns what has been found; nil: nothing.
func (r *Reader) Err() error {
	if len(r.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(r.errs, func(a, b *Error) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) })
	return r.errs
}

// Nearest returns what to try in place of a word that is none of those known: the one that it may have been meant to be, or else all of them.
func Nearest(word string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	best := slices.MinFunc(known, func(a, b string) int {
		return cmp.Compare(levenshtein.ComputeDistance(word, a), levenshtein.ComputeDistance(word, b))
	})
	if levenshtein.ComputeDistance(word, best) <= max(1, utf8.RuneCountInString(word)/2) {
		return best
	}
	return AnyOf(known)
}

// AnyOf returns "a, b or c".
func AnyOf(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
