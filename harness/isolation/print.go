package isolation

import (
	"fmt"
	"strings"
)

// String returns the spec as text, of which [Parse] makes the same spec again. Two things cannot be written in a spec: a "}" within SQL, and a line
// break within a name; of the white space at the ends of a block, only line breaks last.
func (s *Spec) String() string {
	var b strings.Builder
	for _, setup := range s.Setups {
		writeBlock(&b, "setup", setup)
	}
	if s.Teardown != "" {
		writeBlock(&b, "teardown", s.Teardown)
	}
	for _, session := range s.Sessions {
		fmt.Fprintf(&b, "\nsession %s\n", quoted(session.Name))
		if session.Setup != "" {
			writeBlock(&b, "setup", session.Setup)
		}
		for _, step := range session.Steps {
			writeBlock(&b, "step "+quoted(step.Name), step.SQL)
		}
		if session.Teardown != "" {
			writeBlock(&b, "teardown", session.Teardown)
		}
	}
	for i, permutation := range s.Permutations {
		if i == 0 {
			b.WriteByte('\n')
		}
		b.WriteString("permutation")
		for _, step := range permutation.Steps {
			b.WriteString(" " + quoted(step.Step))
			if len(step.Markers) > 0 {
				markers := make([]string, len(step.Markers))
				for i, m := range step.Markers {
					markers[i] = m.String()
				}
				b.WriteString("(" + strings.Join(markers, ", ") + ")")
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func writeBlock(b *strings.Builder, what, sql string) { fmt.Fprintf(b, "%s { %s }\n", what, sql) }

// String returns the marker as it is written, without its brackets.
func (m Marker) String() string {
	switch m.Kind {
	case Active:
		return quoted(m.Step)
	case Notices:
		return fmt.Sprintf("%s notices %d", quoted(m.Step), m.Notices)
	default:
		return string(m.Kind)
	}
}

// quoted returns a name as it is written: in quotes only where it has to be.
func quoted(name string) string {
	plain := name != "" && isNameStart(name[0]) && !isKeyword(name)
	for i := range len(name) {
		plain = plain && isNamePart(name[i])
	}
	if plain {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
