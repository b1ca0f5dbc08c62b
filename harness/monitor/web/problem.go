package web

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// problem is an answer that is none, as RFC 9457 has it.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"` // ends in what to try

	headers [][2]string
}

func (p *problem) Error() string { return p.Title + ": " + p.Detail }

// with adds a header.
func (p *problem) with(name, value string) *problem {
	p.headers = append(p.headers, [2]string{name, value})
	return p
}

func refuse(status int, kind, title, detail string) *problem {
	return &problem{Type: "urn:interlock:problem:" + kind, Title: title, Status: status, Detail: detail}
}

func badParameter(detail string) *problem {
	return refuse(http.StatusBadRequest, "bad-parameter", "A parameter is wrong", detail)
}

func noAnswer(detail string) *problem {
	return refuse(http.StatusServiceUnavailable, "no-answer", "There is no answer at present", detail).with("Retry-After", "5")
}

func (p *problem) write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil { // it is made of strings
		body = []byte("{}")
	}
	for _, h := range p.headers {
		w.Header().Set(h[0], h[1])
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // who asked is gone if it fails
}

var passwords = regexp.MustCompile(`(://[^:/@?\s]*:)[^@\s]+(@)|(\bpassword\s*=\s*)(?:'(?:[^'\\]|\\.)*'|[^\s&]+)()`)

// clean removes from text what nobody should read: passwords of connection strings, and tokens.
func (s *Site) clean(text string) string {
	for _, t := range s.config.Tokens {
		text = strings.ReplaceAll(text, t.Secret, "xxxxx")
	}
	return passwords.ReplaceAllString(text, "${1}${3}xxxxx${2}${4}")
}

// hinted is what says already what to try: no part of a word, such as entry.
var hinted = regexp.MustCompile(`\btry:? `)

// why is what somebody else says is in the way, without secrets, for the middle of a sentence. It ends in what to try, where that is not said yet and
// there is something.
func (s *Site) why(says, try string) string {
	says = strings.TrimRight(s.clean(says), ". \n")
	if says == "" && try != "" {
		says = "nobody says why"
	}
	if try != "" && !hinted.MatchString(says) {
		says += "; try " + try
	}
	return says
}
