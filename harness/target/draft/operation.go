package draft

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// request makes the request of each of two clients, with the parameters in the path still to be filled in; or it says why that cannot be.
func (r reading) request(method, path string, item *openapi3.PathItem, op *openapi3.Operation) (a, b Request, why string) {
	a = Request{Method: method, Path: r.prefix + strings.ReplaceAll(path, "{{", "{")}
	if ref := op.RequestBody; ref != nil && ref.Value != nil {
		media := jsonOf(ref.Value.Content)
		switch {
		case media != nil:
			a.Body = newSampler().media(media)
		case ref.Value.Required && len(ref.Value.Content) > 0:
			return a, b, "its body is not JSON"
		}
	}
	b = a
	query := url.Values{}
	var cookies []string
	seen := map[string]bool{
		"traceparent": true, "content-length": true, "transfer-encoding": true, "connection": true, "host": true,
		"accept": true, "content-type": true, "authorization": true,
	}
	for _, param := range parameters(item, op) {
		first, second := parameterValues(param)
		switch lower := strings.ToLower(param.Name); {
		case !param.Required:
		case param.In == "query":
			query.Set(param.Name, text(first))
		case param.In == "cookie" && headerForm.MatchString(param.Name):
			cookies = append(cookies, param.Name+"="+url.QueryEscape(text(first)))
		case param.In == "header" && !seen[lower] && headerForm.MatchString(param.Name):
			seen[lower] = true
			a.Headers = append(a.Headers, Variable{param.Name, headerText(first)})
			b.Headers = append(b.Headers, Variable{param.Name, headerText(second)})
		}
	}
	if len(cookies) > 0 && !seen["cookie"] {
		cookie := Variable{"Cookie", strings.Join(cookies, "; ")}
		a.Headers, b.Headers = append(a.Headers, cookie), append(b.Headers, cookie)
	}
	if len(query) > 0 {
		a.Path += "?" + query.Encode()
		b.Path = a.Path
	}
	return a, b, ""
}

var headerForm = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// headerText writes a value as a header.
func headerText(value any) string { return comment(text(value)) }

// text writes a value outside JSON.
func text(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	return marshal(value)
}

// jsonOf returns the kind of a body that is JSON.
func jsonOf(content openapi3.Content) *openapi3.MediaType {
	if media := content.Get("application/json"); media != nil && len(content) == 1 {
		return media
	}
	for _, name := range slices.Sorted(maps.Keys(content)) {
		kind, _, _ := strings.Cut(strings.ToLower(name), ";")
		if kind = strings.TrimSpace(kind); content[name] != nil && (kind == "application/json" || strings.HasSuffix(kind, "+json") || kind == "*/*") {
			return content[name]
		}
	}
	return nil
}

// parameters returns those of an operation; its own are stronger than those of its path.
func parameters(item *openapi3.PathItem, op *openapi3.Operation) (all []*openapi3.Parameter) {
	for _, ref := range slices.Concat(op.Parameters, item.Parameters) {
		if ref == nil || ref.Value == nil {
			continue
		}
		if !slices.ContainsFunc(all, func(p *openapi3.Parameter) bool { return p.In == ref.Value.In && p.Name == ref.Value.Name }) {
			all = append(all, ref.Value)
		}
	}
	return all
}

// ownForm is a header that is different in each request.
var ownForm = regexp.MustCompile(`(?i)idempot|request-?id|correlation`)

// parameterValues returns what the first client gives for a parameter, and the second.
func parameterValues(p *openapi3.Parameter) (first, second any) {
	s := newSampler()
	var given []any
	for _, name := range slices.Sorted(maps.Keys(p.Examples)) {
		if ref := p.Examples[name]; ref != nil && ref.Value != nil && ref.Value.Value != nil {
			given = append(given, s.clean(ref.Value.Value, 0))
		}
	}
	if p.Example != nil {
		given = append(given, s.clean(p.Example, 0))
	}
	switch {
	case len(given) > 1:
		return given[0], given[1]
	case len(given) == 1:
		first = given[0]
	case p.Schema != nil:
		first, _ = s.schema(p.Schema, p.Name)
	}
	if first == nil {
		first = "1"
	}
	second = first
	switch {
	case p.In != "header":
	case first == firstUUID:
		second = secondUUID
	case ownForm.MatchString(p.Name):
		return text(first) + "-A", text(first) + "-B"
	}
	return first, second
}

// rowOf returns where an answer says which row was created or changed; empty: it is not documented.
func rowOf(op *openapi3.Operation) string {
	for _, code := range []string{"201", "200"} {
		ref := op.Responses.Value(code)
		if ref == nil || ref.Value == nil {
			continue
		}
		media := jsonOf(ref.Value.Content)
		if media == nil || media.Schema == nil {
			continue
		}
		if found := idIn(media.Schema, "$", 0); found != "" {
			return found
		}
	}
	return ""
}

// idIn returns where the id is in what a schema describes.
func idIn(ref *openapi3.SchemaRef, at string, depth int) string {
	if ref == nil || ref.Value == nil || depth > 4 {
		return ""
	}
	for _, name := range []string{"id", "uuid"} {
		if ref.Value.Properties[name] != nil {
			return at + "." + name
		}
	}
	for _, part := range ref.Value.AllOf {
		if found := idIn(part, at, depth+1); found != "" {
			return found
		}
	}
	if data := ref.Value.Properties["data"]; data != nil && at == "$" {
		return idIn(data, "$.data", depth+1)
	}
	return ""
}
