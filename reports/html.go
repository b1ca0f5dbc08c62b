package reports

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// assets are what the page is made of; html/README.md says where each comes from.
//
//go:embed html/page.tmpl html/style.css html/script.js html/uplot.js html/uplot.css
var assets embed.FS

var layout = template.Must(template.New("page.tmpl").ParseFS(assets, "html/page.tmpl"))

// mostHTML is where the long parts of a page stop, so that it opens quickly; the run file has them all.
const mostHTML = 2 << 20

// HTML writes one page that needs nothing but itself: no network, no other file, and JavaScript only for comfort. Whatever comes from the run is
// text in it, and a policy of its own forbids the page everything that is not in it.
func HTML(w io.Writer, run history.Run) error {
	p := &pageMaker{run: run, story: tell(shortenedRun(run)), room: mostHTML}
	d, err := p.document()
	if err != nil {
		return fmt.Errorf("making the report: %w", err)
	}
	var b bytes.Buffer
	if err := layout.Execute(&b, d); err != nil {
		return fmt.Errorf("making the report: %w", err)
	}
	return write(w, b.Bytes())
}

// document is the page as its template takes it.
type document struct {
	Title, Eyebrow string
	Verdict        verdictView
	Sections       []section
	Policy         string
	Style          template.CSS
	Scripts        []template.JS
	Charts         []plot
	Made           string
}

// section is one part of the page under a heading of its own.
type section struct {
	ID, Title string
	Lead      []string
	Parts     []template.HTML // each rendered by a template, and so escaped
	After     []string
}

// pageMaker makes the page of one run.
type pageMaker struct {
	run   history.Run
	story story
	room  int // bytes that the long parts may still take
	plots []plot
}

func (p *pageMaker) document() (document, error) {
	kind := p.run.Kind
	if kind == "" {
		kind = history.KindRun
	}
	d := document{Eyebrow: say("interlock %s", kind), Verdict: p.verdict(), Made: made(p.run)}
	d.Title = d.Eyebrow + ": " + d.Verdict.Headline
	for _, make := range []func() (section, error){
		p.counterexamples, p.again, p.fixes, p.load, p.gate, p.matrix, p.uncovered, p.surroundings,
	} {
		s, err := make()
		if err != nil {
			return d, err
		}
		if s.Parts != nil || s.Lead != nil {
			d.Sections = append(d.Sections, s)
		}
	}
	d.Charts = p.plots
	return d, d.inline()
}

// inline puts style and scripts into the page, and the policy that allows them and nothing else.
func (d *document) inline() error {
	styles, scripts := []string{"style.css"}, []string{"script.js"}
	if d.Charts != nil {
		styles, scripts = []string{"uplot.css", "style.css"}, []string{"uplot.js", "script.js"}
	}
	style := ""
	for _, name := range styles {
		asset, err := assets.ReadFile("html/" + name)
		if err != nil {
			return err
		}
		style += string(asset) + "\n"
	}
	d.Style = template.CSS(style)
	d.Policy = "default-src 'none'; base-uri 'none'; form-action 'none'; style-src " + hash(style) + "; script-src"
	for _, name := range scripts {
		asset, err := assets.ReadFile("html/" + name)
		if err != nil {
			return err
		}
		d.Scripts = append(d.Scripts, template.JS(asset))
		d.Policy += " " + hash(string(asset))
	}
	return nil
}

func hash(asset string) string {
	sum := sha256.Sum256([]byte(asset))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// part renders one part of the page.
func part(name string, data any) (template.HTML, error) {
	var b strings.Builder
	err := layout.ExecuteTemplate(&b, name, data)
	return template.HTML(b.String()), err
}

// add renders one more part into a section. It reports whether there was room for it; what is short always has.
func (p *pageMaker) add(s *section, name string, data any) (bool, error) {
	const short = 2 << 10
	more, err := part(name, data)
	if err != nil || len(more) > max(p.room, short) {
		return false, err
	}
	p.room -= len(more)
	s.Parts = append(s.Parts, more)
	return true, nil
}

// class names a tone in the style sheet.
func (t tone) class() string {
	return [...]string{plain: "plain", held: "held", allowed: "allowed", caught: "caught", open: "open", bad: "bad"}[t]
}

// gridView is a table of the page: one or several tables of the story that have the same head.
type gridView struct {
	Caption string
	Head    []string
	Groups  []groupView
}

type groupView struct {
	Title, Note string
	Rows        [][]cellView
	Notes       []string
}

type cellView struct{ Words, Tone string }

// gridOf returns a table of the story.
func gridOf(t table) gridView {
	caption := t.caption
	t.caption = ""
	return gridView{Caption: caption, Head: t.head, Groups: []groupView{groupOf(t)}}
}

func groupOf(t table) groupView {
	g := groupView{Notes: t.notes}
	g.Title, g.Note, _ = strings.Cut(t.caption, "\n")
	natural := len(t.head)
	for _, row := range t.rows {
		natural = max(natural, len(row))
	}
	for i := range t.rows {
		cells := make([]cellView, natural)
		for j := range cells {
			cell := t.cell(i, j)
			cells[j] = cellView{strings.TrimSpace(cell.words), cell.tone.class()}
		}
		g.Rows = append(g.Rows, cells)
	}
	return g
}

// commandView is something to be copied.
type commandView struct{ Label, Text string }

// foldView opens at a click.
type foldView struct {
	Title string
	Parts []template.HTML
}
