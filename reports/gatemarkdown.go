package reports

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// pages writes a page a migration. Where they are too much for GitHub the folded parts are left out, then all but the verdicts.
func pages(b *bytes.Buffer, all []page) {
	shortened := 0
	for _, pg := range all {
		title := fmt.Sprintf("\n### %s %s: %s\n", gateMark(pg.tone), markdown(pg.title), markdown(pg.verdict))
		body := pg.body(true)
		for _, shorter := range []string{pg.body(false), ""} {
			if b.Len()+len(title)+len(body) < mostMarkdown {
				break
			}
			body = shorter
			shortened++
		}
		b.WriteString(title + body)
	}
	if shortened > 0 {
		b.WriteString("\nNot everything did fit here; all is in the run file.\n")
	}
}

// body returns what stands below the title of a page, with or without what opens at a click.
func (pg page) body(folds bool) string {
	var b bytes.Buffer
	fold := func(summary, inside string) {
		if folds && inside != "" {
			fmt.Fprintf(&b, "\n<details><summary>%s</summary>\n\n%s\n</details>\n", markdown(summary), strings.Trim(inside, "\n")+"\n")
		}
	}
	for _, fact := range pg.facts {
		fmt.Fprintf(&b, "\n%s\n", opening(fact))
	}
	for i, f := range pg.findings {
		if i == 0 || f.where != pg.findings[i-1].where || f.brief != pg.findings[i-1].brief {
			fmt.Fprintf(&b, "\n**%s**", markdown(f.where))
			if f.brief != "" {
				fmt.Fprintf(&b, " <code>%s</code>", markdown(f.brief))
			}
			b.WriteString("\n")
		}
		if f.level == "note" {
			fmt.Fprintf(&b, "\nnote: %s\n", markdown(aside(f.says, f.rule)))
			fold("more on it, "+f.shown, f.reasons())
			continue
		}
		fmt.Fprintf(&b, "\n%s %s\n%s", f.weight(), markdown(f.says), f.reasons())
		if f.keys != nil && f.keys.all.rows != nil {
			var t bytes.Buffer
			pipes(&t, f.keys.all)
			fold("All keys that the run file has", t.String())
		}
		fmt.Fprintf(&b, "\nrule <code>%s</code>, %s\n", markdown(f.rule), markdown(f.shown))
	}
	if len(pg.silenced) > 0 {
		b.WriteString("\n#### Silenced in the file\n\n")
		for _, f := range pg.silenced {
			fmt.Fprintf(&b, "- %s, <code>%s</code>: %s\n", markdown(f.where), markdown(f.rule), markdown(f.allowed))
		}
		for _, f := range pg.silenced {
			fold(f.where+", "+f.rule, "<code>"+markdown(f.brief)+"</code>, "+markdown(f.shown)+"\n\n"+opening(f.says)+"\n"+f.reasons())
		}
	}
	if len(pg.trials) > 0 {
		fmt.Fprintf(&b, "\n%s\n\n", markdown(strip(pg.trials)))
		pipes(&b, trials(pg.trials, false))
		var details bytes.Buffer
		for _, t := range pg.trials {
			if len(t.details) > 0 {
				fmt.Fprintf(&details, "\n**%s**\n\n%s", markdown(t.title), bullets(t.details))
			}
		}
		fold("Details of the trials", details.String())
	}
	for _, t := range pg.tables {
		b.WriteString("\n")
		pipes(&b, t)
	}
	if len(pg.changes) > 0 {
		b.WriteString("\n#### schema changes\n\n" + fenced("diff", pg.changes))
	}
	if len(pg.missing) > 0 {
		b.WriteString("\n#### Not covered\n\n" + bullets(pg.missing))
	}
	return b.String()
}

// reasons returns what a finding rests on, and what to do about it.
func (f finding) reasons() string {
	var b bytes.Buffer
	if len(f.evidence) > 0 {
		b.WriteString("\n" + bullets(f.evidence))
	}
	if f.keys != nil {
		fmt.Fprintf(&b, "\n%s\n\n", markdown(f.keys.says))
		pipes(&b, f.keys.first)
	}
	if f.query != nil {
		b.WriteString("\nFound by\n\n" + fenced("sql", f.query))
	}
	if f.repair != nil {
		b.WriteString("\nFirst\n\n" + fenced("", f.repair))
	}
	if f.instead != nil {
		b.WriteString("\nInstead (" + markdown(f.aside) + ")\n\n" + fenced("sql", f.instead))
	}
	return b.String()
}

// fenced returns code that nothing inside can end.
func fenced(language string, code []string) string {
	fence, all := "```", strings.Join(code, "\n")
	for strings.Contains(all, fence) {
		fence += "`"
	}
	return fence + language + "\n" + all + "\n" + fence + "\n"
}

// bullets returns a list.
func bullets(all []string) string {
	var b bytes.Buffer
	for _, one := range all {
		fmt.Fprintf(&b, "- %s\n", opening(one))
	}
	return b.String()
}

var listed = regexp.MustCompile(`^([-+=]|[0-9]+[.)])`)

// opening is markdown of what begins a line or the item of a list, where even a dash or a number would mean something.
func opening(s string) string {
	s = strings.TrimSpace(s)
	if !listed.MatchString(s) {
		return markdown(s)
	}
	return fmt.Sprintf("&#%d;", s[0]) + markdown(s[1:])
}
