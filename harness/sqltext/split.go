package sqltext

import "strings"

// Kind says what a [Statement] is to psql.
type Kind string

// The kinds.
const (
	SQL      Kind = "sql"       // a statement that the server gets
	Command  Kind = "command"   // a command of psql itself, from its backslash to the end of the line
	CopyData Kind = "copy data" // the rows that follow COPY … FROM STDIN, with the line \. that ends them
	blank    Kind = ""          // white space, comments and empty statements between the others
)

// Statement is a piece of a file.
type Statement struct {
	Kind   Kind
	Text   string // from its first character to its semicolon, if it has one
	Offset int    // of Text in the file, in bytes
	Line   int    // of its first character, from 1

	Words      []string // the first words outside quotes and brackets, in lower case
	Parameters bool     // there is a $1 in it
}

// Split cuts a file into statements where psql would: at semicolons outside quotes, comments, brackets and BEGIN ATOMIC bodies. It never fails:
// what is unterminated runs to the end of the file, for the server to complain about. Strings are taken to be standard-conforming.
func Split(sql string) []Statement { return statements(sql, psql) }

// Message cuts a string into statements where the server would, to which neither a psql command nor the rows of COPY can be in it.
func Message(sql string) []Statement { return statements(sql, message) }

// reader is who reads a text.
type reader bool

const (
	psql    reader = true
	message reader = false
)

func statements(sql string, by reader) []Statement {
	var out []Statement
	for _, p := range pieces(sql, by) {
		if p.Kind != blank {
			out = append(out, p)
		}
	}
	return out
}

// pieces cuts all of sql, blank parts included: joined, the pieces are sql again.
func pieces(sql string, by reader) []Statement {
	var out []Statement
	line := 1
	for at := 0; at < len(sql); {
		p := Statement{Offset: at, Line: line}
		end := skipBlank(sql, at)
		switch {
		case end > at:
		case by == psql && sql[at] == '\\':
			p.Kind, end = Command, lineEnd(sql, at)
		default:
			p.Kind = SQL
			end = p.read(sql, by)
		}
		p.Text = sql[at:end]
		line += strings.Count(p.Text, "\n")
		out = append(out, p)
		at = end

		if by == psql && p.ReadsInput() && strings.HasSuffix(p.Text, ";") { // the rows begin on the next line
			rows := min(lineEnd(sql, at)+1, len(sql))
			rest := sql[at:rows]
			if trimmed := strings.TrimSpace(rest); trimmed != "" && !strings.HasPrefix(trimmed, "--") {
				continue // something follows on the same line: not what any dump writes
			}
			if rest != "" {
				out = append(out, Statement{Offset: at, Line: line, Text: rest})
				line += strings.Count(rest, "\n")
			}
			at = rows
			if end := copyEnd(sql, at); end > at {
				out = append(out, Statement{Kind: CopyData, Offset: at, Line: line, Text: sql[at:end]})
				line += strings.Count(sql[at:end], "\n")
				at = end
			}
		}
	}
	return out
}

// ReadsInput says whether the statement is COPY … FROM STDIN.
func (s Statement) ReadsInput() bool {
	for i := 1; i < len(s.Words) && s.Words[0] == "copy"; i++ {
		if s.Words[i] == "stdin" && s.Words[i-1] == "from" {
			return true
		}
	}
	return false
}

// Begins says whether the statement begins with these words, of which each may be a choice, as "create|drop"; "?" before one makes it optional.
func (s Statement) Begins(pattern string) bool {
	at := 0
	for _, choice := range strings.Fields(pattern) {
		optional := strings.HasPrefix(choice, "?")
		matches := false
		for word := range strings.SplitSeq(strings.TrimPrefix(choice, "?"), "|") {
			matches = matches || at < len(s.Words) && s.Words[at] == word
		}
		switch {
		case matches:
			at++
		case !optional:
			return false
		}
	}
	return true
}

// keptWords is how many words of a statement are remembered: enough to tell what it is.
const keptWords = 12

