package target

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/internal/strict"
)

// names that a template may use without a generator.
var (
	programNames = []string{"port", "proxy_url", "proxy_host", "proxy_port", "proxy_user", "proxy_password", "proxy_database"}
	clientNames  = []string{"client", "copy"}
)

var (
	nameForm   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	headerForm = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	methodForm = regexp.MustCompile(`^[A-Z]+$`)
)

// check says what is wrong with a file that could be read.
func (f *File) check(r *strict.Reader) {
	if scenario, variant, two := strings.Cut(f.Name, "/"); scenario == "" || two && variant == "" || strings.Contains(variant, "/") {
		r.WrongAt("name", fmt.Sprintf("%q is no name", f.Name), "scenario, or scenario/variant")
	}
	f.Database.check(r)
	f.checkSpans(r)
	if f.Application != nil {
		f.Application.check(r)
	}
	f.checkReset(r)
	checkHeaders(r, "headers", f.Headers, f.names())
	f.Outcomes.check(r, "outcomes")
	for _, name := range slices.Sorted(maps.Keys(f.Generators)) {
		path := strict.Join("generators", name)
		switch {
		case !nameForm.MatchString(name):
			r.WrongKey(path, fmt.Sprintf("%q cannot be a name", name), "letters, digits and _")
		case slices.Contains(clientNames, name):
			r.WrongKey(path, fmt.Sprintf("{{%s}} has a meaning already", name), "another name")
		}
		f.Generators[name].check(r, path)
	}
	f.checkClients(r)
	f.checkInvariants(r)
	if h := f.Marker.Header; h != nil && *h != "" && !headerForm.MatchString(*h) {
		r.WrongAt("marker.header", fmt.Sprintf("%q cannot be a header", *h), "traceparent")
	}
	for i, rule := range f.Background {
		path := fmt.Sprintf("background[%d]", i)
		if rule.SQL == nil && rule.ApplicationName == nil {
			r.WrongAt(path, "nothing says which statements this is about", "sql: '(?i)^select 1' or application_name: '^cron'")
		}
		if rule.Do == "" {
			r.WrongAt(path, "nothing says what becomes of these statements", "do: pass or do: freeze")
		}
	}
}

// checkSpans says which time spans are none: they would be taken for ones that were left out.
func (f *File) checkSpans(r *strict.Reader) {
	none := func(path string, span time.Duration, usual string) {
		if span == 0 && r.Has(path) {
			r.WrongAt(path, "no time at all", "leaving it out, for "+usual+", or some other time")
		}
	}
	none("settle", f.Settle, "500ms")
	none("delay", f.Delay, "1s")
	if f.Application != nil {
		none("application.ready.within", f.Application.Ready.Within, "30s")
	}
}

func (p *Program) check(r *strict.Reader) {
	running := !r.Has("application.command")
	told, listens := false, false
	template := func(path, text string, known []string) {
		right := checkTemplate(r, path, text, known)
		found, _ := names(text)
		told = told || !right || slices.ContainsFunc(found, func(name string) bool { return strings.HasPrefix(name, "proxy_") })
		listens = listens || !right || slices.Contains(found, "port")
	}
	for i, word := range p.Command {
		template(fmt.Sprintf("application.command[%d]", i), word, programNames)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Environment)) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			r.WrongKey(strict.Join("application.environment", name), fmt.Sprintf("%q cannot be the name of a variable", name), "letters, digits and _")
		}
		template(strict.Join("application.environment", name), p.Environment[name], programNames)
	}
	for i, word := range p.Build {
		checkTemplate(r, fmt.Sprintf("application.build[%d]", i), word, nil)
	}
	switch {
	case !running && len(p.Command) == 0:
		r.WrongAt("application.command", "the command is empty", "[node, dist/server.js]")
	case running && p.URL == "":
		r.WrongAt("application", "nothing says how the application is started or where it runs", "command: [node, dist/server.js], or url: and listen:")
	case running && p.Listen == "":
		r.WrongAt("application", "a running application has been told where Postgres is, and Interlock has to listen there", "listen: 127.0.0.1:6432")
	case running && len(given(r, "application", "build", "environment")) > 0:
		r.WrongAt("application", "build and environment are for an application that Interlock starts", "a command, or leaving them out")
	case !running && p.Listen != "":
		r.WrongAt("application.listen", "an application with a command is told where Postgres is", "{{proxy_url}} in its environment, without listen")
	case !running && !told:
		r.WrongAt("application.command", "nothing tells the application where Postgres is", `environment: {DATABASE_URL: "{{proxy_url}}"}`)
	case !running && !listens:
		r.WrongAt("application.command", "nothing tells the application where to listen: at a port that is free, and another one each time",
			`environment: {PORT: "{{port}}"}`)
	}
	if p.Listen != "" {
		host, _, err := net.SplitHostPort(p.Listen)
		switch ip := net.ParseIP(host); {
		case err != nil:
			r.WrongAt("application.listen", fmt.Sprintf("%q is no address", p.Listen), "127.0.0.1:6432")
		case host != "localhost" && (ip == nil || !ip.IsLoopback()):
			r.WrongAt("application.listen", fmt.Sprintf("nobody is asked for a password there, and %q can be reached from elsewhere", p.Listen),
				"127.0.0.1:6432, or a command, with which Interlock starts the application and tells it a password")
		}
	}
	if p.URL != "" {
		known := []string{"port"}
		if running {
			known = nil
		}
		checkTemplate(r, "application.url", p.URL, known)
		if found, _ := names(p.URL); !running && !slices.Contains(found, "port") {
			r.WrongAt("application.url", "whoever is there already would be taken for the application: it has to answer at a port that is free",
				"http://127.0.0.1:{{port}}")
		}
		u, err := url.Parse(values{"port": marshal(1)}.fill(p.URL, nil))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			r.WrongAt("application.url", fmt.Sprintf("%q is not where an application answers", p.URL), "http://127.0.0.1:{{port}}")
		}
	}
	if p.Ready.Path != "" {
		checkPath(r, "application.ready.path", p.Ready.Path, nil)
	}
}

