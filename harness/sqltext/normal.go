package sqltext

import "strings"

// Bare returns the text without its comments, with a blank wherever there is white space or a comment.
func Bare(sql string) string { return rewrite(sql, false) }

// Normal returns what two texts have in common that differ in values, comments and white space only: the text without comments, with one blank
// for white space and ? for every string and number. Numbers of parameters stay, as in $1.
func Normal(sql string) string { return rewrite(sql, true) }

func rewrite(sql string, values bool) string {
	var b strings.Builder
	b.Grow(len(sql))
	for i := 0; i < len(sql); {
		next := skipSpace(sql, i)
		if next > i {
			if b.Len() > 0 && next < len(sql) {
				b.WriteByte(' ')
			}
			i = next
			continue
		}
		value := false
		switch c := sql[i]; {
		case c == '"':
			next = quoteEnd(sql, i, false)
		case c == '\'':
			next, value = quoteEnd(sql, i, false), true
		case c == '$':
			if next = dollarEnd(sql, i); next > i+1 {
				value = true // a dollar quote
				break
			}
			for next < len(sql) && isDigit(sql[next]) {
				next++
			}
		case isDigit(c):
			next, value = numberEnd(sql, i), true
		case isWordStart(c):
			for next = i + 1; next < len(sql) && isWord(sql[next]); {
				next++
			}
			if next < len(sql) && sql[next] == '\'' && strings.EqualFold(sql[i:next], "e") {
				next, value = quoteEnd(sql, next, true), true
			}
		default:
			next = i + 1
		}
		if value && values {
			b.WriteByte('?')
		} else {
			b.WriteString(sql[i:next])
		}
		i = next
	}
	return b.String()
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// numberEnd returns where the number at i ends.
func numberEnd(sql string, i int) int {
	for ; i < len(sql); i++ {
		c := sql[i]
		sign := (c == '+' || c == '-') && (sql[i-1] == 'e' || sql[i-1] == 'E')
		if !isDigit(c) && c != '.' && c != 'e' && c != 'E' && c != '_' && !sign {
			return i
		}
	}
	return i
}
