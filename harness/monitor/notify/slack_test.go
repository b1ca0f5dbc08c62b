package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSlack(t *testing.T) {
	t.Parallel()
	healed := base.Add(time.Hour)
	long := strings.Repeat("<&>가", 5000)
	for _, kind := range []Type{Broke, Changed, Healed, BrokeAndHealed} {
		for _, key := range []string{"AED-1", "", "`<!channel>`", "a\nb\r\n*c*", long} {
			for _, n := range []int{0, 1, 20, 500} {
				e := Event{
					Format: Format, Type: kind, Incident: "i", Source: key, Watch: "duplicate-sessions", Invariant: "S1", Says: key, Opened: base, Seen: healed,
					Now: Tally{1000, 2000}, Healed: &healed, Link: "https://example.org/?a=1&b=2",
				}
				for range n {
					e.Groups = append(e.Groups, Group{Key: key, Members: 2, Since: base})
				}
				e.Text = e.text()
				var m slackMessage
				require.NoError(t, json.Unmarshal(slackBody(e), &m))
				require.LessOrEqual(t, len(m.Blocks), slackBlocks)
				require.LessOrEqual(t, len(m.Text), slackSection)
				require.LessOrEqual(t, len([]rune(m.Blocks[0].Text.Text)), slackHeader)
				require.NotContains(t, m.Text, "<")
				shown, more := 0, 0
				for i, b := range m.Blocks {
					if b.Text == nil {
						continue
					}
					require.NotEmpty(t, b.Text.Text)
					require.LessOrEqual(t, len(b.Text.Text), slackSection)
					if i > 0 {
						require.NotContains(t, strings.Replace(b.Text.Text, "<https://example.org/?a=1&amp;b=2|See all of it>", "", 1), "<")
						shown += strings.Count(b.Text.Text, ": 2 members, since ")
						_, _ = fmt.Sscanf(b.Text.Text, "And %d groups more.", &more)
					}
				}
				if n > 0 {
					require.Equal(t, 1000, shown+more, "%d groups", n)
				}
				if n <= 20 {
					require.Equal(t, n, shown)
				}
			}
		}
	}
}

// TestSlackLooks is one message, whole.
func TestSlackLooks(t *testing.T) {
	t.Parallel()
	e := Event{
		Format: Format, Type: Broke, Incident: "i1", Source: "production", Watch: "duplicate-sessions", Invariant: "S1", Says: "A device has < 2 open sessions.",
		Opened: base, Seen: base, Now: Tally{3, 6}, Link: "https://example.org/", Groups: []Group{{Key: "AED-1", Members: 2, Since: base}, {Key: "A&B", Members: 1, Since: base}},
	}
	e.Text = e.text()
	require.JSONEq(t, `{
		"text": "production: S1 duplicate-sessions is broken: 3 groups, 6 members.",
		"blocks": [
			{"type": "header", "text": {"type": "plain_text", "text": "production: S1 duplicate-sessions is broken"}},
			{"type": "section", "text": {"type": "mrkdwn", "text": "A device has &lt; 2 open sessions.\n3 groups, 6 members.\nBroken since 2026-11-10 10:00:00 UTC."}},
			{"type": "section", "text": {"type": "mrkdwn", "text": "`+"`AED-1`: 2 members, since 2026-11-10 10:00:00 UTC\\n`A&amp;B`: 1 member, since 2026-11-10 10:00:00 UTC"+`"}},
			{"type": "section", "text": {"type": "mrkdwn", "text": "And 1 group more."}},
			{"type": "section", "text": {"type": "mrkdwn", "text": "<https://example.org/|See all of it>"}},
			{"type": "context", "elements": [{"type": "mrkdwn", "text": "Interlock, as seen at 2026-11-10 10:00:00 UTC. Incident i1."}]}
		]}`, string(slackBody(e)))
}
