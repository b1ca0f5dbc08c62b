package web

import (
	"encoding/json"
	"testing"

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
