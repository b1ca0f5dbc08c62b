package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/monitor"
)

// groupsAnswer is an answer, read back.
type groupsAnswer struct {
	Verdict, Why, Summary, Timestamp string
	Total, Members, Kept, Matching   int
	Groups                           []map[string]any
	Page                             struct {
		Limit, Offset int
		Next          *string
	}
	Version uint64
}

func ofGroupsAnswer(t *testing.T, s *Site, target string) (groupsAnswer, string) {
	t.Helper()
	w := ask(t, s, get(target).as(readOnly))
	require.Equal(t, 200, w.Code, w.Body)
	var a groupsAnswer
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &a))
	return a, w.Header().Get("ETag")
}

func TestGroupsSayWhatTheLookFound(t *testing.T) {
	from := newMemory()
	s := site(t, from, nil)
	a, _ := ofGroupsAnswer(t, s, "/api/monitoring/"+schedules)
	require.Equal(t, "No group breaks S2 (no two visits to one device less than 30 minutes apart).", a.Summary)
	require.Equal(t, "held", a.Verdict)
	require.NotNil(t, a.Groups)

	from.set(schedules, tooClose())
	a, _ = ofGroupsAnswer(t, s, "/api/monitoring/"+schedules)
	require.Equal(t, "violated", a.Verdict)
	require.Equal(t, "1 group of 2 rows breaks S2 (no two visits to one device less than 30 minutes apart), since 2026-11-10 08:01:00 UTC.", a.Summary)
	require.Equal(t, []int{1, 2, 1}, []int{a.Total, a.Members, a.Matching})
	require.Equal(t, "2026-11-10T08:01:00Z", a.Timestamp)
	g := a.Groups[0]
	require.Equal(t, []any{"17", 2.0, "2026-11-10T08:01:00Z", "2026-11-10T10:00:00Z", "2026-11-10T10:12:00Z"},
		[]any{g["key"], g["count"], g["since"], g["earliest_start"], g["latest_start"]})
	require.Equal(t, "00:30:00", g["window"])
	require.Len(t, g["schedules"], 2)

	from.fail("password=hunter2 is wrong")
	a, _ = ofGroupsAnswer(t, s, "/api/monitoring/"+schedules)
	require.Equal(t, "unknown", a.Verdict)
	require.Equal(t, "password=xxxxx is wrong", a.Why)
	require.Contains(t, a.Summary, "It is not known whether S2 (no two visits to one device less than 30 minutes apart) holds: password=xxxxx is wrong. When it last was, 1 group")
	require.Len(t, a.Groups, 1, "those of the latest look that succeeded")
}

// What a look finds out is data: whatever it is, there is an answer.
func TestGroupsMayBeStrange(t *testing.T) {
	far := time.Date(294276, 12, 31, 0, 0, 0, 0, time.UTC)
	strange := []monitor.Group{
		{Key: "\xff\x00<script>", Facts: json.RawMessage(`{"key":"another","count":-1,"ids":null}`), First: &far, Last: &far, Since: far},
		{Key: "", Facts: json.RawMessage(`[1,2]`)},
		{Key: "nothing"},
		{Key: "cut off", Facts: json.RawMessage(`{"ids":[1`)},
		{Key: "null", Facts: json.RawMessage(`null`)},
		{Key: strings.Repeat("long", 10_000), Facts: json.RawMessage(`{"":{"deep":[[[["<b>"]]]]},"ä b":"x"}`)},
	}
	from := newMemory()
	from.set(sessions, strange...)
	s := site(t, from, nil)
	a, _ := ofGroupsAnswer(t, s, "/api/monitoring/"+sessions)
	require.Len(t, a.Groups, len(strange))
	require.Equal(t, "\ufffd\x00<script>", a.Groups[0]["key"])
	require.Equal(t, 0.0, a.Groups[0]["count"], "what is counted is not what the look says it is")
	require.Nil(t, a.Groups[0]["earliest_start"])
	page := ask(t, s, get("/").as(readOnly)).Body.String()
	require.True(t, utf8.ValidString(page))
	for text, times := range map[string]int{"<b>": 2, "<script>": 1, "\x00": 0, "another": 0, "0001": 0} { // those of the page itself, and times that are not known
		require.Equal(t, times, strings.Count(page, text), text)
	}
	for _, target := range []string{"/metrics", "/api/invariants", "/api/events"} {
		require.Equal(t, 200, ask(t, s, get(target).as(readOnly)).Code)
	}
}

