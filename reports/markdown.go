package reports

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// mostMarkdown is where proofs stop: GitHub refuses a job summary of more than 1 MiB as a whole.
const mostMarkdown = 900 << 10

// Markdown writes the summary of a CI job ($GITHUB_STEP_SUMMARY): whether all is as it must be, the tables, and folded away how it broke.
func Markdown(w io.Writer, run history.Run) error {
	s := tell(run)
	var b bytes.Buffer
	mark := s.tone.mark()
	if s.tone == allowed || s.tone == caught { // what broke, broke as it must
		mark = held.mark()
	}
	if s.pages != nil {
		mark = gateMark(s.tone)
	}
	fmt.Fprintf(&b, "### %s %s\n\n", mark, markdown(s.headline))
	for _, it := range s.items {
		for _, note := range it.notes {
			fmt.Fprintf(&b, "- %s %s: %s\n", it.tone.mark(), markdown(it.name), markdown(note))
		}
	}
	for _, finding := range s.findings {
		fmt.Fprintf(&b, "- %s\n", markdown(finding))
	}
	pages(&b, s.pages)
	for _, t := range s.tables {
		b.WriteString("\n")
		pipes(&b, t)
	}
	if s.legend != nil {
		b.WriteString("\n")
	}
	for _, line := range s.legend {
		fmt.Fprintf(&b, "- %s\n", markdown(line))
	}
	left := 0
	for _, it := range s.items {
		for _, proof := range it.proofs {
			if more := folded(proof); b.Len()+len(more) < mostMarkdown {
				b.WriteString(more)
			} else {
				left++
			}
		}
	}
	if left > 0 {
		fmt.Fprintf(&b, "\n%s did not fit here; all are in the run file.\n", count(left, "counterexample", "counterexamples"))
	}
	if s.again != "" {
		b.WriteString("\nAgain:\n\n" + fenced("sh", []string{s.again}))
	}
	b.WriteString("\n")
	for _, line := range append(s.head, made(run)) {
		fmt.Fprintf(&b, "%s<br>\n", markdown(line))
	}
	return write(w, b.Bytes())
}

// made says what made the run, and when.
func made(run history.Run) string {
	line := "interlock"
	if run.Tool.Version != "" {
		line += say(" %s, %s, %s/%s, %s", run.Tool.Version, run.Tool.Go, run.Tool.OS, run.Tool.Arch, count(run.Tool.CPUs, "CPU", "CPUs"))
	}
	if !run.Started.IsZero() {
		line += " · " + run.Started.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	return line + " · took " + run.Elapsed.Short()
}

// folded returns a proof that opens at a click.
func folded(p proof) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "\n<details><summary>%s</summary>\n\n", markdown(p.title))
	for _, fact := range p.facts {
		fmt.Fprintf(&b, "%s\n", markdown(fact))
	}
	for _, t := range p.tables {
		b.WriteString("\n")
		pipes(&b, t)
	}
	b.WriteString("\n")
	for _, fact := range p.after {
		fmt.Fprintf(&b, "%s\n\n", markdown(fact))
	}
	for _, where := range p.where {
		fmt.Fprintf(&b, "- %s: <code>%s</code>\n", where[0], markdown(where[1]))
	}
	if p.again != "" {
		fence := "```"
		for strings.Contains(p.again, fence) {
			fence += "`"
		}
		fmt.Fprintf(&b, "\nAgain:\n\n%ssh\n%s\n", fence, p.again)
		for _, form := range p.forms {
			fmt.Fprintf(&b, "%s\n", form[1])
		}
		fmt.Fprintf(&b, "%s\n", fence)
	}
	b.WriteString("\n</details>\n")
	return b.String()
}

// pipes writes a table, every row with as many cells as its head.
func pipes(b *bytes.Buffer, t table) {
	if t.chart != nil {
		if t.caption != "" {
			fmt.Fprintf(b, "%s\n\n", markdown(t.caption))
		}
		t.chart.pipes(b)
		return
	}
	if t.caption != "" {
		first, rest, _ := strings.Cut(t.caption, "\n")
		fmt.Fprintf(b, "#### %s\n\n", markdown(first))
		if rest != "" {
			fmt.Fprintf(b, "%s\n\n", markdown(rest))
		}
	}
	natural, _ := t.widths()
	columns := len(natural)
	if columns == 0 {
		return
	}
	for row := -1; row < len(t.rows); row++ {
		b.WriteString("|")
		for column := range columns {
			fmt.Fprintf(b, " %s |", markdown(strings.TrimSpace(t.cell(row, column).words)))
		}
		b.WriteString("\n")
		if row < 0 {
			b.WriteString("|" + strings.Repeat("---|", columns) + "\n")
		}
	}
	if t.notes != nil {
		b.WriteString("\n")
	}
	for _, note := range t.notes {
		fmt.Fprintf(b, "- %s\n", markdown(note))
	}
}

// markdown returns s as Markdown and HTML show it literally, in a table, a heading or a list alike. Everything that could mean something is
// written as an entity, for a backslash is itself read differently in a table and outside.
func markdown(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\u00a0':
			b.WriteByte(' ')
		case strings.ContainsRune("&<>|`*_[]\\~$@#\n", r):
			fmt.Fprintf(&b, "&#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
