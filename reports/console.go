package reports

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// Style is how the console looks. The zero value is plain text in 100 columns.
type Style struct {
	// Color adds SGR colours. They carry no meaning that the words do not.
	Color bool

	// Width is the number of columns to stay within, at least 40. Zero or less: 100. Commands, paths and DSNs are never broken, so that
	// they can be copied.
	Width int
}

// Console returns the renderer for people at a terminal and for the log of a job: what was run, a table a scenario, whether all is as it must
// be, and what is not with the command that shows it again.
func Console(style Style) Renderer {
	if style.Width <= 0 {
		style.Width = 100
	}
	style.Width = max(style.Width, 40)
	return func(w io.Writer, run history.Run) error {
		p := printer{Style: style}
		p.story(tell(run))
		return write(w, p.Bytes())
	}
}

func write(w io.Writer, report []byte) error {
	if _, err := w.Write(report); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// printer lays text out in columns.
type printer struct {
	Style
	bytes.Buffer
}

func (p *printer) story(s story) {
	for _, line := range s.head {
		p.say("", plain, line)
	}
	if s.verdictFirst {
		p.verdict(s)
	}
	for _, pg := range s.pages {
		p.line("")
		p.page(pg)
	}
	for _, t := range s.tables {
		p.line("")
		p.table("", t)
	}
	if s.legend != nil {
		p.line("")
		for _, line := range s.legend {
			p.say("  ", plain, line)
		}
	}
	if !s.verdictFirst {
		p.verdict(s)
	}
	for _, it := range s.items {
		for _, proof := range it.proofs {
			p.line("")
			p.proof(proof)
		}
	}
	if s.again != "" {
		p.line("  Again: " + s.again)
	}
}

// verdict prints whether all is as it must be, and what is not.
func (p *printer) verdict(s story) {
	p.line("")
	took := s.took.Short()
	lines := wrap(s.headline, p.Width)
	last := len(lines) - 1
	if width(lines[last])+2+width(took) > p.Width {
		lines, last = append(lines, ""), last+1
	}
	for i, line := range lines {
		if i < last {
			p.line(p.paint(s.tone, line))
		} else {
			p.line(p.paint(s.tone, line) + strings.Repeat(" ", max(0, p.Width-width(line)-width(took))) + took)
		}
	}
	for _, it := range s.items {
		for _, note := range it.notes {
			p.say("  ", it.tone, mark(it.tone)+it.name+": "+note)
		}
	}
	for _, finding := range s.findings {
		p.say("  ", plain, "- "+finding)
	}
}

func mark(t tone) string {
	if t < allowed {
		return ""
	}
	return t.mark() + nbsp
}

func (p *printer) proof(pr proof) {
	p.say("", pr.tone, mark(pr.tone)+pr.title)
	for _, fact := range pr.facts {
		p.say("  ", plain, fact)
	}
	for _, t := range pr.tables {
		p.line("")
		p.table("  ", t)
	}
	p.line("")
	for _, fact := range pr.after {
		p.say("  ", plain, fact)
	}
	for _, where := range pr.where {
		p.line("  " + where[0] + ": " + where[1])
	}
	if pr.again != "" {
		p.line("  Again: " + pr.again)
	}
	for _, form := range pr.forms {
		p.line("  As " + form[0] + ": " + form[1])
	}
}

// say prints a sentence, wrapped.
func (p *printer) say(indent string, t tone, sentence string) {
	for i, line := range wrap(sentence, p.Width-len(indent)-2) {
		if i > 0 {
			line = "  " + line
		}
		p.line(indent + p.paint(t, line))
	}
}

// commands are what GitHub takes for commands in the output of a job: the one at the beginning of a line, the other anywhere.
var commands = regexp.MustCompile(`^((?: |\x1b\[[0-9;]*m)*)(::)|(##)(\[)`)

// line prints one line, without blanks at its end. It commands nothing.
func (p *printer) line(s string) {
	s = commands.ReplaceAllString(strings.ReplaceAll(s, nbsp, " "), `$1$3\$2$4`)
	fmt.Fprintln(p, strings.TrimRight(s, " "))
}

// paint colours s as its tone asks. What is broken as it must be is not alarming, so it is not red.
func (p *printer) paint(t tone, s string) string {
	code := [...]string{held: "32", caught: "36", allowed: "36", open: "33", bad: "1;31"}[t]
	if !p.Color || code == "" || strings.TrimSpace(s) == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

const (
	gap  = 2 // columns between two columns of a table
	hang = 2 // columns by which the further lines of what is wrapped are set in
)

// table prints a table. Where it is too wide its cells are wrapped; where that will not do it is printed in several bands of columns, each
// behind the first column.
func (p *printer) table(indent string, t table) {
	if t.caption != "" {
		p.say(indent, plain, t.caption)
	}
	indent += "  "
	if t.chart != nil {
		p.chart(indent, t.chart)
		return
	}
	room := p.Width - len(indent)
	natural, words := t.widths()
	for from := 1; from < len(natural) || from == 1 && len(natural) > 0; {
		used, to := min(natural[0], max(16, room/4)), from
		for to < len(natural) && (to == from || used+gap+min(natural[to], 14) <= room) {
			used += gap + min(natural[to], 14)
			to++
		}
		p.band(indent, t, from, fit(slices.Concat(natural[:1], natural[from:to]), slices.Concat(words[:1], words[from:to]), room))
		from = max(to, from+1)
	}
	for _, note := range t.notes {
		p.say(indent, plain, note)
	}
}

// band prints the first column of t and those that begin with from, in the widths given.
func (p *printer) band(indent string, t table, from int, widths []int) {
	for n := -1; n < len(t.rows); n++ {
		cells := make([][]string, len(widths))
		tones := make([]tone, len(widths))
		height := 0
		for i := range widths {
			column := i
			if i > 0 {
				column = from + i - 1
			}
			cell := t.cell(n, column)
			cells[i], tones[i] = wrap(cell.words, widths[i]), cell.tone
			if i == 0 && len(cells[i]) > 1 && widths[0] > 4*hang { // so that the lines of one row are told from two rows
				cells[i] = strings.Split(strings.ReplaceAll(strings.Join(wrap(cell.words, widths[0]-hang), "\n"), "\n", "\n  "), "\n")
			}
			height = max(height, len(cells[i]))
		}
		for y := range height {
			line := indent
			for i, lines := range cells {
				s := ""
				if y < len(lines) {
					s = lines[y]
				}
				line += p.paint(tones[i], s) + strings.Repeat(" ", max(0, widths[i]-width(s))+gap)
			}
			p.line(line)
		}
	}
}

// cell returns what stands in a row and a column; the head is row -1.
func (t table) cell(row, column int) text {
	switch {
	case row < 0 && column < len(t.head):
		return text{words: t.head[column]}
	case row >= 0 && column < len(t.rows[row]):
		return t.rows[row][column]
	}
	return text{}
}

// widths returns the width that each column of t would like to have, and that of its longest word.
func (t table) widths() (natural, words []int) {
	columns := len(t.head)
	for _, row := range t.rows {
		columns = max(columns, len(row))
	}
	natural, words = make([]int, columns), make([]int, columns)
	for row := -1; row < len(t.rows); row++ {
		for column := range columns {
			for line := range strings.SplitSeq(t.cell(row, column).words, "\n") {
				natural[column] = max(natural[column], width(line), 1)
				for word := range strings.SplitSeq(line, " ") {
					words[column] = max(words[column], width(word))
				}
			}
		}
	}
	return natural, words
}

// fit narrows the widest of widths until all fit into room; it tears words apart only when nothing else is left.
func fit(widths, words []int, room int) []int {
	room -= gap * (len(widths) - 1)
	for _, w := range widths {
		room -= w
	}
	for room < 0 {
		widest, whole := 0, -1 // the widest, and the widest that can give way without tearing
		for i, w := range widths {
			if w > widths[widest] {
				widest = i
			}
			if w > words[i]+hang && (whole < 0 || w > widths[whole]) {
				whole = i
			}
		}
		if whole >= 0 {
			widest = whole
		}
		if widths[widest] <= 1 {
			break
		}
		widths[widest]--
		room++
	}
	return widths
}