func TestPaging(t *testing.T) {
	from := newMemory()
	all := open(1, 250)
	from.set(sessions, all...)
	s := site(t, from, nil)
	var keys []string
	tags := map[string]bool{}
	target := "/api/monitoring/" + sessions
	pages := 0
	for next := &target; next != nil; pages++ {
		a, tag := ofGroupsAnswer(t, s, *next)
		require.Equal(t, 250, a.Total)
		require.Equal(t, 500, a.Members)
		for _, g := range a.Groups {
			keys = append(keys, g["key"].(string))
		}
		require.False(t, tags[tag], "a page has a tag of its own")
		tags[tag] = true
		next = a.Page.Next
	}
	require.Equal(t, 3, pages)
	require.Len(t, keys, 250)
	for i, g := range all {
		require.Equal(t, g.Key, keys[i])
	}

	// since: those that were first seen then or later.
	since := all[200].Since.In(time.FixedZone("", 3600)).Format(time.RFC3339)
	a, tag := ofGroupsAnswer(t, s, target+"?limit=30&since="+url.QueryEscape(since))
	require.Equal(t, []int{250, 50, 30}, []int{a.Total, a.Matching, len(a.Groups)})
	require.Equal(t, all[200].Key, a.Groups[0]["key"])
	same, sameTag := ofGroupsAnswer(t, s, target+"?limit=30&since="+url.QueryEscape(all[200].Since.Format(time.RFC3339)))
	require.Equal(t, tag, sameTag, "the same moment, said otherwise")
	require.Equal(t, a, same)
	a, _ = ofGroupsAnswer(t, s, *a.Page.Next)
	require.Len(t, a.Groups, 20)
	require.Nil(t, a.Page.Next)
	a, _ = ofGroupsAnswer(t, s, target+"?offset=1000000000&limit=1000")
	require.Empty(t, a.Groups)
	require.Nil(t, a.Page.Next)

	for _, query := range []string{
		"limit=0", "limit=1001", "limit=-1", "limit=%2B5", "limit=", "limit=5&limit=5", "limit=0x10", "limit=99999999999999999999", "offset=-1", "offset=1000000001", "offset=1.5",
		"since=yesterday", "since=", "since=2026-01-01", "since=0001-01-01T00:00:00Z", "since=2201-01-01T00:00:00Z", "page=2", "Limit=5", "limit=5;offset=5", "limit=%zz", "a", "=",
	} {
		require.Equal(t, 400, ask(t, s, get(target+"?"+query).as(readOnly)).Code, query)
	}
}

