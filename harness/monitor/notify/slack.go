package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Slack's limits, in characters; those of a message are of bytes where we count, to be on the safe side.
const (
	slackHeader  = 150
	slackSection = 3000
	slackBlocks  = 50
	slackKey     = 200
)

type slackText struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type slackBlock struct {
	Type     string      `json:"type"`
	Text     *slackText  `json:"text,omitempty"`
	Elements []slackText `json:"elements,omitempty"`
}

type slackMessage struct {
	Text   string       `json:"text"` // where blocks cannot be shown, as in the notification of a telephone
	Blocks []slackBlock `json:"blocks"`
}

// slackBody returns the message of an event.
func slackBody(e Event) []byte {
	m := slackMessage{Text: fits(escape(e.Text), slackSection)}
	title := e.title()
	if e.Source != "" {
		title = e.Source + ": " + title
	}
	m.Blocks = append(m.Blocks, slackBlock{Type: "header", Text: &slackText{"plain_text", shorten(oneLine(title), slackHeader)}})
	said := escape(e.Says) + "\n" + escape(e.counts()) + "."
	switch e.Type {
	case Broke, Changed:
		said += "\nBroken since " + moment(e.Opened) + "."
	case Healed, BrokeAndHealed:
		if e.Healed != nil {
			said += "\nBroken from " + moment(e.Opened) + " to " + moment(*e.Healed) + "."
		}
	}
	if e.Type == BrokeAndHealed {
		said += " This could not be told before."
	}
	m.Blocks = append(m.Blocks, section(fits(said, slackSection)))
	end := []slackBlock{}
	if link := slackLink(e.Link); link != "" {
		end = append(end, section(link))
	}
	end = append(end, slackBlock{Type: "context", Elements: []slackText{{"mrkdwn", "Interlock, as seen at " + moment(e.Seen) + ". Incident " + escape(e.Incident) + "."}}})

	// The groups, as many as there is room for, and last how many more there are.
	shown, lines := 0, ""
	for _, g := range e.Groups {
		line := slackGroup(g)
		if len(lines)+len(line)+1 > slackSection {
			if len(m.Blocks)+len(end)+2 >= slackBlocks {
				break
			}
			m.Blocks, lines = append(m.Blocks, section(lines)), ""
		}
		lines, shown = lines+line+"\n", shown+1
	}
	if lines != "" {
		m.Blocks = append(m.Blocks, section(lines))
	}
	if more := e.Now.Groups - shown; shown > 0 && more > 0 {
		m.Blocks = append(m.Blocks, section(fmt.Sprintf("And %s more.", count(more, "group"))))
	}
	m.Blocks = append(m.Blocks, end...)
	body, _ := json.Marshal(m) // strings only: it never fails
	return body
}

func section(text string) slackBlock {
	return slackBlock{Type: "section", Text: &slackText{"mrkdwn", strings.TrimRight(text, "\n")}}
}

func slackGroup(g Group) string {
	key := strings.ReplaceAll(shorten(oneLine(g.Key), slackKey), "`", "'")
	if key == "" {
		key = " "
	}
	return fmt.Sprintf("`%s`: %s, since %s", escape(key), count(g.Members, "member"), moment(g.Since))
}

// slackLink leaves out what would end a link early, and what is too long to be one.
func slackLink(link string) string {
	if link == "" || strings.ContainsAny(link, "<>| \n") || len(link) > slackSection/2 {
		return ""
	}
	return "<" + escape(link) + "|See all of it>"
}

func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// fits cuts escaped text to so many bytes, between characters and not within an entity.
func fits(text string, most int) string {
	if len(text) <= most {
		return text
	}
	cut := most - len("…")
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	text = text[:cut]
	if i := strings.LastIndexByte(text, '&'); i >= 0 && !strings.Contains(text[i:], ";") {
		text = text[:i]
	}
	return text + "…"
}
