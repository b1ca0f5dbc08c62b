package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

//go:embed assets
var assets embed.FS

// pageMaker makes pages. What is the same in all of them is read once.
type pageMaker struct {
	layout *template.Template
	style  template.CSS
	script template.JS
	policy string
	icon   []byte
}

func newPageMaker() (*pageMaker, error) {
	layout, err := template.New("").Funcs(template.FuncMap{"timed": timed}).ParseFS(assets, "assets/*.tmpl")
	if err != nil {
		return nil, fmt.Errorf("reading the page: %w", err)
	}
	p := &pageMaker{layout: layout}
	var texts [3][]byte
	for i, name := range []string{"style.css", "script.js", "icon.svg"} {
		if texts[i], err = assets.ReadFile("assets/" + name); err != nil {
			return nil, fmt.Errorf("reading the page: %w", err)
		}
	}
	p.style, p.script, p.icon = template.CSS(texts[0]), template.JS(texts[1]), texts[2]
	p.policy = "default-src 'none'; style-src " + hash(texts[0]) + "; script-src " + hash(texts[1]) +
		"; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	return p, nil
}

var spokenTime = regexp.MustCompile(`\b(\d{4}-\d\d-\d\d) (\d\d:\d\d(?::\d\d)?) UTC\b`)

// timed marks the times in a text as such, so that they stay in one piece. All else in it is text.
func timed(text string) template.HTML {
	return template.HTML(spokenTime.ReplaceAllString(template.HTMLEscapeString(text), `<time datetime="${1}T${2}Z">$0</time>`))
}

// hash is what a policy calls a style or a script that is in the page.
func hash(text []byte) string {
	sum := sha256.Sum256(text)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// show writes a page.
func (p *pageMaker) show(w http.ResponseWriter, status int, name string, view any) error {
	var b bytes.Buffer
	if err := p.layout.ExecuteTemplate(&b, name, view); err != nil {
		return fmt.Errorf("making the page: %w", err)
	}
	header := w.Header()
	header.Set("Content-Security-Policy", p.policy)
	header.Set("X-Frame-Options", "DENY")
	header.Set("Cache-Control", "no-store")
	header.Set("Vary", "Accept, Authorization, Cookie")
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // who asked is gone if it fails
	return nil
}

// frame is what all pages have.
type frame struct {
	Title  string
	Tone   string
	Mark   string
	Word   string
	Style  template.CSS
	Script template.JS // empty: there is none
	Made   string
}

func (s *Site) frame(title, tone string) frame {
	f := frame{Title: title, Tone: tone, Style: s.page.style, Made: "Interlock " + s.config.Version}
	f.Mark, f.Word = stamp(tone)
	return f
}

func stamp(tone string) (mark, word string) {
	switch tone {
	case "held":
		return "✓", "Holds"
	case "bad":
		return "✗", "Broken"
	case "open":
		return "?", "Unknown"
	}
	return "", ""
}

// toneOf is the colour of a verdict, which is never without the words.
func toneOf(v history.Verdict) string {
	switch v {
	case history.Held:
		return "held"
	case history.Violated:
		return "bad"
	}
	return "open"
}

// home is the status page.
func (s *Site) home(w http.ResponseWriter, q *request) error {
	view := s.status(q)
	return s.page.show(w, http.StatusOK, "status.tmpl", view)
}

func (s *Site) icon(w http.ResponseWriter, _ *request) error {
	return constant(w, "image/svg+xml", s.page.icon)
}

// signInView is the page that asks for a token.
type signInView struct {
	frame
	Wrong string // what was wrong with the one that was typed in
}

// signIn asks a browser for a token, in place of a problem.
func (s *Site) signIn(w http.ResponseWriter, p *problem, wrong string) {
	for _, h := range p.headers {
		w.Header().Set(h[0], h[1])
	}
	if err := s.page.show(w, p.Status, "signin.tmpl", signInView{s.frame("Interlock: sign in", "plain"), wrong}); err != nil {
		s.config.Log.Error("the page could not be made", "why", err.Error())
		p.write(w)
	}
}

// login begins the session of a token that was typed in.
func (s *Site) login(w http.ResponseWriter, q *request) error {
	if err := q.ParseForm(); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return tooLarge()
		}
		return refuse(http.StatusBadRequest, "bad-body", "The body is wrong", "it cannot be read; try the form of the page")
	}
	from, now := addressOf(q.Request), s.config.now()
	wait := s.typed.wait(from, now)
	if wait == 0 {
		if t, ok := s.holder(strings.TrimSpace(q.PostForm.Get("token"))); ok {
			q.who = caller{name: t.Name, role: t.Role}
			s.begin(w, q.Request, t)
			return home(w)
		}
		wait = s.typed.wrong(from, now)
	}
	p, says := noToken(), "That is not one of the tokens. Try another."
	if wait > 0 {
		p = tooMany(wait)
		says = "There were too many wrong tokens from this address. Try again in " + p.headers[0][1] + " s."
	}
	if !prefers(q.Request, "text/html") {
		return p
	}
	s.signIn(w, p, says)
	return nil
}

// logout ends a session.
func (s *Site) logout(w http.ResponseWriter, q *request) error {
	s.end(w, q.Request, q.who)
	return home(w)
}

// home leads a browser to the page.
func home(w http.ResponseWriter) error {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", "./")
	w.WriteHeader(http.StatusSeeOther)
	return nil
}