// A tag stands for the very bytes, as long as nothing has changed, and for others as soon as something has.
func TestTags(t *testing.T) {
	from := newMemory()
	from.set(sessions, open(1, 3)...)
	s := site(t, from, nil)
	target := "/api/monitoring/" + sessions
	first := ask(t, s, get(target).as(readOnly))
	tag := first.Header().Get("ETag")
	require.Equal(t, "private, no-cache", first.Header().Get("Cache-Control"))
	require.Equal(t, "Authorization, Cookie", first.Header().Get("Vary"))

	from.again(sessions, time.Hour)
	second := ask(t, s, get(target).as(readOnly))
	require.Equal(t, tag, second.Header().Get("ETag"))
	require.Equal(t, first.Body.String(), second.Body.String())
	require.NotEqual(t, first.Header().Get("Interlock-Checked"), second.Header().Get("Interlock-Checked"), "that it was looked at again is said all the same")

	for header, want := range map[string]int{
		tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200, "": 200, strings.Trim(tag, `"`): 200,
	} {
		w := ask(t, s, get(target, "If-None-Match", header).as(readOnly))
		require.Equal(t, want, w.Code, header)
		require.Equal(t, tag, w.Header().Get("ETag"))
		if want == 304 {
			require.Empty(t, w.Body.String())
			require.Equal(t, second.Header().Get("Interlock-Checked"), w.Header().Get("Interlock-Checked"))
		}
	}
	require.Equal(t, 200, ask(t, s, get(target+"?limit=2", "If-None-Match", tag).as(readOnly)).Code, "another page")
	require.Equal(t, 401, ask(t, s, get(target, "If-None-Match", tag)).Code, "a tag opens nothing")

	from.set(sessions, open(1, 2)...)
	w := ask(t, s, get(target, "If-None-Match", tag).as(readOnly))
	require.Equal(t, 200, w.Code)
	require.NotEqual(t, tag, w.Header().Get("ETag"))

	// Versions begin again with the server, and tags do not.
	another := newMemory()
	another.set(sessions, open(5, 1)...)
	restarted := site(t, another, nil)
	require.Equal(t, 200, ask(t, restarted, get(target, "If-None-Match", tag).as(readOnly)).Code)
}

// What is not kept cannot be had, and that is said wherever somebody might look for it.
func TestWhatIsNotKeptIsSaid(t *testing.T) {
	from := newMemory()
	groups := open(1, 300)
	groups[7].Facts, groups[7].Bare = json.RawMessage(`{}`), true
	from.set(sessions, groups...)
	from.change(sessions, func(r *monitor.Result) { r.Total, r.Members = 50_000, 100_000 })
	s := site(t, from, nil)
	a, _ := ofGroupsAnswer(t, s, "/api/monitoring/"+sessions)
	require.Equal(t, []int{50_000, 300, 300, 100}, []int{a.Total, a.Kept, a.Matching, len(a.Groups)})
	says := "Only 300 of the groups are kept; the others are counted. Of 1 group only key, count and times are kept"
	require.Contains(t, a.Summary, says)
	for i, g := range a.Groups {
		if i == 7 {
			require.Equal(t, true, g["facts_left_out"])
		} else {
			require.NotContains(t, g, "facts_left_out")
		}
	}
	page := ask(t, s, get("/").as(readOnly)).Body.String()
	require.Contains(t, page, says)
	require.Contains(t, page, "These are the first 100 of 50,000 groups.")
	require.Contains(t, page, "As JSON, with all that are kept")
	require.NotContains(t, page, "with all of them")

	from.set(sessions, open(1, 300)...)
	a, _ = ofGroupsAnswer(t, s, "/api/monitoring/"+sessions)
	require.Equal(t, []int{300, 300}, []int{a.Total, a.Kept})
	require.NotContains(t, a.Summary, "kept")
	require.Contains(t, ask(t, s, get("/").as(readOnly)).Body.String(), "As JSON, with all of them")
}

// Pages that are kept have bounds, and one that is not kept is the same when it is written again.
func TestKeptPagesHaveBounds(t *testing.T) {
	from := newMemory()
	all := open(1, 600)
	for i := range all {
		all[i].Facts = json.RawMessage(`{"ids":"` + strings.Repeat("x", 200) + `"}`)
	}
	from.set(sessions, all...)
	s := site(t, from, nil)
	require.LessOrEqual(t, s.answers.most, 8<<20, "there are 60 MB for all, and facts of groups take most of them")
	s.answers.most = 100_000
	bodies := map[string]string{}
	for range 2 {
		for offset := 0; offset < 600; offset += 60 {
			target := fmt.Sprintf("/api/monitoring/%s?limit=60&offset=%d", sessions, offset)
			w := httptest.NewRecorder() // not compared with the document: they are long
			r := httptest.NewRequest(http.MethodGet, target, nil)
			r.Header.Set("Authorization", "Bearer "+readOnly.Secret)
			s.ServeHTTP(w, r)
			if bodies[target] == "" {
				bodies[target] = w.Body.String()
			}
			require.True(t, bodies[target] == w.Body.String(), target)
			require.Contains(t, s.answers.pages, pageKey{sessions, 2, slice{limit: 60, offset: offset}}, "the latest is kept, and others make room for it")
			require.LessOrEqual(t, s.answers.size, s.answers.most)
			require.Len(t, s.answers.pages, s.answers.used.Len())
		}
		from.again(sessions, time.Minute)
	}
	require.Len(t, s.answers.pages, 4)
}

