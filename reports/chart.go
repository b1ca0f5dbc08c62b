package reports

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// chart is an interleaving as people read it: from top to bottom what each release did, in a column for each client.
type chart struct {
	clients []client
	steps   []step
	brief   bool // its statements have been shown before, so the console shortens them more
}

type client struct{ name, asks string }

// step is what one release did to one client.
type step struct {
	number  int    // of the release
	client  int    // its place among the clients
	code    string // the SQL; empty: none
	came    []text // what came of it
	waiting []bool // the clients that wait meanwhile
}

const (
	mostLanes  = 3  // columns for clients, beside each other
	leastLane  = 28 // columns of text that a client must have for that
	mostCode   = 8  // lines of one statement on the console; the beginning and the end are kept
	mostBriefs = 3  // the same of one that was shown before
)

// chart prints an interleaving: the clients beside each other where there is room, else below each other, each step behind its client's name.
func (p *printer) chart(indent string, c *chart) {
	numbers, names := 1, 1
	for _, s := range c.steps {
		numbers = max(numbers, len(strconv.Itoa(s.number)))
	}
	for _, who := range c.clients {
		names = max(names, min(width(who.name), leastLane/2))
	}
	room := p.Width - len(indent) - numbers - gap
	lane := (room - gap*(len(c.clients)-1)) / max(1, len(c.clients))
	beside := len(c.clients) <= mostLanes && lane >= leastLane
	if !beside {
		lane = room - names - gap
	}

	blank := strings.Repeat(" ", numbers)
	if beside {
		lanes := make([][]text, len(c.clients))
		for i, who := range c.clients {
			lanes[i] = lines(who.title(), lane, mostCode)
		}
		p.lanes(indent+blank, lanes, lane)
	} else {
		for _, who := range c.clients {
			p.say(indent, plain, who.title())
		}
	}
	most, last := mostCode, 0
	if c.brief {
		most = mostBriefs
	}
	for i, s := range c.steps {
		number := blank
		if i == 0 || s.number != last {
			number = fmt.Sprintf("%*d", numbers, s.number)
		}
		last = s.number
		said := s.lines(lane, most)
		if !beside {
			p.lanes(indent+number, [][]text{lines(c.clients[s.client].name, names, 2), said}, names)
			continue
		}
		lanes := make([][]text, len(c.clients))
		for i := range lanes {
			if s.waiting[i] {
				lanes[i] = make([]text, len(said))
				for y := range said {
					lanes[i][y].words = "|"
				}
			}
		}
		lanes[s.client] = said
		p.lanes(indent+number, lanes, lane)
	}
}

// lanes prints columns of text, each so wide but for the last; what is in front stands before their first line.
func (p *printer) lanes(front string, lanes [][]text, wide int) {
	height := 0
	for _, lane := range lanes {
		height = max(height, len(lane))
	}
	for y := range height {
		line := front
		for _, lane := range lanes {
			var t text
			if y < len(lane) {
				t = lane[y]
			}
			line += strings.Repeat(" ", gap) + p.paint(t.tone, t.words) + strings.Repeat(" ", max(0, wide-width(t.words)))
		}
		p.line(line)
		front = strings.Repeat(" ", width(front))
	}
}

func (c client) title() string {
	if c.asks == "" {
		return c.name
	}
	return c.name + ": " + c.asks
}

// lines wraps s, with the further lines set in; what is more than most of them is left out before the last.
func lines(s string, room, most int) []text {
	wrapped := []string{s}
	if width(s) > room {
		wrapped = wrap(s, room-hang)
	}
	if len(wrapped) > most {
		tail := most / 2
		wrapped = append(append(wrapped[:most-tail:most-tail], "…"), wrapped[len(wrapped)-tail:]...)
	}
	out := make([]text, len(wrapped))
	for i, line := range wrapped {
		if i > 0 {
			line = strings.Repeat(" ", hang) + line
		}
		out[i].words = line
	}
	return out
}

// lines returns what the console says of a step, in so many columns: the statement, and beside its last line or below what came of it.
func (s step) lines(room, most int) (out []text) {
	if s.code != "" {
		out = lines(s.code, room, most)
	}
	for i, came := range s.came {
		if last := len(out) - 1; (i == 0 || i == 1 && s.code == "") && last >= 0 && came.tone == plain && width(out[last].words)+gap+width(came.words) <= room {
			out[last].words += strings.Repeat(" ", gap) + came.words
			continue
		}
		set := ""
		if len(out) > 0 {
			set = strings.Repeat(" ", hang)
		}
		for _, line := range lines(came.words, room-len(set), mostCode) {
			out = append(out, text{set + line.words, came.tone})
		}
	}
	return out
}

// pipes writes an interleaving as a Markdown table, with all of each statement.
func (c *chart) pipes(b *bytes.Buffer) {
	beside := len(c.clients) <= mostLanes
	b.WriteString("| |")
	if beside {
		for _, who := range c.clients {
			fmt.Fprintf(b, " %s |", markdown(who.title()))
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", len(c.clients)) + "\n")
	} else {
		b.WriteString(" client | |\n|---|---|---|\n")
	}
	last := 0
	for i, s := range c.steps {
		number := ""
		if i == 0 || s.number != last {
			number = strconv.Itoa(s.number)
		}
		last = s.number
		fmt.Fprintf(b, "| %s |", number)
		if !beside {
			fmt.Fprintf(b, " %s | %s |\n", markdown(c.clients[s.client].name), s.markdown())
			continue
		}
		for i := range c.clients {
			cell := ""
			switch {
			case i == s.client:
				cell = s.markdown()
			case s.waiting[i]:
				cell = markdown("|")
			}
			fmt.Fprintf(b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	for _, who := range c.clients {
		if !beside && who.asks != "" {
			fmt.Fprintf(b, "\n%s<br>", markdown(who.title()))
		}
	}
	if !beside {
		b.WriteString("\n")
	}
}

func (s step) markdown() string {
	var parts []string
	if s.code != "" {
		parts = append(parts, "<code>"+markdown(s.code)+"</code>")
	}
	for _, came := range s.came {
		words := markdown(came.words)
		if came.tone == bad {
			words = "<b>" + words + "</b>"
		}
		parts = append(parts, words)
	}
	return strings.Join(parts, "<br>")
}