func (f *File) checkReset(r *strict.Reader) {
	if f.Reset.Request == nil {
		return
	}
	if f.Application == nil {
		r.WrongAt("reset.request", "there is no application to send it to", "sql, or an application")
	}
	f.Reset.Request.check(r, "reset.request", nil)
}

// names returns those that any client's template may use.
func (f *File) names() []string {
	return slices.Concat(slices.Sorted(maps.Keys(f.Generators)), clientNames)
}

func (f *File) checkClients(r *strict.Reader) {
	total := 0
	named := map[string]bool{}
	for i := range f.Clients {
		c := &f.Clients[i]
		path := fmt.Sprintf("clients[%d]", i)
		if c.Copies < 1 {
			r.WrongAt(path+".copies", "a client stands for at least one", "copies: 1")
			continue
		}
		if c.Copies > 1000 {
			r.WrongAt(path+".copies", "more than 1000 copies are no use", "copies: 4")
			continue
		}
		total += c.Copies
		for n := range c.Copies {
			name := copyName(c.Name, n+1)
			if named[name] {
				r.WrongAt(path+".name", fmt.Sprintf("there are two clients called %q", name), "another name for one of them")
				break
			}
			named[name] = true
		}
		f.checkClient(r, path, c)
	}
	switch {
	case r.Wrong("clients"):
	case len(f.Clients) == 0:
		r.WrongAt("clients", "there are no clients", "clients: [{requests: [{method: POST, path: /api/things}], copies: 2}]")
	case total == 1 && r.Err() == nil && !slices.ContainsFunc(f.Clients[0].Requests, func(req Request) bool { return req.Retries.Times > 0 }):
		r.WrongAt("clients", "there is one client, and a race takes two, or one that tries again",
			"copies: 2, another client, or retries: {times: 1, on: [lost]}")
	}
}

func (f *File) checkClient(r *strict.Reader, path string, c *Client) {
	known := f.names()
	checkHeaders(r, path+".headers", c.Headers, known)
	switch {
	case len(c.Requests) == 0 && len(c.Command) == 0:
		r.WrongAt(path, fmt.Sprintf("client %s does nothing", c.Name), "requests: [{method: POST, path: /api/things}] or command: [python3, job.py]")
	case len(given(r, path, "requests", "command")) == 2:
		r.WrongAt(path+".command", "a client has requests or a command", "a client of its own for the command")
	case len(given(r, path, "command", "headers")) == 2:
		r.WrongAt(path+".headers", "a command has no headers", "leaving them out")
	case len(c.Requests) > 0 && f.Application == nil:
		r.WrongAt(path+".requests", "there is no application to send requests to", "application: {command: [...]}")
	}
	for i, word := range c.Command {
		checkTemplate(r, fmt.Sprintf("%s.command[%d]", path, i), word, known)
	}
	for i := range c.Requests {
		req := &c.Requests[i]
		at := fmt.Sprintf("%s.requests[%d]", path, i)
		req.check(r, at, known)
		checkTemplate(r, at+".slot", req.Slot, f.names())
		checkTemplate(r, at+".subject", req.Subject, f.names())
		req.Outcomes.check(r, at+".outcomes")
		if r.Has(at + ".retries") {
			req.Retries.check(r, at+".retries")
		}
		for _, name := range slices.Sorted(maps.Keys(req.Capture)) {
			switch {
			case !nameForm.MatchString(name):
				r.WrongKey(strict.Join(at+".capture", name), fmt.Sprintf("%q cannot be a name", name), "letters, digits and _")
			case slices.Contains(f.names(), name):
				r.WrongKey(strict.Join(at+".capture", name), fmt.Sprintf("{{%s}} has a meaning already", name), "another name")
			case !slices.Contains(known, name):
				known = append(known, name)
			}
		}
	}
}

