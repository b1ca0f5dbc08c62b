package notify

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
)

// TestObserve goes through looks, written as "minute:groups", or "minute:?" for unknown, and what is told at each.
func TestObserve(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what, looks, want string
		healFor           time.Duration
	}{
		{what: "nothing", looks: "0: 1:", want: ""},
		{what: "once", looks: "0:a 1:a 2:a", want: "0 broke"},
		{what: "heals", looks: "0:a 1: 2:", want: "0 broke, 1 healed"},
		{what: "again", looks: "0:a 1: 2:a 3:", want: "0 broke, 1 healed, 2 broke, 3 healed"},
		{what: "too early for a change", looks: "0:a 5:ab 14:abc", want: "0 broke"},
		{what: "changes are one", looks: "0:a 5:ab 14:abc 15:abc 20:a 30:a", want: "0 broke, 15 changed +2 -0, 30 changed +0 -2"},
		{what: "back as it was", looks: "0:a 5:ab 15:a", want: "0 broke"},
		{what: "others", looks: "0:a 15:b", want: "0 broke, 15 changed +1 -1"},
		{what: "unknown neither heals nor breaks", looks: "0:? 1:a 2:? 3:a 4: 5:?", want: "1 broke, 4 healed"},
		{what: "damped, and unknown does not interrupt", looks: "0:a 1: 2:? 3: 4:", want: "0 broke, 3 healed", healFor: 2 * time.Minute},
		{what: "damped", looks: "0:a 1: 5: 6: 10: 11:", want: "0 broke, 11 healed", healFor: 10 * time.Minute},
		{what: "damped, broken meanwhile", looks: "0:a 1: 5:a 6: 11: 16:", want: "0 broke, 16 healed", healFor: 10 * time.Minute},
		{what: "one look twice", looks: "0:a 1: 1: 1: 2:", want: "0 broke, 2 healed", healFor: time.Minute},
		{what: "older looks", looks: "5:a 4: 6: 5:a", want: "5 broke, 6 healed"},
	} {
		t.Run(c.what, func(t *testing.T) {
			config, err := Config{Destinations: quick("http://localhost").Destinations, HealFor: cmp.Or(c.healFor, -1)}.resolve()
			require.NoError(t, err)
			var told []string
			var b Book
			for look := range strings.FieldsSeq(c.looks) {
				minute, keys, _ := strings.Cut(look, ":")
				var n int
				_, err := fmt.Sscan(minute, &n)
				require.NoError(t, err)
				r := result(n)
				if keys == "?" {
					r.Verdict = history.Unknown
				} else if keys != "" {
					r = result(n, strings.Split(keys, "")...)
				}
				config.observe(&b, r, "", r.Checked)
				told = append(told, tell(n, b.Queue)...)
				b.Queue = nil // it is delivered
			}
			require.Equal(t, c.want, strings.Join(told, ", "))
		})
	}
}

// TestLooksAtAPart has two instances, A and B. Their looks are written as "A minute:groups", or "A minute/whole:groups" of a look at a part, where everything
// was looked at since that minute.
func TestLooksAtAPart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ what, looks, want string }{
		{"it does not know of x", "A2:x B3/1: B4/1: A5:x", "2 broke"},
		{"it knows of something else", "A2:x B3/1:y B4/1: B5/1:y A6:x", "2 broke"},
		{"everything was looked at since", "A2:x B3/1: B4/2:", "2 broke, 4 healed"},
		{"everything was looked at since, and there is more", "A2:x B3/1:xy B4/2:xy", "2 broke, 4 changed +1 -0"},
		{"it has seen x too", "A2:x B3/1:x B4/1:", "2 broke, 4 healed"},
		{"one instance", "A2/1:x A3/1:xy A4/1:y A5/1:", "2 broke, 3 changed +1 -0, 4 changed +0 -1, 5 healed"},
		{"it has not seen all", "A2:xz B3/1:x B4/1:", "2 broke"},
		{"it has not seen what was told since", "A2:x B3/1:x A4:xz B5/1:x B6/1: A7:z", "2 broke, 4 changed +1 -0, 7 changed +0 -1"},
		{"it has not seen that x came again", "A2:x B3/1:x A4:z A5:x B6/1:", "2 broke, 4 changed +1 -1, 5 changed +1 -1"},
		{"it has seen another incident", "A2:x B3/1:x A4: A5:x B6/1: A7:x", "2 broke, 4 healed, 5 broke"},
		{"what it sees breaks, whatever it does not see", "A2: B3/1:x B4/1:", "3 broke, 4 healed"},
		{"nothing was looked at as a whole", "A2:x B3/-:", "2 broke"},
	} {
		t.Run(c.what, func(t *testing.T) {
			config, err := Config{Destinations: quick("http://localhost").Destinations, Update: -1, HealFor: -1}.resolve()
			require.NoError(t, err)
			var told []string
			var b Book
			saw := map[string]string{}
			for look := range strings.FieldsSeq(c.looks) {
				who, look := look[:1], look[1:]
				at, keys, _ := strings.Cut(look, ":")
				at, whole, part := strings.Cut(at, "/")
				minute, err := strconv.Atoi(at)
				require.NoError(t, err)
				r := result(minute, strings.Split(keys, "")...)
				if r.Partial = part; part && whole != "-" {
					since, err := strconv.Atoi(whole)
					require.NoError(t, err)
					r.Whole = result(since).Checked
				}
				_, _, saw[who] = config.observe(&b, r, saw[who], r.Checked)
				told = append(told, tell(minute, b.Queue)...)
				b.Queue = nil // it is delivered
			}
			require.Equal(t, c.want, strings.Join(told, ", "))
		})
	}
}

