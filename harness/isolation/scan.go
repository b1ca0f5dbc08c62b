package isolation

import (
	"fmt"
	"strings"
)

// token is a piece of a spec's text.
type token struct {
	kind tokenKind
	text string // of a name without its quotes, of a block without its braces and the blanks beside them
	at   int    // its offset in the text
	size int
	err  error // of a bad token: what is wrong with it
}

func (t token) isKeyword(word string) bool { return t.kind == keywordToken && t.text == word }

type tokenKind string

const (
	keywordToken tokenKind = "keyword"
	nameToken    tokenKind = "name"
	blockToken   tokenKind = "block"
	numberToken  tokenKind = "number"
	signToken    tokenKind = "sign"
	badToken     tokenKind = "bad"
	endToken     tokenKind = "end"
)

func isKeyword(word string) bool {
	switch word {
	case "notices", "permutation", "session", "setup", "step", "teardown":
		return true
	}
	return false
}

// blanks are trimmed from the ends of a block. A line break is not: it shows in the transcript.
const blanks = " \t\r\f"

// next returns the token at or after p.at, and moves on behind it.
func (p *parser) next() token {
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '\n' || strings.IndexByte(blanks, c) >= 0:
			p.at++
		case c == '#':
			p.at = endOfLine(p.text, p.at)
		default:
			t := p.scan()
			p.at += t.size
			return t
		}
	}
	return token{kind: endToken, at: p.at}
}

// scan returns the token at p.at, which is not blank.
func (p *parser) scan() token {
	rest := p.text[p.at:]
	switch c := rest[0]; {
	case c == '{':
		length := strings.IndexByte(rest, '}')
		if length < 0 {
			return p.bad("this block has no end", `close it with "}", which cannot stand within a block`)
		}
		return token{kind: blockToken, text: strings.Trim(rest[1:length], blanks), at: p.at, size: length + 1}
	case c == '"':
		for i := 1; i < len(rest) && rest[i] != '\n'; i++ {
			switch {
			case rest[i] != '"':
			case strings.HasPrefix(rest[i:], `""`):
				i++
			default:
				return token{kind: nameToken, text: strings.ReplaceAll(rest[1:i], `""`, `"`), at: p.at, size: i + 1}
			}
		}
		return p.bad("this name has no end", "close it with a quote, on the same line")
	case isNameStart(c):
		word := leading(rest, isNamePart)
		kind := nameToken
		if isKeyword(word) {
			kind = keywordToken
		}
		return token{kind: kind, text: word, at: p.at, size: len(word)}
	case isDigit(c):
		digits := leading(rest, isDigit)
		return token{kind: numberToken, text: digits, at: p.at, size: len(digits)}
	case strings.IndexByte(",()*", c) >= 0:
		return token{kind: signToken, text: rest[:1], at: p.at, size: 1}
	default:
		return p.bad(fmt.Sprintf("unexpected %q", c), `put SQL in braces, odd names in quotes, and comments behind "#"`)
	}
}

func (p *parser) bad(problem, try string) token {
	t := token{kind: badToken, at: p.at, size: len(p.text) - p.at}
	t.err = p.fail(t, problem, try)
	return t
}

// leading returns what the text begins with, as far as every byte is one of those.
func leading(text string, of func(byte) bool) string {
	n := 0
	for n < len(text) && of(text[n]) {
		n++
	}
	return text[:n]
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isNameStart(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func isNamePart(c byte) bool { return isNameStart(c) || c == '$' || isDigit(c) }

// endOfLine returns where the line ends that i is in.
func endOfLine(text string, i int) int {
	if n := strings.IndexAny(text[i:], "\r\n"); n >= 0 {
		return i + n
	}
	return len(text)
}