func (t Retries) check(r *strict.Reader, path string) {
	switch {
	case len(given(r, path, "times", "on")) < 2 || len(t.On) == 0:
		r.WrongAt(path, "retries say how often and on what", "{times: 2, on: [lost, 503]}")
	case t.Times < 1 || t.Times > 100:
		r.WrongAt(path+".times", "a client tries again 1 to 100 times", "times: 2")
	}
}

// check says what is wrong with a request whose templates may use some names.
func (c *Call) check(r *strict.Reader, path string, known []string) {
	if !methodForm.MatchString(c.Method) {
		known := []string{"GET", "POST", "PUT", "PATCH", "DELETE"}
		r.WrongAt(path+".method", fmt.Sprintf("%q is no method", c.Method), strict.Nearest(strings.ToUpper(c.Method), known))
	}
	if c.Path == "" {
		r.WrongAt(path, "a request goes to a path", "path: /api/things")
	} else {
		checkPath(r, path+".path", c.Path, known)
	}
	checkHeaders(r, path+".headers", c.Headers, known)
	checkJSON(r, path+".json", c.JSON, known)
}

func checkPath(r *strict.Reader, path, text string, known []string) {
	checkTemplate(r, path, text, known)
	filled := placeholder.ReplaceAllLiteralString(text, "x")
	u, err := url.ParseRequestURI(filled)
	if err != nil || !strings.HasPrefix(filled, "/") || u.Host != "" || strings.ContainsAny(filled, "# ") {
		r.WrongAt(path, fmt.Sprintf("%q is no path", text), "what follows the host in a URL, as /api/things?limit=10")
	}
}

func checkHeaders(r *strict.Reader, path string, headers map[string]string, known []string) {
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		at := strict.Join(path, name)
		switch lower := strings.ToLower(name); {
		case !headerForm.MatchString(name):
			r.WrongKey(at, fmt.Sprintf("%q cannot be a header", name), "letters, digits and -")
		case lower == "content-length" || lower == "transfer-encoding" || lower == "connection":
			r.WrongKey(at, fmt.Sprintf("%s is not for a file to say", name), "leaving it out")
		case seen[lower]:
			r.WrongKey(at, fmt.Sprintf("there are two headers %q", name), "one of them: case does not matter")
		default:
			seen[lower] = true
		}
		if strings.ContainsAny(headers[name], "\r\n\x00") {
			r.WrongAt(at, "a header is one line", "the same in one line")
		}
		checkTemplate(r, at, headers[name], known)
	}
}

func checkJSON(r *strict.Reader, path string, value any, known []string) {
	switch value := value.(type) {
	case string:
		checkTemplate(r, path, value, known)
	case []any:
		for i, element := range value {
			checkJSON(r, fmt.Sprintf("%s[%d]", path, i), element, known)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			checkJSON(r, strict.Join(path, key), value[key], known)
		}
	}
}

// checkTemplate says which names in a template mean nothing. False: some do.
func checkTemplate(r *strict.Reader, path, template string, known []string) (right bool) {
	found, right := names(template)
	if !right {
		r.WrongAt(path, "{{ begins a name, and this is none", "{{name}}, a name of letters, digits and _")
	}
	for _, name := range found {
		if slices.Contains(known, name) {
			continue
		}
		right = false
		try := "the value itself"
		if len(known) > 0 {
			try = strict.Nearest(name, known)
		}
		r.WrongAt(path, fmt.Sprintf("{{%s}} has no meaning here", name), try)
	}
	return right
}

// check says which statuses mean two things.
func (o Outcomes) check(r *strict.Reader, path string) {
	first := map[Status]string{}
	for _, key := range outcomeKeys {
		for i, s := range o.statuses(key) {
			if other, ok := first[s]; ok && s != "" {
				r.WrongAt(fmt.Sprintf("%s.%s[%d]", path, key, i), fmt.Sprintf("%s is %s already", s, other), "one outcome for it")
			}
			first[s] = key
		}
	}
}

func (f *File) checkInvariants(r *strict.Reader) {
	named := map[string]bool{}
	for i, inv := range f.Invariants {
		path := fmt.Sprintf("invariants[%d]", i)
		name := inv.Name
		switch {
		case r.Wrong(path):
			continue
		case inv.Use == "" && inv.SQL == "":
			r.WrongAt(path, "an invariant is a query, or the name of one", "sql: select ... or use: S1")
		case inv.Use != "" && len(given(r, path, "name", "says", "sql", "outcomes")) > 0:
			r.WrongAt(path+".use", "an invariant that is used has all of this already", "use alone")
		case inv.Use != "":
			name = inv.Use
		case inv.Name == "":
			r.WrongAt(path, "an invariant has a name", "name: S1")
		}
		if name != "" && named[name] {
			r.WrongAt(path, fmt.Sprintf("there are two invariants called %q", name), "another name for one of them")
		}
		named[name] = true
	}
}
