package monitor

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"
)

func TestPause(t *testing.T) {
	t.Parallel()
	c := Config{Every: 10 * time.Second, Backoff: time.Second, Random: func() float64 { return 0.5 }}
	for _, test := range []struct {
		took  time.Duration
		share float64
		want  time.Duration
	}{
		{0, 0.1, 0},
		{2 * time.Second, 0.1, 18 * time.Second},
		{time.Minute, 0.5, time.Minute},
		{time.Minute, 1, 0},
		{time.Minute, 1e-9, 24 * time.Hour},
	} {
		require.InDelta(t, test.want, rest(test.took, test.share), 1, "%+v", test)
	}
	for failures, want := range map[int]time.Duration{
		1: 750 * time.Millisecond, 2: 1500 * time.Millisecond, 3: 3 * time.Second, 5: 7500 * time.Millisecond, 1000: 7500 * time.Millisecond,
	} {
		require.Equal(t, want, c.backoff(failures), "%d failures", failures)
	}
	c.Every = time.Millisecond
	require.Equal(t, 750*time.Millisecond, c.backoff(1000))
}

func TestEnough(t *testing.T) {
	t.Parallel()
	now := time.Now()
	config := Config{Share: 0.1, Full: 5 * time.Minute}
	for name, test := range map[string]struct {
		parts parts
		ago   time.Duration
		want  bool
	}{
		"never looked":            {parts{cost: time.Second, ended: time.Time{}}, 0, false},
		"cheap":                   {parts{cost: cheap}, 0, false},
		"too soon":                {parts{cost: time.Second}, 18 * time.Second, true},
		"it is time":              {parts{cost: time.Second}, 19 * time.Second, false},
		"an index tells":          {parts{cost: time.Second, led: true}, 19 * time.Second, true},
		"it told long enough":     {parts{cost: time.Second, led: true}, 5 * time.Minute, false},
		"it is owed, index or no": {parts{cost: time.Second, led: true, owed: true}, 19 * time.Second, false},
	} {
		test.parts.config = &config
		if name != "never looked" {
			test.parts.ended = now.Add(-test.ago)
		}
		require.Equal(t, test.want, test.parts.enough(now), name)
	}
}

// However often looks are to be made, they take no more than their share of the time.
func TestShare(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		every, cost time.Duration
		part        bool
		want        time.Duration
	}{
		"cheap, and seldom":        {10 * time.Second, 90 * time.Millisecond, false, 9910 * time.Millisecond},
		"cheap, and often":         {50 * time.Millisecond, 90 * time.Millisecond, false, 810 * time.Millisecond},
		"dear: parts follow":       {50 * time.Millisecond, 200 * time.Millisecond, false, -150 * time.Millisecond},
		"a part, which has a half": {50 * time.Millisecond, 90 * time.Millisecond, true, 1710 * time.Millisecond},
	} {
		w := newWatcher(&Monitor{config: Config{Every: test.every, Share: 0.1, StatementTimeout: time.Minute, Now: time.Now}}, Watch{Some: "select"})
		w.seen = seen{any: true, part: test.part, cost: test.cost}
		pause, _ := w.pause(test.cost, nil)
		require.InDelta(t, test.want, pause, float64(time.Microsecond), name)
	}
}

// A replica is not said to be level because it has replayed all that comes through to it.
func TestLag(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		standing standing
		want     time.Duration
	}{
		"a primary":                           {standing{replayed: time.Hour}, 0},
		"level, and nothing was written":      {standing{replica: true, level: true, heard: 31 * time.Second, replayed: time.Hour}, 0},
		"level, and our role does not see it": {standing{replica: true, level: true, replayed: time.Hour}, 0},
		"level with what was minutes ago":     {standing{replica: true, level: true, heard: 5 * time.Minute, replayed: time.Hour}, 5 * time.Minute},
		"behind":                              {standing{replica: true, heard: time.Second, replayed: time.Minute}, time.Minute},
		"cut off, and nothing was replayed":   {standing{replica: true}, 0},
		"its clock is behind":                 {standing{replica: true, replayed: -time.Second}, 0},
	} {
		require.Equal(t, test.want, test.standing.lag(), name)
	}
}

// Whatever has come and gone: what a subscriber knows, with the changes that it takes, is what there is.
func TestChangesMerge(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7341, 0))
	for range 200 {
		c := changes{most: 2}
		ch, stop := c.subscribe()
		known, there := map[string]map[string]bool{"a": {}, "b": {}}, map[string]map[string]bool{"a": {}, "b": {}}
		version := uint64(0)
		take := func() {
			change := <-ch
			name := change.Result.Watch.Name
			for _, g := range change.Healed {
				require.True(t, known[name][g.Key], "what heals was broken")
				delete(known[name], g.Key)
			}
			for _, g := range change.Broke {
				require.False(t, known[name][g.Key], "what breaks was not broken")
				known[name][g.Key] = true
			}
		}
		for range 30 {
			if len(ch) > 0 && random.IntN(3) == 0 {
				take()
				continue
			}
			name := []string{"a", "b"}[random.IntN(2)]
			change := Change{Result: Result{Watch: Watch{Name: name}, Version: version}}
			for _, key := range []string{"1", "2", "3"} {
				switch g := (Group{Key: key}); {
				case random.IntN(2) == 0:
				case there[name][key]:
					change.Healed = append(change.Healed, g)
					delete(there[name], key)
				default:
					change.Broke = append(change.Broke, g)
					there[name][key] = true
				}
			}
			version++
			c.publish(change)
			require.LessOrEqual(t, len(ch), 2)
		}
		for len(ch) > 0 {
			take()
		}
		require.Equal(t, there, known)
		stop()
	}
}

// However much there is to say of groups, no more than so much of it is kept.
func TestKeptBytes(t *testing.T) {
	t.Parallel()
	tally := newTally(nil, 100, time.Now())
	for i := range 20 {
		tally.add(Group{Key: fmt.Sprint(i), Members: 1}, bytes.Repeat([]byte(" "), keptBytes/10))
	}
	require.Equal(t, 20, tally.total)
	kept := 0
	for _, g := range tally.groups() {
		kept += len(g.Facts)
		require.Equal(t, len(g.Facts) < keptBytes/10, g.Bare, "it is said of which there are none")
	}
	require.LessOrEqual(t, kept, keptBytes+20*len(nothing))
	require.Len(t, tally.groups(), 20)
}

func TestInstant(t *testing.T) {
	t.Parallel()
	at := time.Date(2025, 11, 10, 19, 0, 0, 0, time.FixedZone("", 9*3600))
	require.Equal(t, "2025-11-10T10:00:00Z", instant(pgtype.Timestamptz{Time: at, Valid: true}).Format(time.RFC3339))
	require.Nil(t, instant(pgtype.Timestamptz{}))
	require.Nil(t, instant(pgtype.Timestamptz{Valid: true, InfinityModifier: pgtype.Infinity}))
	require.Nil(t, instant(pgtype.Timestamptz{Valid: true, Time: at.AddDate(10_000, 0, 0)}), "RFC 3339 has no such years")
	require.Nil(t, instant(pgtype.Timestamptz{Valid: true, Time: at.AddDate(-5_000, 0, 0)}))
}
