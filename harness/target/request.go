package target

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// RequestInput is one request, with the generators' values put in. What is captured from earlier answers is still {{name}}.
type RequestInput struct {
	Name    string            `json:"name"`
	Number  int               `json:"number"` // its place among the client's requests in the file, from 0
	Method  string            `json:"method,omitempty"`
	Path    string            `json:"path,omitempty"`
	Headers map[string]string `json:"headers,omitempty"` // without the marker's
	Body    json.RawMessage   `json:"body,omitempty"`
	Command []string          `json:"command,omitempty"` // instead of all but the name
}

// resolve puts values into a call, and the headers together: a client's are stronger than the file's, and the call's than those.
func resolve(c Call, file, client map[string]string, v values) RequestInput {
	r := RequestInput{Method: c.Method, Path: c.Path, Headers: map[string]string{}}
	for _, layer := range []map[string]string{file, client, c.Headers} {
		for name, value := range layer {
			maps.DeleteFunc(r.Headers, func(other, _ string) bool { return strings.EqualFold(name, other) })
			r.Headers[name] = value
		}
	}
	if len(r.Headers) == 0 {
		r.Headers = nil
	}
	if c.JSON != nil {
		r.Body = marshal(c.JSON)
	}
	return r.filled(v)
}

// filled puts values in: into a path and a header in a way that they stay within their part of it.
func (r RequestInput) filled(v values) RequestInput {
	path, query, hasQuery := strings.Cut(r.Path, "?")
	r.Path = v.fill(path, url.PathEscape)
	if hasQuery {
		r.Path += "?" + v.fill(query, url.QueryEscape)
	}
	r.Headers = maps.Clone(r.Headers)
	for name, value := range r.Headers {
		r.Headers[name] = v.fill(value, func(text string) string { return strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ").Replace(text) })
	}
	if r.Body != nil && bytes.Contains(r.Body, []byte("{{")) {
		decoder := json.NewDecoder(bytes.NewReader(r.Body))
		decoder.UseNumber()
		var body any
		if err := decoder.Decode(&body); err == nil {
			r.Body = marshal(v.fillJSON(body))
		}
	}
	r.Command = slices.Clone(r.Command)
	for i, word := range r.Command {
		r.Command[i] = v.fill(word, nil)
	}
	return r
}

// open returns the names that no value has been put in for.
func (r RequestInput) open() []string {
	texts := []string{r.Path, string(r.Body)}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		texts = append(texts, r.Headers[name])
	}
	var open []string
	for _, text := range texts {
		found, _ := names(text)
		open = append(open, found...)
	}
	return open
}

// answer is what came back.
type answer struct {
	code int
	body []byte
	json any // what body holds; nil: not JSON
}

// longestAnswer is how much of an answer is read, in bytes.
const longestAnswer = 4 << 20

// shownAnswer is how much of an answer an error shows, in bytes.
const shownAnswer = 500

// statusError is an answer that says no.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

// Failure is what the error is counted by.
func (e *statusError) Failure() string { return fmt.Sprintf("HTTP %d", e.code) }

// err says what came back, as "502 Bad Gateway: upstream ...".
func (a answer) err() error {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(a.body), "\uFFFD")), " ")
	if len(text) > shownAnswer {
		cut := shownAnswer
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	if text != "" {
		text = ": " + text
	}
	return &statusError{a.code, status(a.code) + text}
}

// send sends a request, once, with more headers. An error is an answer that never came, or not whole.
func (in *Instance) send(ctx context.Context, r RequestInput, more map[string]string) (answer, error) {
	var body io.Reader
	if r.Body != nil {
		body = bytes.NewReader(r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, in.base+r.Path, body)
	if err != nil {
		return answer{}, err
	}
	if r.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, headers := range []map[string]string{more, r.Headers} {
		for name, value := range headers {
			if strings.EqualFold(name, "Host") {
				req.Host = value
			}
			req.Header.Set(name, value)
		}
	}
	once(req)
	res, err := in.client.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) { // which begins with the whole URL
			err = wrapped.Err
		}
		return answer{}, err
	}
	defer res.Body.Close()
	a := answer{code: res.StatusCode}
	if a.body, err = io.ReadAll(io.LimitReader(res.Body, longestAnswer+1)); err != nil {
		return answer{}, fmt.Errorf("%s, and then: %w", status(a.code), err)
	}
	if len(a.body) > longestAnswer {
		a.body = a.body[:longestAnswer]
		return a, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(a.body))
	decoder.UseNumber()
	if decoder.Decode(&a.json) != nil {
		a.json = nil
	}
	return a, nil
}

// once keeps the transport from sending a request again when a connection is lost, as it does where it takes that for harmless: a GET without a body
// that is unknown to it, and a request with an idempotency key, under the name that it looks for. Case means nothing to the application.
func once(req *http.Request) {
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if value, ok := req.Header[name]; ok {
			delete(req.Header, name)
			req.Header[strings.ToLower(name)] = value
		}
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		req.GetBody = nil
		if req.Body == nil {
			req.Body = io.NopCloser(strings.NewReader(""))
		}
	}
}
