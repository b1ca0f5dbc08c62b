package reports

import (
	"regexp"
	"strings"

	"github.com/interlock-pg/interlock/harness/reproduce/literal"
	"github.com/interlock-pg/interlock/harness/sqltext"
)

// sql hides the literals of statements, and what their comments say of values.
func (r *redactor) sql(s string) string {
	return r.once("sql "+s, func() string { return r.literals(s, r.value) })
}

// once returns what f returned for a key in this phase.
func (r *redactor) once(key string, f func() string) string {
	out, done := r.done[key]
	if !done {
		out = f()
		r.done[key] = out
	}
	return out
}

// own keeps the SQL of a migration and remembers what it is made of.
func (r *redactor) own(s string) string {
	if r.phase == learnNames {
		r.literals(s, func(literal string) string {
			r.code[literal] = true
			return literal
		})
	}
	return s
}

// derived is sql but for literals of migrations, and for settings.
func (r *redactor) derived(s string) string {
	hide := func(literal string) string {
		if r.code[literal] {
			return literal
		}
		return r.value(literal)
	}
	var b strings.Builder
	at := 0
	for _, st := range sqltext.Message(s) {
		b.WriteString(r.literals(s[at:st.Offset], hide))
		at = st.Offset + len(st.Text)
		if st.Begins("set") {
			b.WriteString(st.Text)
		} else {
			b.WriteString(r.literals(st.Text, hide))
		}
	}
	return b.String() + r.literals(s[at:], hide)
}

// literals returns s with what hide makes of its literals.
func (r *redactor) literals(s string, hide func(string) string) string {
	var b strings.Builder
	at, rest := 0, 0 // rest: what is read and not yet written begins there
	flush := func() {
		b.WriteString(r.bare(s[rest:at], hide))
	}
	for kind, piece := range literal.Pieces(s) {
		if left := s[at:]; kind == literal.Other && (piece == "'" || piece == `"` || strings.HasPrefix(left, "/*")) { // it never ends
			flush()
			open := min(len(left), len(piece))
			if piece == "/" {
				open = len("/*")
			}
			return b.String() + left[:open] + hide(left[open:])
		}
		if kind != literal.Other {
			flush()
			rest = at + len(piece)
		}
		at += len(piece)
		switch kind {
		case literal.String:
			b.WriteString(quotes(piece, hide))
		case literal.Space:
			b.WriteString(r.sentence(piece))
		case literal.Parameter:
			b.WriteString(piece)
		}
	}
	flush()
	return b.String()
}

// quotes returns a literal with what hide makes of what is in its quotes.
func quotes(piece string, hide func(string) string) string {
	if piece[0] == '$' {
		tag := piece[:strings.IndexByte(piece[1:], '$')+2]
		body, closed := strings.CutSuffix(piece[len(tag):], tag)
		if closed {
			return tag + hide(body) + tag
		}
		return tag + hide(body)
	}
	open := strings.IndexByte(piece, '\'') + 1
	body := piece[open : len(piece)-1]
	if open > 1 {
		body = escapes.Replace(body)
	} else {
		body = strings.ReplaceAll(body, "''", "'")
	}
	if hidden := hide(body); hidden != body {
		return piece[:open] + hidden + "'"
	}
	return piece
}

// escapes undoes those that are written often; what is written in another way counts as another value.
var escapes = strings.NewReplacer(`\\`, `\`, `\'`, "'", "''", "'", `\n`, "\n", `\t`, "\t", `\r`, "\r")

// bares are identifiers and, in the group, numbers.
var bares = regexp.MustCompile(`"(?:[^"]|"")*"|[\pL_][\pL_0-9$]*|(‹[0-9]+›|0[xXoObB][0-9a-fA-F_]+|(?:[0-9][0-9_]*(?:\.[0-9][0-9_]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)`)

// bare returns SQL that has no quotes but those of identifiers, with what hide makes of its numbers.
func (r *redactor) bare(s string, hide func(string) string) string {
	return bares.ReplaceAllStringFunc(s, func(word string) string {
		if found := bares.FindStringSubmatch(word); found[1] != "" {
			return hide(word)
		}
		if r.phase == learnNames {
			r.names[strings.ReplaceAll(strings.Trim(word, `"`), `""`, `"`)] = true
		}
		return word
	})
}
