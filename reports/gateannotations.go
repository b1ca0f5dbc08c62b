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

// levels are how GitHub calls what stands out.
var levels = map[tone]string{bad: "error", open: "warning", plain: "notice"}

// annotateGate writes an annotation a finding, at its place in the file. What is silenced has none. What keeps a migration from shipping, or from
// being judged, without a finding is about its file as a whole.
func annotateGate(b *bytes.Buffer, g history.Gate) {
	for _, j := range g.Migrations {
		worst, explained := plain, map[history.TrialName]bool{}
		for _, f := range ordered(j) {
			if f.Allowed != "" {
				continue
			}
			one := found(f, j)
			if f.Counts() {
				worst, explained[f.Trial] = bad, true
			}
			annotate(b, levels[one.tone], cmp.Or(f.File, j.Path), f.Line, f.Column, one.rule, one.plain())
		}
		pg := judged(j)
		for _, t := range pg.trials {
			if t.tone == open || t.tone == bad && !explained[t.name] {
				worst = max(worst, t.tone)
				annotate(b, levels[t.tone], j.Path, 0, 0, "interlock "+t.title, strings.Join(append([]string{t.says}, t.details...), "\n"))
			}
		}
		if pg.tone >= open && pg.tone > worst {
			annotate(b, levels[pg.tone], j.Path, 0, 0, "interlock gate", pg.verdict)
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
