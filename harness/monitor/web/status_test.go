package web

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/monitor"
)

// The page answers first, and does not say more than is known.
func TestHeadlines(t *testing.T) {
	from := newMemory()
	s := site(t, from, func(c *Config) { c.Open, c.Tokens = true, nil })
	headline := func() string {
		v := s.status(&request{Request: getRequest(t)})
		return v.Word + ": " + v.Headline
	}
	require.Equal(t, "Holds: S1 and S2 hold: no group breaks them.", headline())
	from.health.Ready = false
	require.Equal(t, "Unknown: It is not known how it is now. At 2026-11-10 08:00:00 UTC: S1 and S2 hold: no group breaks them.", headline())
	from.fail("timeout")
	require.Equal(t, "Unknown: It is not known whether S2 holds.", headline())
	from.set(sessions, open(1, 52)...)
	require.Equal(t, "Broken: 52 groups break S1 since 2026-11-10 09:00 UTC.", headline())
	from.set(schedules, tooClose())
	require.Equal(t, "Broken: 52 groups break S1 since 2026-11-10 09:00 UTC; 1 group breaks S2 since 2026-11-10 08:01 UTC.", headline())
	from.forget()
	require.Equal(t, "Unknown: It is not known whether S1 and S2 hold.", headline())

	none := &memory{health: monitor.Health{Ready: true}}
	s = site(t, none, nil)
	require.Equal(t, "Unknown: Nothing is watched.", headline())
}

// What is in the way is what is in the way: a database that is slow, or refuses a look, is reached.
func TestWordsOfHealth(t *testing.T) {
	s := site(t, newMemory(), nil)
	facts := func(h monitor.Health) string { return fmt.Sprint(s.health(h)) }
	require.Contains(t, facts(monitor.Health{BackingOff: time.Minute}), "[Next look in 60.0 s: the database could not be reached]")
	slow := facts(monitor.Health{BackingOff: time.Minute, Connected: true})
	require.Contains(t, slow, "[Next look in 60.0 s: a look failed, or they take more than their share of the time]")
	require.NotContains(t, slow, "could not be reached")
	require.NotContains(t, facts(monitor.Health{}), "a primary", "nobody knows")
	require.Contains(t, facts(monitor.Health{Connected: true}), "[Server a primary]")
	require.Contains(t, facts(monitor.Health{Connected: true, Replica: true}), "[Server a replica, level with its primary]")
}

// How old that is what the latest look was not at is told.
func TestWhatALookInPartWasNotAt(t *testing.T) {
	from := newMemory()
	s := site(t, from, nil)
	page := func() string { return ask(t, s, get("/").as(readOnly)).Body.String() }
	require.NotContains(t, page(), "at a part")
	for _, groups := range [][]monitor.Group{nil, open(1, 2)} {
		from.set(sessions, groups...)
		from.change(sessions, func(r *monitor.Result) { r.Partial, r.Whole = true, start.Add(-time.Hour) })
		require.Contains(t, page(), `The latest look was at a part; everything was looked at since <time datetime="2026-11-10T07:00:00Z">`)
		require.Contains(t, ask(t, s, get("/api/invariants/S1").as(readOnly)).Body.String(), `"whole":"2026-11-10T07:00:00Z"`)
		from.change(sessions, func(r *monitor.Result) { r.Whole = time.Time{} })
		require.Contains(t, page(), "Not everything was looked at yet.")
		require.Contains(t, ask(t, s, get("/api/invariants/S1").as(readOnly)).Body.String(), `"whole":null`)
	}
}

// A hint is one, and not a word that has its letters in it.
func TestHints(t *testing.T) {
	s := site(t, newMemory(), nil)
	for says, want := range map[string]string{
		"no pg_hba.conf entry for host": "no pg_hba.conf entry for host; try again",
		"the country is another.":       "the country is another; try again",
		"refused; try another role":     "refused; try another role",
		"refused, try: psql":            "refused, try: psql",
		"":                              "nobody says why; try again",
	} {
		require.Equal(t, want, s.why(says, "again"))
	}
	require.Empty(t, s.why("", ""))
}

func TestFactsForPeople(t *testing.T) {
	for raw, want := range map[string]string{
		``: "–", `null`: "–", `"text"`: "text", `12`: "12", `true`: "true", `["a","b"]`: "a\nb", `[]`: "", `{"b":1,"a":"x"}`: "a x, b 1",
		`[{"id":1},{"id":2}]`: "id 1\nid 2", `{"deep":{"x":1}}`: `{"deep":{"x":1}}`, `[[1]]`: "[1]",
	} {
		words, _ := factWords(json.RawMessage(raw), true)
		require.Equal(t, want, words, raw)
	}
}

func TestTimesStayWhole(t *testing.T) {
	require.Equal(t, `&lt;b&gt; since <time datetime="2026-11-10T08:00Z">2026-11-10 08:00 UTC</time>; <time datetime="2026-11-10T08:00:01Z">2026-11-10 08:00:01 UTC</time>.`,
		string(timed("<b> since 2026-11-10 08:00 UTC; 2026-11-10 08:00:01 UTC.")))
}