// TestMoreThanAreKept has two instances that keep different groups of very many.
func TestMoreThanAreKept(t *testing.T) {
	t.Parallel()
	config, err := Config{Destinations: quick("http://localhost").Destinations, Update: -1, HealFor: -1}.resolve()
	require.NoError(t, err)
	var b Book
	for minute, c := range []struct {
		keys           string
		total, members int
		want           []Type
	}{
		{"ab", 5, 10, []Type{Broke}},
		{"cd", 5, 10, nil},
		{"ab", 5, 10, nil},
		{"cd", 6, 12, []Type{Changed}},
		{"cd", 6, 13, []Type{Changed}},
		{"cd", 2, 4, []Type{Changed}},
		{"ab", 2, 4, []Type{Changed}},
	} {
		r := result(minute, strings.Split(c.keys, "")...)
		r.Total, r.Members = c.total, c.members
		config.observe(&b, r, "", r.Checked)
		var told []Type
		for _, m := range b.Queue {
			told = append(told, m.Event.Type)
		}
		b.Queue = nil // it is delivered
		require.Equal(t, c.want, told, "at %d", minute)
	}
}

// tell prints what is told at a minute.
func tell(minute int, queue []Message) (told []string) {
	for _, m := range queue {
		text := fmt.Sprintf("%d %s", minute, m.Event.Type)
		if m.Event.Type == Changed {
			text += fmt.Sprintf(" +%d -%d", *m.Event.New, *m.Event.Gone)
		}
		told = append(told, text)
	}
	return told
}

