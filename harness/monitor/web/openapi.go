package web

import (
	_ "embed"
	"net/http"
	"strconv"
)

// document describes every address and every answer.
//
//go:embed openapi.yaml
var document []byte

// OpenAPI returns the description of the API, as /openapi.yaml does.
func OpenAPI() []byte { return append([]byte(nil), document...) }

func (s *Site) openapi(w http.ResponseWriter, _ *request) error {
	return constant(w, "application/yaml", document)
}

func constant(w http.ResponseWriter, kind string, body []byte) error {
	header := w.Header()
	header.Set("Content-Type", kind)
	header.Set("Cache-Control", "private, max-age=300")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // who asked is gone if it fails
	return nil
}
