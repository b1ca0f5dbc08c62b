package reports

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// index prepares the search for what is known.
func (r *redactor) index() {
	lengths := map[string]map[int]bool{}
	for s := range r.known {
		if utf8.RuneCountInString(s) > 2 {
			word := s[:firstWord(s)]
			if lengths[word] == nil {
				lengths[word] = map[int]bool{}
			}
			lengths[word][len(s)] = true
		}
	}
	r.begins = map[string][]int{}
	for word, all := range lengths {
		r.begins[word] = slices.Sorted(maps.Keys(all))
		slices.Reverse(r.begins[word])
	}
}

// found returns how long the longest known value is that s has at i as whole words; 0: there is none.
func (r *redactor) found(s string, i int) int {
	if inWord(s, i) {
		return 0
	}
	for _, n := range r.begins[s[i:i+firstWord(s[i:])]] {
		if i+n <= len(s) && r.known[s[i:i+n]] && !inWord(s, i+n) {
			return n
		}
	}
	return 0
}

// firstWord returns how long the word is that s begins with; of what begins with none, the first character.
func firstWord(s string) int {
	n := strings.IndexFunc(s, func(c rune) bool { return !isWord(c) })
	if n < 0 {
		return len(s)
	}
	_, one := utf8.DecodeRuneInString(s)
	return max(n, one)
}

func isWord(c rune) bool {
	return c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c) || unicode.IsMark(c)
}

// inWord reports whether a word of s goes on at i.
func inWord(s string, i int) bool {
	before, _ := utf8.DecodeLastRuneInString(s[:i])
	after, _ := utf8.DecodeRuneInString(s[i:])
	return i > 0 && i < len(s) && isWord(before) && isWord(after)
}

// forms are how sentences tell values. In each, what becomes of its groups.
var forms = []struct {
	pattern string
	how     []treatment
}{
	{`(‹[0-9]+›)`, []treatment{(*redactor).value}},
	{`([A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>` + "`" + `]+)`, []treatment{(*redactor).place}},
	{`((?i:host|hostaddr|user|dbname|database|passfile|service)=[^\s"'` + "`" + `,;]+|(?i:password)\s*=\s*(?:‹[0-9]+›|'(?:[^'\\]|\\.)*'|\S+))`, []treatment{(*redactor).place}},
	{`Key (\(.*?\)=\(.*?\)) conflicts with existing key (\(.*?\)=\(.*?\))\.?(?:\n|$)`, []treatment{(*redactor).key, (*redactor).key}},
	{`(?i:key) (\(.*?\)=\(.*?\))(?: already exists| is not present| is still referenced| conflicts| is duplicated|\.?(?:\n|$))`, []treatment{(*redactor).key}},
	{`(?i:key) (\([^()]*\)=\([^()]*\))`, []treatment{(*redactor).key}},
	{`Failing row contains \((.*)\)`, []treatment{(*redactor).value}},
	{`(?:constraint|index|relation|table|column|sequence|view|schema|trigger|function|type|policy) ("(?:[^"]|"")*")`, []treatment{keep}},
	{`: "(.*)"$`, []treatment{(*redactor).identifier}}, // what Postgres quotes last may hold quotes
	{`"((?:[^"]|"")*)"`, []treatment{(*redactor).identifier}},
	{`'((?:[^']|'')*)'`, []treatment{(*redactor).literal}},
	{`([0-9]{1,3}(?:\.[0-9]{1,3}){3})(?::[0-9]+ \(([^()\s]+)\))?`, []treatment{(*redactor).value, (*redactor).value}},
	{`(?:lookup|dial unix) ([^\s:,]+)`, []treatment{(*redactor).value}},
	{`(\[[0-9a-fA-F:.%]+\]|(?:[\pL\pN_-]+\.)+[\pL\pN_-]+):[0-9]{4,5}`, []treatment{(*redactor).value}},
	{`(~?(?:/[\pL\pN_.@+~-]+){2,})`, []treatment{(*redactor).file}},
}

// form is any of forms, and groups are what becomes of its groups, from 1.
var form, groups = func() (*regexp.Regexp, []treatment) {
	var patterns []string
	groups := []treatment{nil}
	for _, f := range forms {
		patterns = append(patterns, f.pattern)
		groups = append(groups, f.how...)
	}
	return regexp.MustCompile(`(?s)` + strings.Join(patterns, "|")), groups
}()

// sentence hides what a sentence quotes, the keys that Postgres names, places, and every value that is known. What begins first is what it is, and
// of two that begin together the longer one.
func (r *redactor) sentence(s string) string {
	if r.phase < learnSentences {
		return s
	}
	return r.once("say "+s, func() string { return r.words(s) })
}

// words is sentence, done.
func (r *redactor) words(s string) string {
	var b strings.Builder
	at := 0
	for at < len(s) {
		begin, end := len(s), len(s)
		match := form.FindStringSubmatchIndex(s[at:])
		if match != nil {
			begin, end = at+match[0], at+match[1]
		}
		known := 0
		for at < begin && known == 0 {
			if known = r.found(s, at); known == 0 {
				_, n := utf8.DecodeRuneInString(s[at:])
				b.WriteString(s[at : at+n])
				at += n
			}
		}
		if known == 0 && match != nil {
			if known = r.found(s, at); known < end-begin {
				known = 0
			}
		}
		switch {
		case known > 0:
			b.WriteString(r.value(s[at : at+known]))
			at += known
		case match == nil:
		case !apart(s, at):
			b.WriteByte(s[at])
			at++
		default:
			from := at - match[0]
			for i, how := range groups {
				if i > 0 && match[2*i] >= 0 {
					b.WriteString(s[at:from+match[2*i]] + how(r, s[from+match[2*i]:from+match[2*i+1]]))
					at = from + match[2*i+1]
				}
			}
			b.WriteString(s[at:end])
			at = end
		}
	}
	return b.String()
}

// apart reports whether what s has at i is apart from what is before it, as a quote must be that is no apostrophe, a number, and a path.
func apart(s string, i int) bool {
	before, _ := utf8.DecodeLastRuneInString(s[:i])
	switch c := s[i]; {
	case i == 0:
		return true
	case c == '/' || c == '~':
		return !isWord(before) && !strings.ContainsRune(".›)-/*", before)
	case c == '\'' || c >= '0' && c <= '9':
		return !isWord(before) && before != '›' // what is hidden may have ended with a word
	}
	return true
}

// key hides the values of "(a, b)=(1, 2)": each by itself where there are as many as columns.
func (r *redactor) key(s string) string {
	columns, values, _ := strings.Cut(s, ")=(")
	all := []string{strings.TrimSuffix(values, ")")}
	if each := strings.Split(all[0], ", "); len(each) == strings.Count(columns, ", ")+1 {
		all = each
	}
	for i, v := range all {
		if v != "null" {
			all[i] = r.value(v)
		}
	}
	return columns + ")=(" + strings.Join(all, ", ") + ")"
}

// identifier hides what is quoted like an identifier, unless it is one and no value.
func (r *redactor) identifier(s string) string {
	if name := strings.ReplaceAll(s, `""`, `"`); r.known[name] || !r.names[name] {
		return r.value(name)
	}
	return s
}

// literal hides what is quoted like a literal, unless a migration has it and the data have not.
func (r *redactor) literal(s string) string {
	if plain := strings.ReplaceAll(s, "''", "'"); r.known[plain] || !r.code[plain] {
		return r.value(plain)
	}
	return s
}
