package populate

import (
	"math/rand/v2"
	"regexp/syntax"
	"strings"
)

// matching returns literals of strings that match a pattern of LIKE (~~) or a regular expression (~), as far as Go reads it as Postgres does.
func matching(operator, pattern string, r *rand.Rand, count int) []string {
	var texts []string
	if strings.HasPrefix(operator, "~~") {
		for range count {
			var b strings.Builder
			for _, c := range pattern {
				switch c {
				case '%':
					for range 1 + r.IntN(8) {
						b.WriteByte(letter(r))
					}
				case '_':
					b.WriteByte(letter(r))
				case '\\':
				default:
					b.WriteRune(c)
				}
			}
			texts = append(texts, quote(b.String()))
		}
		return texts
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil
	}
	for range count {
		var b strings.Builder
		write(&b, re, r)
		texts = append(texts, quote(b.String()))
	}
	return texts
}

func letter(r *rand.Rand) byte { return byte('a' + r.IntN(26)) } //nolint:gosec // in range

// write writes a string that matches.
func write(b *strings.Builder, re *syntax.Regexp, r *rand.Rand) {
	repeat := func(least, most int) {
		if most < 0 {
			most = least + 6
		}
		for range least + r.IntN(most-least+1) {
			write(b, re.Sub[0], r)
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		b.WriteRune(within(re.Rune, r))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte(letter(r))
	case syntax.OpStar:
		repeat(0, -1)
	case syntax.OpPlus:
		repeat(1, -1)
	case syntax.OpQuest:
		repeat(0, 1)
	case syntax.OpRepeat:
		repeat(re.Min, re.Max)
	case syntax.OpAlternate:
		write(b, re.Sub[r.IntN(len(re.Sub))], r)
	case syntax.OpConcat, syntax.OpCapture:
		for _, sub := range re.Sub {
			write(b, sub, r)
		}
	}
}

// within picks a character of a class, which is given as pairs of bounds: letters and digits where it has them, then other ASCII, then any.
func within(class []rune, r *rand.Rand) rune {
	in := func(c rune) bool {
		for i := 0; i < len(class); i += 2 {
			if class[i] <= c && c <= class[i+1] {
				return true
			}
		}
		return false
	}
	for _, set := range []string{"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", " -_.+/:,;!@#$%&*()[]{}<>=?^~|\"'`\\"} {
		var some []rune
		for _, c := range set {
			if in(c) {
				some = append(some, c)
			}
		}
		if len(some) > 0 {
			return some[r.IntN(len(some))]
		}
	}
	if len(class) == 0 {
		return 'x'
	}
	return class[0]
}