// TestUpToDate lets several things happen before anything is delivered.
func TestUpToDate(t *testing.T) {
	t.Parallel()
	config, err := Config{Destinations: quick("http://localhost").Destinations, Update: -1, HealFor: -1}.resolve()
	require.NoError(t, err)
	type step struct {
		look monitor.Result
		then func(*Message) // what happens to the first message
	}
	claimed := func(m *Message) { m.begin() }
	refused := func(m *Message) { m.begin(); *m, _ = m.finish(m.Claim, Outcome{Why: "503"}) }
	over := func(m *Message) { *m, _ = m.finish(m.Claim, Outcome{Why: "503"}) }
	doubtful := func(m *Message) { m.begin(); *m, _ = m.finish(m.Claim, Outcome{Why: "no answer", Doubt: true}) }
	died := func(m *Message) { *m, _ = m.finish(m.Claim, Outcome{Why: "410", Dead: true}) }
	dead := func(m *Message) { m.begin(); *m, _ = m.finish(m.Claim, Outcome{Why: "410", Dead: true}) }
	for _, c := range []struct {
		what  string
		steps []step
		want  string
	}{
		{"all before the first attempt", []step{{result(0, "a"), nil}, {result(1, "a", "b"), nil}, {result(2), nil}}, "broke-and-healed 2"},
		{"changes", []step{{result(0, "a"), nil}, {result(1, "a", "b"), nil}, {result(2, "a", "b", "c"), nil}}, "broke 3"},
		{"refused", []step{{result(0, "a"), refused}, {result(1), nil}}, "broke-and-healed 1"},
		{"perhaps arrived", []step{{result(0, "a"), doubtful}, {result(1, "a", "b"), nil}, {result(2), nil}}, "broke 1, healed 2"},
		{"under way", []step{{result(0, "a"), claimed}, {result(1, "a", "b"), nil}, {result(2, "b"), nil}}, "broke 1, changed 1"},
		{"under way, then refused", []step{{result(0, "a"), claimed}, {result(1, "a", "b"), over}, {result(2), nil}}, "broke-and-healed 2"},
		{"under way, then in doubt", []step{{result(0, "a"), claimed}, {result(1, "a", "b"), doubtful}, {result(2), nil}}, "broke 1, healed 2"},
		{"twice", []step{{result(0, "a"), nil}, {result(1), nil}, {result(2, "a", "b"), nil}, {result(3), nil}}, "broke-and-healed 1, broke-and-healed 2"},
		{"dead", []step{{result(0, "a"), dead}, {result(1), nil}}, "broke-and-healed 1"},
		{"dead, and it lasts", []step{{result(0, "a"), dead}, {result(1, "a", "b"), nil}}, "broke 2"},
		{"under way, then dead", []step{{result(0, "a"), claimed}, {result(1, "a", "b"), died}, {result(2), nil}}, "broke-and-healed 2"},
		{"dead, and in doubt", []step{{result(0, "a"), doubtful}, {result(1), dead}}, "broke 1 dead, healed 1"},
	} {
		t.Run(c.what, func(t *testing.T) {
			var b Book
			ids := map[string]bool{}
			for _, s := range c.steps {
				config.observe(&b, s.look, "", s.look.Checked)
				if s.then != nil {
					s.then(&b.Queue[0])
				}
				for _, m := range b.Queue {
					ids[m.Event.ID] = true
				}
			}
			var told []string
			for _, m := range b.Queue {
				n := m.Event.Now.Groups
				if m.Event.Healed != nil {
					n = m.Event.Most.Groups
				}
				text := fmt.Sprintf("%s %d", m.Event.Type, n)
				if m.Dead {
					text += " dead"
				}
				told = append(told, text)
				require.Contains(t, m.Event.Text, m.Event.counts(), "the text is of what is told")
				require.Contains(t, m.Event.Text, m.Event.title())
			}
			require.Equal(t, c.want, strings.Join(told, ", "))
		})
	}
	t.Run("too many dead", func(t *testing.T) {
		var b Book
		for minute := range 250 {
			r := result(minute)
			if minute%2 == 0 {
				r = result(minute, "a")
			}
			config.observe(&b, r, "", r.Checked)
			dead(&b.Queue[len(b.Queue)-1])
		}
		require.Len(t, b.Queue, graves)
		require.Equal(t, BrokeAndHealed, b.Queue[graves-1].Event.Type)
		require.Equal(t, base.Add(249*time.Minute), b.Queue[graves-1].Event.Seen)
	})
	t.Run("revived", func(t *testing.T) {
		var b Book
		config.observe(&b, result(0, "a"), "", base)
		dead(&b.Queue[0])
		config.observe(&b, result(1), "", base)
		dead(&b.Queue[0])
		b.revive("others", base)
		require.True(t, b.Queue[0].Dead)
		b.revive("ops", base)
		require.Len(t, b.Queue, 1)
		require.False(t, b.Queue[0].Dead)
		require.Equal(t, BrokeAndHealed, b.Queue[0].Event.Type)
		dead(&b.Queue[0])
		b.bury(base.Add(buried))
		require.Len(t, b.Queue, 1)
		b.bury(base.Add(buried + time.Hour))
		require.Empty(t, b.Queue)
	})
}

// TestRevive has a message that may have arrived, of which the destination said later that it would not have it.
func TestRevive(t *testing.T) {
	t.Parallel()
	config, err := Config{Destinations: quick("http://localhost").Destinations, Update: -1, HealFor: -1}.resolve()
	require.NoError(t, err)
	for _, c := range []struct {
		what      string
		over      bool   // the incident
		delivered bool   // what says so
		want      []Type // that are sent
	}{
		{"it lasts", false, false, []Type{Broke}},
		{"what says that it is over is behind it", true, false, []Type{Broke, Healed}},
		{"that it is over was told", true, true, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			var b Book
			config.observe(&b, result(0, "a"), "", base)
			b.Queue[0].Doubt, b.Queue[0].Dead = true, true
			if c.over {
				config.observe(&b, result(1), "", base)
				require.Len(t, b.Queue, 2)
			}
			if c.delivered {
				b.Queue = b.Queue[:1]
			}
			b.revive("ops", base)
			var sent []Type
			for _, m := range b.Queue {
				require.False(t, m.Dead)
				sent = append(sent, m.Event.Type)
			}
			require.Equal(t, c.want, sent)
		})
	}
}
