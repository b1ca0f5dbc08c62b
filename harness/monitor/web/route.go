package web

import (
	"net/http"
	"strings"
)

// route is an address, and what is there.
type route struct {
	pattern string // as in openapi.yaml
	method  string // HEAD is allowed where GET is
	gives   string // media type
	query   []string
	needs   Role // empty: anybody may
	do      func(*Site, http.ResponseWriter, *request) error
}

var ofGroups = []string{"limit", "offset", "since"}

// routes are all that there is. The last segment of a pattern may be {name}.
var routes []*route

func init() { // not at their declaration: they lead back to it
	get := func(pattern, gives string, needs Role, do func(*Site, http.ResponseWriter, *request) error) *route {
		return &route{pattern: pattern, method: http.MethodGet, gives: gives, needs: needs, do: do}
	}
	routes = []*route{
		get("/", "text/html", Read, (*Site).home),
		{pattern: "/login", method: http.MethodPost, gives: "text/html", do: (*Site).login},
		{pattern: "/logout", method: http.MethodPost, gives: "text/html", do: (*Site).logout},
		get("/icon.svg", "image/svg+xml", "", (*Site).icon),
		get("/openapi.yaml", "application/yaml", Read, (*Site).openapi),
		get("/healthz", "application/json", "", (*Site).alive),
		get("/readyz", "application/json", Read, (*Site).ready),
		get("/metrics", "text/plain", Read, (*Site).scrape),
		get("/api/invariants", "application/json", Read, (*Site).invariants),
		get("/api/invariants/{name}", "application/json", Read, (*Site).invariant),
		{pattern: "/api/monitoring/{name}", method: http.MethodGet, gives: "application/json", query: ofGroups, needs: Read, do: (*Site).monitoring},
		get("/api/indexes", "application/json", Read, (*Site).indexes),
		get("/api/events", "text/event-stream", Read, (*Site).events),
		{pattern: "/api/repair", method: http.MethodPost, gives: "application/json", needs: Repair, do: (*Site).repair},
	}
}

// find returns the route of a path, and the name in it. Nil: there is none.
func find(path string) (*route, string) {
	for _, r := range routes {
		if r.pattern == path {
			return r, ""
		}
		if stem, named := strings.CutSuffix(r.pattern, "{name}"); named {
			if name, under := strings.CutPrefix(path, stem); under && name != "" && !strings.Contains(name, "/") {
				return r, name
			}
		}
	}
	return nil, ""
}

func (r *route) allow() string {
	if r.method == http.MethodGet {
		return "GET, HEAD"
	}
	return r.method
}

// role returns what one must be to ask; empty: anybody may.
func (r *route) role(c Config) Role {
	if r.pattern == "/readyz" && c.PublicHealth || r.pattern == "/metrics" && c.PublicMetrics {
		return ""
	}
	return r.needs
}
