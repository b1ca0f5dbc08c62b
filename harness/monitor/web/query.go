package web

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Of a page of groups.
const (
	usual = 100
	most  = 1000
)

// slice says which groups somebody asks for.
type slice struct {
	limit, offset int
	since         int64 // nanoseconds of Unix time; meaningless unless any
	any           bool  // since was given
}

// parameters returns the query if all of its parameters are known, and given once.
func parameters(raw string, known []string) (url.Values, error) {
	if raw == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, badParameter("the query cannot be read; try encoding what is special in it, as %25 for %")
	}
	for name, given := range values {
		switch {
		case !slices.Contains(known, name) && len(known) == 0:
			return nil, badParameter(fmt.Sprintf("there is no parameter %.40q here; try without a query", name))
		case !slices.Contains(known, name):
			return nil, badParameter(fmt.Sprintf("there is no parameter %.40q here; try %s", name, strings.Join(known, ", ")))
		case len(given) > 1:
			return nil, badParameter(fmt.Sprintf("%s is given %d times; try once", name, len(given)))
		}
	}
	return values, nil
}

// sliceOf reads limit, offset and since.
func sliceOf(query url.Values) (slice, error) {
	s := slice{limit: usual}
	for name, at := range map[string]*int{"limit": &s.limit, "offset": &s.offset} {
		if !query.Has(name) {
			continue
		}
		least, top := 0, 1_000_000_000
		if name == "limit" {
			least, top = 1, most
		}
		text := query.Get(name)
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > top || text[0] == '+' || text[0] == '-' {
			return s, badParameter(fmt.Sprintf("%s must be a number from %d to %d; try %s=%d", name, least, top, name, usual))
		}
		*at = n
	}
	if query.Has("since") {
		since, err := time.Parse(time.RFC3339, query.Get("since"))
		if err != nil || since.Year() < 1970 || since.Year() > 2200 {
			return s, badParameter("since must be a time as in RFC 3339, from 1970 to 2200; try since=2026-01-31T08:00:00Z (a + in it is written %2B)")
		}
		s.since, s.any = since.UnixNano(), true
	}
	return s, nil
}

// accepts reports whether an Accept header lets an answer be of a media type. None lets it be anything.
func accepts(r *http.Request, media string) bool {
	lines := r.Header.Values("Accept")
	if len(lines) == 0 {
		return true
	}
	group, _, _ := strings.Cut(media, "/")
	best, quality := -1, 0.0 // the most specific range decides
	for part := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		kind, q := rangeOf(part)
		specific := slices.Index([]string{"*/*", group + "/*", media}, kind)
		if specific > best {
			best, quality = specific, q
		}
	}
	return quality > 0
}

// prefers reports whether an Accept header names a media type itself, as that of a browser names text/html.
func prefers(r *http.Request, media string) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		if kind, q := rangeOf(part); kind == media && q > 0 {
			return true
		}
	}
	return false
}

// rangeOf reads one range of an Accept header.
func rangeOf(part string) (kind string, q float64) {
	kind, rest, has := strings.Cut(part, ";")
	kind, q = strings.ToLower(strings.TrimSpace(kind)), 1
	if !has {
		return kind, q
	}
	if _, parameters, err := mime.ParseMediaType("a/b;" + rest); err == nil && parameters["q"] != "" {
		if weight, err := strconv.ParseFloat(parameters["q"], 64); err == nil {
			q = weight
		}
	}
	return kind, q
}
