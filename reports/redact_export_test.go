package reports

import "strings"

// Treated returns why each field is redacted as it is, or is kept.
func Treated() map[string][]string {
	all := map[string][]string{}
	for _, t := range treated {
		for _, field := range strings.Fields(t.fields) {
			all[field] = append(all[field], t.why)
		}
	}
	return all
}
