package draft

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// writer puts lines of YAML together. The libraries write YAML without comments where one wants them, so the little that is needed is here.
type writer struct{ strings.Builder }

func (w *writer) line(text string) {
	w.WriteString(text)
	w.WriteByte('\n')
}

// widest is how long a line may be before it is broken up.
const widest = 150

// text writes a text of perhaps several lines.
func (w *writer) text(indent, key, text string) {
	text = strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
	lines := strings.Split(text, "\n")
	literal := len(lines) > 1 && !strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) })
	if !literal || strings.HasPrefix(lines[0], " ") {
		w.line(indent + key + ": " + scalar(text))
		return
	}
	w.line(indent + key + ": |")
	for _, line := range lines {
		w.line(strings.TrimRight(indent+"  "+line, " "))
	}
}

// json writes a JSON value: in a line where it fits, else a key a line.
func (w *writer) json(indent, key string, value any) {
	one := flow(value)
	object, ok := value.(map[string]any)
	if len(indent)+len(key)+2+len(one) <= widest || !ok || len(object) == 0 {
		w.line(indent + key + ": " + one)
		return
	}
	w.line(indent + key + ":")
	for _, name := range slices.Sorted(maps.Keys(object)) {
		w.json(indent+"  ", scalar(name), object[name])
	}
}

// flow writes a JSON value in YAML's short form.
func flow(value any) string {
	var parts []string
	switch value := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			parts = append(parts, scalar(name)+": "+flow(value[name]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		for _, element := range value {
			parts = append(parts, flow(element))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case string:
		return scalar(value)
	}
	return marshal(value)
}

func words(list []string) string {
	var parts []string
	for _, word := range list {
		parts = append(parts, scalar(word))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func mapping(variables []Variable) string {
	var parts []string
	for _, v := range variables {
		parts = append(parts, scalar(v.Name)+": "+scalar(v.Value))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

var (
	// plainForm is what needs no quotes wherever it stands.
	plainForm = regexp.MustCompile(`^-{0,2}[A-Za-z_./$][A-Za-z0-9_./$-]*$`)
	// wordForms are plain words that YAML, or one of its versions, takes for something else than a text.
	wordForms = regexp.MustCompile(`^(?i)(true|false|null|yes|no|on|off|y|n|-*\.(inf|nan)|-*\.[0-9_.e-]+|\.\.\.)$`)
)

// scalar writes a text.
func scalar(text string) string {
	if plainForm.MatchString(text) && !wordForms.MatchString(text) {
		return text
	}
	return quoted(text)
}

// quoted writes a text in quotes: in single ones where there are backslashes, which would have to be doubled else.
func quoted(text string) string {
	if strings.Contains(text, `\`) && !strings.ContainsFunc(text, func(r rune) bool { return r == '\'' || !unicode.IsPrint(r) }) {
		return "'" + text + "'"
	}
	return marshal(text)
}

// marshal writes plain data as JSON, which is YAML.
func marshal(value any) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return marshal(fmt.Sprint(value)) // a number that JSON has no form for
	}
	// JSON leaves some characters as they are that YAML wants escaped.
	var text strings.Builder
	for _, r := range strings.TrimSuffix(out.String(), "\n") {
		switch {
		case r < 0x7f || unicode.IsPrint(r):
			text.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&text, `\u%04x`, r)
		default:
			fmt.Fprintf(&text, `\U%08x`, r)
		}
	}
	return text.String()
}

// comment puts a text into one line.
func comment(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " ")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}
