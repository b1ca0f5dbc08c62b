package draft

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// API is what an OpenAPI file tells of an application.
type API struct {
	Proposals []Proposal // those most likely to race first
	Ready     string     // path of a health check; empty: none is documented
	Skipped   []string   // operations that a target file cannot send, and why
}

// Proposal is a request that could be raced, as two clients would make it at once.
type Proposal struct {
	Method, Path string // as the API documents them
	Why          string // what speaks for it
	Clients      [2][]Request
	Generators   []Generator
	Reset        *Request
	Codes        []int // statuses that are documented, in order
	Notes        []string

	score int
}

// Title is method and path.
func (p Proposal) Title() string { return p.Method + " " + p.Path }

// mostAPI is how long an OpenAPI file may be, in bytes.
const mostAPI = 8 << 20

// ReadAPI reads an OpenAPI file, 3.0 or later, as YAML or JSON. What it refers to is read where it is a file beside or below it, and never fetched.
func ReadAPI(name string) (API, error) {
	full, err := filepath.Abs(name)
	if err != nil {
		return API{}, fmt.Errorf("OpenAPI file %s: %w; try another path", name, err)
	}
	text, err := readAtMost(full)
	if err != nil {
		return API{}, fmt.Errorf("OpenAPI file: %w; try the path of a file", err)
	}
	root, err := os.OpenRoot(filepath.Dir(full))
	if err != nil {
		return API{}, fmt.Errorf("OpenAPI file: %w; try the path of a file", err)
	}
	defer root.Close()
	api, err := parseAPI(text, filepath.ToSlash(full), func(at *url.URL) ([]byte, error) {
		if at.Scheme != "" && at.Scheme != "file" || at.Host != "" {
			return nil, fmt.Errorf("%s is not fetched; try a copy beside %s", at, filepath.Base(name))
		}
		below, err := filepath.Rel(filepath.Dir(full), filepath.FromSlash(at.Path))
		if err != nil {
			return nil, err
		}
		f, err := root.Open(below)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, mostAPI))
	})
	if err != nil {
		return API{}, fmt.Errorf("OpenAPI file %s: %w", name, err)
	}
	return api, nil
}

func readAtMost(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostAPI+1))
	if err == nil && len(text) > mostAPI {
		err = fmt.Errorf("%s is longer than %d MB; try a part of it", name, mostAPI>>20)
	}
	return text, err
}

// parseAPI reads the text of an OpenAPI file; read is how it comes to the others that it refers to.
func parseAPI(text []byte, at string, read func(*url.URL) ([]byte, error)) (api API, err error) {
	defer func() {
		if p := recover(); p != nil { // the library trusts what it reads in places
			api, err = API{}, fmt.Errorf("cannot be read: %v; try npx @redocly/cli lint, which says what is wrong with it", p)
		}
	}()
	loader := openapi3.NewLoader()
	loader.ReadFromURIFunc = func(_ *openapi3.Loader, at *url.URL) ([]byte, error) { return read(at) }
	doc, err := loader.LoadFromDataWithPath(text, &url.URL{Path: at})
	switch {
	case err != nil:
		return API{}, fmt.Errorf("%w; try npx @redocly/cli lint, which says what is wrong with it", err)
	case !strings.HasPrefix(doc.OpenAPI, "3."):
		return API{}, errors.New("it does not say openapi: 3.x; try npx swagger2openapi, which makes that of a Swagger 2.0 file")
	}
	return newReading(doc).api(), nil
}

// reading is an OpenAPI document on its way to proposals.
type reading struct {
	doc    *openapi3.T
	prefix string // of all paths, from the first server
}

func newReading(doc *openapi3.T) reading {
	r := reading{doc: doc}
	if len(doc.Servers) == 0 || doc.Servers[0] == nil {
		return r
	}
	text := doc.Servers[0].URL
	for name, variable := range doc.Servers[0].Variables {
		if variable != nil {
			text = strings.ReplaceAll(text, "{"+name+"}", variable.Default)
		}
	}
	if u, err := url.Parse(text); err == nil {
		r.prefix = strings.TrimRight(u.EscapedPath(), "/")
	}
	if r.prefix != "" && !strings.HasPrefix(r.prefix, "/") {
		r.prefix = "/" + r.prefix
	}
	return r
}

