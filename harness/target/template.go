package target

import (
	"encoding/json"
	"regexp"
	"strings"
)

// A template is a text in which {{name}} stands for a value. In a JSON body, a text that is nothing else becomes the value itself, whatever its type.

var placeholder = regexp.MustCompile(`\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}`)

// names returns the names in a template. False: something in it begins like a placeholder and is none.
func names(template string) (found []string, ok bool) {
	for _, match := range placeholder.FindAllStringSubmatch(template, -1) {
		found = append(found, match[1])
	}
	return found, !strings.Contains(placeholder.ReplaceAllLiteralString(template, ""), "{{")
}

// values are JSON values by name.
type values map[string]json.RawMessage

// text returns a value as it is within a text: without the quotes of JSON.
func (v values) text(name string) (string, bool) {
	raw, ok := v[name]
	if !ok {
		return "", false
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		text = string(raw)
	}
	return text, true
}

// fill puts values into a template, each by way of escape; nil: as it is. A name without a value stays as it is.
func (v values) fill(template string, escape func(string) string) string {
	return placeholder.ReplaceAllStringFunc(template, func(match string) string {
		text, ok := v.text(placeholder.FindStringSubmatch(match)[1])
		if !ok {
			return match
		}
		if escape != nil {
			text = escape(text)
		}
		return text
	})
}

// fillJSON puts values into the texts of a JSON value.
func (v values) fillJSON(value any) any {
	switch value := value.(type) {
	case string:
		if match := placeholder.FindStringSubmatch(value); match != nil && match[0] == value {
			if raw, ok := v[match[1]]; ok {
				return raw
			}
		}
		return v.fill(value, nil)
	case []any:
		filled := make([]any, len(value))
		for i, element := range value {
			filled[i] = v.fillJSON(element)
		}
		return filled
	case map[string]any:
		filled := make(map[string]any, len(value))
		for key, element := range value {
			filled[key] = v.fillJSON(element)
		}
		return filled
	}
	return value
}

// marshal writes plain data.
func marshal(value any) json.RawMessage {
	raw, err := json.Marshal(value)
	if err != nil {
		panic("target: only plain data is written: " + err.Error()) // the reader has let nothing else through
	}
	return raw
}