// However many ask for a page at once, it is written once, and takes the room of one.
func TestAPageIsWrittenOnce(t *testing.T) {
	const callers = 50
	a := answers{most: 1 << 20}
	r := monitor.Result{Watch: monitor.Watch{Name: sessions}, Groups: open(1, 100), Version: 7}
	begun, write := make(chan struct{}), make(chan struct{})
	times := 0
	clean := func(why string) string {
		times++ // a race, if it is called twice
		close(begun)
		<-write
		return why
	}
	pages := make(chan *encoded, callers)
	ask := func() {
		page, err := a.page(r, slice{limit: usual}, clean)
		if err != nil {
			t.Error(err)
		}
		pages <- page
	}
	go ask()
	<-begun
	for range callers - 1 {
		go ask()
	}
	close(write)
	first := <-pages
	for range callers - 1 {
		require.Same(t, first, <-pages)
	}
	require.Equal(t, 1, times)
	require.Equal(t, pageFrame+len(first.body), a.size)

	// One that cannot be written is tried again by the next.
	r.Version++
	require.Panics(t, func() { _, _ = a.page(r, slice{limit: usual}, func(string) string { panic("it cannot") }) })
	page, err := a.page(r, slice{limit: usual}, func(why string) string { return why })
	require.NoError(t, err)
	require.Equal(t, 2*pageFrame+len(first.body)+len(page.body), a.size)
}

// Nobody waits for a look who does not say so, and how soon one is made again is the server's to say; the page and the metrics never have the database
// looked at.
func TestHowFresh(t *testing.T) {
	from := newMemory()
	fresh := func(c *Config, target, cache string) time.Duration {
		s := site(t, from, func(to *Config) { to.Fresh = c.Fresh })
		ask(t, s, get(target, "Cache-Control", cache).as(readOnly))
		return from.asked[len(from.asked)-1]
	}
	for _, target := range []string{"/api/monitoring/" + sessions, "/api/invariants", "/api/invariants/S1"} {
		for cache, want := range map[string]time.Duration{
			"": latest, "max-age": latest, "max-age=-1": latest, "max-age=soon": latest, "no-store": latest,
			"no-cache": 5 * time.Second, "No-Store, No-Cache": 5 * time.Second, "max-age=0": 5 * time.Second, "max-age=7": 7 * time.Second,
		} {
			require.Equal(t, want, fresh(&Config{}, target, cache), "%s %q", target, cache)
		}
		require.Equal(t, time.Minute, fresh(&Config{Fresh: time.Minute}, target, "max-age=7"))
		require.Equal(t, latest, fresh(&Config{Fresh: -1}, target, "no-cache"))
	}
	for cache, want := range map[string]time.Duration{"": indexesFresh, "no-cache": 5 * time.Second, "max-age=7": 7 * time.Second} {
		ask(t, site(t, from, nil), get("/api/indexes", "Cache-Control", cache).as(readOnly))
		require.Equal(t, want, from.ofIndexes, "%q", cache)
	}
	for _, target := range []string{"/", "/metrics", "/api/events"} {
		require.Equal(t, latest, fresh(&Config{}, target, "no-cache"), target)
	}
}

func TestFigures(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", 50_000: "50,000"} {
		require.Equal(t, want, figures(n))
	}
	for n, want := range map[int64]string{0: "0 bytes", 8192: "8,192 bytes", 16384: "16 kB", 1_253_376: "1,224 kB", 5 << 30: "5,120 MB"} {
		require.Equal(t, want, size(n))
	}
}