// methods that change something.
var methods = []string{"POST", "PUT", "PATCH", "DELETE"}

func (r reading) api() (api API) {
	var checks []string
	paths := r.doc.Paths.Map()
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item := paths[path]
		if item == nil || len(path) > 1000 {
			continue
		}
		if item.Get != nil {
			checks = append(checks, r.prefix+path)
		}
		for _, method := range methods {
			op := item.GetOperation(method)
			if op == nil {
				continue
			}
			if proposal, why := r.propose(method, path, item, op); why == "" {
				api.Proposals = append(api.Proposals, proposal)
			} else {
				api.Skipped = append(api.Skipped, method+" "+path+": "+why)
			}
		}
	}
	slices.SortStableFunc(api.Proposals, func(a, b Proposal) int { return cmp.Compare(b.score, a.score) })
	api.Ready = bestReady(checks)
	return api
}

var (
	parameterForm = regexp.MustCompile(`\{([^{}/]+)\}`)
	aloofForm     = regexp.MustCompile(`(?i)(login|logout|signin|token|auth|password|search|query|webhook|callback|upload)`)
	notWord       = regexp.MustCompile(`\W+`)
)

// propose makes a proposal of an operation, or says why that cannot be.
func (r reading) propose(method, path string, item *openapi3.PathItem, op *openapi3.Operation) (p Proposal, why string) {
	p = Proposal{Method: method, Path: r.prefix + path}
	a, b, why := r.request(method, path, item, op)
	if why != "" {
		return p, why
	}
	rows := r.rows(path, item, op, &p)
	a.Path, b.Path = rows.fill(a.Path), rows.fill(b.Path)
	if u, err := url.ParseRequestURI(parameterForm.ReplaceAllLiteralString(strings.NewReplacer("{{", "", "}}", "").Replace(a.Path), "x")); err != nil ||
		u.Host != "" || strings.ContainsAny(a.Path, "# \\") || !strings.HasPrefix(a.Path, "/") || strings.HasPrefix(a.Path, "//") {
		return p, "its path is none that can be sent"
	}
	p.Codes = codes(op)
	a.Row, b.Row = rowOf(op), rowOf(op)
	p.Clients = [2][]Request{append(slices.Clone(rows.before[0]), a), append(slices.Clone(rows.before[1]), b)}
	p.weigh(op, strings.Contains(path, "{"), a.Body != nil)
	if r.secured(op) {
		p.Notes = append(p.Notes, p.Title()+" asks for credentials: put what a test user sends into the clients' headers")
	}
	return p, ""
}

// secured reports whether an operation wants to know who asks.
func (r reading) secured(op *openapi3.Operation) bool {
	wanted := r.doc.Security
	if op.Security != nil {
		wanted = *op.Security
	}
	return len(wanted) > 0 && !slices.ContainsFunc(wanted, func(one openapi3.SecurityRequirement) bool { return len(one) == 0 })
}

// weigh says how likely the operation is to race, and why.
func (p *Proposal) weigh(op *openapi3.Operation, byID, body bool) {
	switch {
	case p.Method == "POST" && !byID:
		p.score, p.Why = 50, "creates"
	case p.Method == "POST":
		p.score, p.Why = 40, "changes what has an id"
	case p.Method == "DELETE":
		p.score, p.Why = 25, "deletes"
	default:
		p.score, p.Why = 35, "changes what has an id"
	}
	if slices.Contains(p.Codes, 201) {
		p.score += 10
	}
	if body {
		p.score += 5
	}
	if slices.Contains(p.Codes, 409) {
		p.score += 20
		p.Why += ", unless something is in its way (409)"
	}
	if aloofForm.MatchString(p.Path) {
		p.score -= 60
	}
	if op.Deprecated {
		p.score -= 40
		p.Why += "; deprecated"
	}
}

// codes returns the statuses that an operation documents.
func codes(op *openapi3.Operation) (found []int) {
	for code := range op.Responses.Map() {
		if n, err := strconv.Atoi(code); err == nil && n >= 100 && n < 600 && len(code) == 3 {
			found = append(found, n)
		}
	}
	slices.Sort(found)
	return found
}
