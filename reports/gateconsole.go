package reports

import (
	"fmt"
	"slices"
	"strings"
)

// page prints what there is to say about one migration: its verdict, why, what to write instead, and what was tried.
func (p *printer) page(pg page) {
	p.titled(pg.tone, gateMark(pg.tone)+" "+pg.title+":", pg.verdict)
	for _, fact := range pg.facts {
		p.say("  ", plain, fact)
	}
	p.findings(pg.findings)
	if len(pg.silenced) > 0 {
		p.line("")
		p.line("  Silenced in the file")
		for _, f := range pg.silenced {
			p.say("    ", plain, "- "+f.where+", "+f.rule+": "+f.allowed)
		}
	}
	if len(pg.trials) > 0 {
		p.line("")
		p.say("  ", pg.tone, strip(pg.trials))
		p.table("  ", trials(pg.trials, true))
	}
	for _, t := range pg.tables {
		p.line("")
		p.table("  ", t)
	}
	changes := pg.changes
	if more := len(changes) - mostChanges; more > 0 {
		changes = append(slices.Clip(changes[:mostChanges]), fmt.Sprintf("… and %d more (in the run file)", more))
	}
	p.list("schema changes", "", changes)
	p.list("Not covered", "- ", pg.missing)
}

// mostChanges is how many changes of the schema the console shows of a migration.
const mostChanges = 12

// titled prints the title of a page, which holds a path and so is not broken, and what is said of it.
func (p *printer) titled(t tone, title, says string) {
	if width(title)+1+width(says) <= p.Width {
		p.line(p.paint(t, title+" "+says))
		return
	}
	p.line(p.paint(t, title))
	p.say("  ", t, says)
}

// findings prints what is not as it should be; a statement stands once over all that is about it.
func (p *printer) findings(all []finding) {
	for i, f := range all {
		if i == 0 || f.where != all[i-1].where || f.brief != all[i-1].brief {
			p.line("")
			p.say("  ", plain, clip(f.where+nbsp+" "+f.brief, max(p.Width-4, 2)))
		}
		p.finding(f)
	}
}

func (p *printer) finding(f finding) {
	const in = "          " // under the statement, where the line has one figure
	if f.level == "note" {
		p.say(in, plain, "note: "+aside(f.says, f.rule))
		return
	}
	p.say(in, f.tone, strings.TrimSpace(f.weight()+" "+f.says))
	for _, line := range f.evidence {
		p.say(in, plain, "- "+line)
	}
	if f.keys != nil {
		p.say(in, plain, f.keys.says)
		p.table(in, f.keys.first)
	}
	p.code(in, "found by", f.query)
	p.code(in, "first", f.repair)
	if f.instead != nil {
		p.code(in, "instead", f.instead)
		p.say(in+"  ", plain, "("+f.aside+")")
	}
	p.say(in, plain, "rule "+f.rule+", "+f.shown)
}

// code prints what is to be copied, and so is not broken: beside its label where it fits, else below.
func (p *printer) code(in, label string, code []string) {
	if len(code) == 0 {
		return
	}
	if one := in + label + ": " + code[0]; len(code) == 1 && width(one) <= p.Width {
		p.line(one)
		return
	}
	p.line(in + label + ":")
	for _, line := range code {
		if strings.HasPrefix(strings.TrimLeft(line, " "), "::") {
			line = "/**/" + line // a cast, which GitHub reads as a command if the line begins with it
		}
		p.line(in + "  " + line)
	}
}

// list prints a list, if there is anything in it.
func (p *printer) list(caption, bullet string, all []string) {
	if len(all) == 0 {
		return
	}
	p.line("")
	p.line("  " + caption)
	for _, one := range all {
		p.say("    ", plain, bullet+one)
	}
}

// trials returns what each trial showed, with or without the details of those that failed or are unknown.
func trials(all []trial, details bool) table {
	t := table{head: []string{"trial", "what it showed", "took"}}
	for _, one := range all {
		words := []string{strings.TrimSpace(gateMark(one.tone) + nbsp + one.says)}
		if details && one.tone >= open {
			for _, detail := range one.details {
				words = append(words, "- "+detail)
			}
		}
		took := one.took.Short()
		if one.tone == plain {
			took = "–"
		}
		t.rows = append(t.rows, []text{{words: one.title}, {strings.Join(words, "\n"), one.tone}, {words: took}})
	}
	return t
}
