package reports

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// annotateGate writes an annotation a finding, at its place in the file. What is silenced has none. A trial that failed without a finding is
// an error, and one that could not be made a warning, on the file as a whole.
func annotateGate(b *bytes.Buffer, g history.Gate) {
	for _, j := range g.Migrations {
		pg, seen := judged(j), map[history.TrialName]bool{}
		for _, f := range ordered(j) {
			if f.Allowed != "" {
				continue
			}
			seen[f.Trial] = true
			one := found(f, j)
			level := map[tone]string{bad: "error", open: "warning", plain: "notice"}[one.tone]
			annotate(b, level, cmp.Or(f.File, j.Path), f.Line, f.Column, one.rule, one.plain())
		}
		explained := len(seen) > 0
		for _, t := range pg.trials {
			if t.tone == open || t.tone == bad && !seen[t.name] {
				level := map[tone]string{bad: "error", open: "warning"}[t.tone]
				annotate(b, level, j.Path, 0, 0, "interlock "+t.title, strings.Join(append([]string{t.says}, t.details...), "\n"))
				explained = true
			}
		}
		if pg.tone >= open && !explained {
			annotate(b, map[tone]string{bad: "error", open: "warning"}[pg.tone], j.Path, 0, 0, "interlock gate", pg.verdict)
		}
	}
}

// plain returns what a finding says, and what to write instead, as text without any markup.
func (f finding) plain() string {
	all := []string{f.says}
	if f.keys != nil {
		all = append(all, f.keys.says)
	}
	if f.query != nil {
		all = append(append(all, "Found by:"), f.query...)
	}
	if f.repair != nil {
		all = append(append(all, "First:"), f.repair...)
	}
	if f.instead != nil {
		all = append(append(all, "Instead ("+f.aside+"):"), f.instead...)
	}
	return plainly(strings.Join(all, "\n"))
}

// annotate writes one command; line and column are left out where they are zero.
func annotate(b *bytes.Buffer, level, file string, line, column int, title, message string) {
	fmt.Fprintf(b, "::%s ", level)
	if file != "" {
		fmt.Fprintf(b, "file=%s,", commandProperty.Replace(clean(relative(file))))
	}
	if line > 0 {
		fmt.Fprintf(b, "line=%d,", line)
		if column > 0 {
			fmt.Fprintf(b, "col=%d,", column)
		}
	}
	fmt.Fprintf(b, "title=%s::%s\n", commandProperty.Replace(title), commandData.Replace(message))
}

// relative returns the path of a file as it is known in its repository: without "./" before it.
func relative(file string) string { return path.Clean(filepath.ToSlash(file)) }