// read notes what the statement at p.Offset is, and returns where it ends.
func (p *Statement) read(sql string, by reader) int {
	start := p.Offset
	var previous string // the word before, if only white space and comments lie between
	brackets, atomic := 0, 0
	last := start // where the last token ended
	for i := start; i < len(sql); {
		if next := skipSpace(sql, i); next > i {
			i = next
			continue
		}
		switch c := sql[i]; {
		case c == ';' && brackets == 0 && atomic == 0:
			return i + 1
		case c == '\\' && by == psql:
			return last
		case c == '\'' || c == '"':
			i = quoteEnd(sql, i, false)
		case c == '$':
			p.Parameters = p.Parameters || i+1 < len(sql) && sql[i+1] >= '0' && sql[i+1] <= '9'
			i = dollarEnd(sql, i)
		case isWordStart(c):
			end := i + 1
			for end < len(sql) && isWord(sql[end]) {
				end++
			}
			word := strings.ToLower(sql[i:end])
			if word == "e" && end < len(sql) && sql[end] == '\'' {
				i = quoteEnd(sql, end, true)
				break
			}
			if i > start && sql[i-1] == '.' { // a column may be called "end"
				word = "." + word
			}
			if brackets == 0 && len(p.Words) < keptWords {
				p.Words = append(p.Words, word)
			}
			switch {
			case word == "atomic" && previous == "begin" && len(p.Words) > 0 && p.Words[0] == "create":
				atomic++
			case word == "case" && atomic > 0:
				atomic++
			case word == "end" && atomic > 0:
				atomic--
			}
			previous, i, last = word, end, end
			continue
		case c == '(':
			brackets++
			i++
		case c == ')':
			brackets = max(brackets-1, 0)
			i++
		default:
			i++
		}
		previous, last = "", i
	}
	return last
}

// skipBlank passes over what can stand between statements: white space, comments, semicolons and a byte order mark.
func skipBlank(sql string, i int) int {
	if i == 0 && strings.HasPrefix(sql, "\uFEFF") {
		i = len("\uFEFF")
	}
	for {
		next := skipSpace(sql, i)
		if next < len(sql) && sql[next] == ';' {
			next++
		}
		if next == i {
			return i
		}
		i = next
	}
}

// skipSpace passes over white space and comments.
func skipSpace(sql string, i int) int {
	for i < len(sql) {
		switch rest := sql[i:]; {
		case strings.ContainsRune(" \t\r\n\f\v", rune(rest[0])):
			i++
		case strings.HasPrefix(rest, "--"):
			i = lineEnd(sql, i)
		case strings.HasPrefix(rest, "/*"):
			i = commentEnd(sql, i)
		default:
			return i
		}
	}
	return i
}

// commentEnd returns where the comment at i ends; such comments nest.
func commentEnd(sql string, i int) int {
	for depth := 0; i < len(sql); {
		switch rest := sql[i:]; {
		case strings.HasPrefix(rest, "/*"):
			depth++
			i += 2
		case strings.HasPrefix(rest, "*/"):
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return i
}

// quoteEnd returns where the quoted text ends whose opening quote is at i. With escapes, a backslash protects what follows it, and the text
// goes on in a further literal if a line break lies between.
func quoteEnd(sql string, i int, escapes bool) int {
	quote := sql[i]
	for i++; i < len(sql); i++ {
		switch {
		case escapes && sql[i] == '\\':
			i++
		case sql[i] != quote:
		case i+1 < len(sql) && sql[i+1] == quote: // doubled, it stands for itself
			i++
		default:
			end := i + 1
			if next := skipSpace(sql, end); escapes && next < len(sql) && sql[next] == quote && strings.Contains(sql[end:next], "\n") {
				return quoteEnd(sql, next, true)
			}
			return end
		}
	}
	return len(sql)
}

// dollarEnd returns where the $tag$ text at i ends; one further if none begins there, as with $1.
func dollarEnd(sql string, i int) int {
	end := i + 1
	for end < len(sql) && sql[end] != '$' && isWord(sql[end]) && (end > i+1 || isWordStart(sql[end])) {
		end++
	}
	if end >= len(sql) || sql[end] != '$' {
		return i + 1
	}
	tag := sql[i : end+1]
	if n := strings.Index(sql[end+1:], tag); n >= 0 {
		return end + 1 + n + len(tag)
	}
	return len(sql)
}

// copyEnd returns where the rows at i end: after the line \. or with the file.
func copyEnd(sql string, i int) int {
	for i < len(sql) {
		end := lineEnd(sql, i)
		line := strings.TrimSuffix(sql[i:end], "\r")
		i = min(end+1, len(sql))
		if line == `\.` {
			break
		}
	}
	return i
}

func lineEnd(sql string, i int) int {
	if n := strings.IndexByte(sql[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(sql)
}

func isWordStart(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
func isWord(c byte) bool { return isWordStart(c) || c == '$' || c >= '0' && c <= '9' }
