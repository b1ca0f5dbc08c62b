package notify

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/internal/clock/clocktest"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

func TestBreaksChangesHeals(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		ctx := t.Context()
		ops, slack := receive(t, nil), receive(t, nil)
		config := quick(ops.URL)
		config.Source, config.Link, config.Groups = "production", "https://status.example.org/x?a=1&b=2", 2
		config.Destinations = append(config.Destinations, Destination{Name: "people", Kind: Slack, URL: Hidden(slack.URL + "/services/T0/B0/verysecret")})
		outbox := p.open(t)
		n, _ := start(t, config, outbox)

		require.NoError(t, n.Observe(ctx, result(0)))
		require.NoError(t, n.Observe(ctx, result(1, "a", "b", "c")))
		ops.awaitTypes(Broke)
		settled(t, outbox, "ops", "people")
		require.NoError(t, n.Observe(ctx, result(2, "a", "b", "c")))
		require.NoError(t, n.Observe(ctx, result(3, "b", "d")))
		ops.awaitTypes(Broke, Changed)
		settled(t, outbox, "ops", "people")
		require.Equal(t, []string{"duplicate-sessions"}, []string{n.Status().Incidents[0].Watch})
		require.NoError(t, n.Observe(ctx, result(4)))
		require.NoError(t, n.Observe(ctx, result(5)))
		all := ops.awaitTypes(Broke, Changed, Healed)
		settled(t, outbox, "ops", "people")

		broke, changed, healed := all[0].Event, all[1].Event, all[2].Event
		require.Equal(t, broke.Incident, changed.Incident)
		require.Equal(t, broke.Incident, healed.Incident)
		require.Equal(t, Tally{3, 6}, broke.Now)
		require.Len(t, broke.Groups, 2)
		require.JSONEq(t, `{"by": "me"}`, string(broke.Groups[0].Facts))
		require.Equal(t, "production: S1 duplicate-sessions is broken: 3 groups, 6 members.", broke.Text)
		require.Equal(t, "production: S1 duplicate-sessions is still broken: 2 groups, 4 members; it was 3 groups, 6 members when last told: 1 new, 2 gone.", changed.Text)
		require.Equal(t, "production: S1 duplicate-sessions holds again: 3 groups, 6 members at most; it was broken for 3m0s.", healed.Text)
		require.Empty(t, healed.Groups)

		said := slack.await(func(all []got) bool { return len(all) == 3 })
		require.Contains(t, said[0].body, "`a`: 2 members")
		require.Contains(t, said[0].body, `And 1 group more.`)
		require.NotContains(t, said[0].header, SignatureHeader)
		require.Contains(t, said[2].body, "holds again")
		status := n.Status()
		require.Empty(t, status.Incidents)
		require.Empty(t, status.Trouble)
		for _, d := range status.Destinations {
			require.Equal(t, uint64(3), d.Delivered)
			require.Zero(t, d.Failed)
		}
	})
}

// TestRestart breaks, stops, and looks again at what became of it.
func TestRestart(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		ctx := t.Context()
		ops := receive(t, nil)
		minute := 0
		once := func(looks ...[]string) {
			outbox := p.open(t)
			n, stop := start(t, quick(ops.URL), outbox)
			for _, keys := range looks {
				minute++
				require.NoError(t, n.Observe(ctx, result(minute, keys...)))
			}
			settled(t, outbox, "ops")
			stop()
			require.NoError(t, outbox.Close())
		}
		broken, whole := []string{"a"}, []string{}
		once(broken)
		once(broken, broken)
		ops.awaitTypes(Broke)
		once(whole, whole)
		once(whole)
		ops.awaitTypes(Broke, Healed)
		once(broken)
		once(broken, whole, broken)
		all := ops.awaitTypes(Broke, Healed, Broke, Healed, Broke)
		require.NotEqual(t, all[0].Incident, all[2].Incident)
	})
}

func TestReceiverDown(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		ctx := t.Context()
		url, listen := port(t)
		outbox := p.open(t)
		n, stop := start(t, quick(url), outbox)
		require.NoError(t, n.Observe(ctx, result(0, "a")))
		failing(t, n)
		require.NoError(t, n.Observe(ctx, result(1, "a", "b")))
		require.NoError(t, n.Observe(ctx, result(2)))
		require.NoError(t, n.Observe(ctx, result(3, "c")))
		require.NoError(t, n.Observe(ctx, result(4, "c", "d")))
		stop() // and while it is down, we are
		require.NoError(t, outbox.Close())
		outbox = p.open(t)
		n, _ = start(t, quick(url), outbox)
		failing(t, n)

		r := &receiver{TB: t, changed: make(chan struct{})}
		listen(r)
		all := r.await(func(all []got) bool { return len(all) >= 2 && all[len(all)-1].Now.Groups == 2 })
		settled(t, outbox, "ops")
		ids := map[string]Type{}
		for _, g := range all {
			ids[g.Incident+g.ID] = g.Type
		}
		require.Equal(t, BrokeAndHealed, all[0].Type, "%v", types(all))
		require.Equal(t, Tally{2, 4}, all[0].Most)
		require.Equal(t, Broke, all[1].Type)
		require.Len(t, ids, len(all), "each once")
	})
}

// failing waits for an attempt that fails.
func failing(t testing.TB, n *Notifier) DestinationStatus {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if d := n.Status().Destinations[0]; d.Failed > 0 {
			return d
		}
		require.True(t, time.Now().Before(deadline), "no attempt fails")
	}
}

// TestLostAnswer is a receiver that takes the message, and whose answer is lost.
func TestLostAnswer(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		ctx := t.Context()
		var mu sync.Mutex
		lost, healing := 0, make(chan struct{})
		ops := receive(t, func(_ http.ResponseWriter, g got) int {
			mu.Lock()
			defer mu.Unlock()
			if lost++; lost == 1 {
				return 0
			}
			if lost == 2 {
				<-healing
			}
			return http.StatusOK
		})
		outbox := p.open(t)
		n, _ := start(t, quick(ops.URL), outbox)
		require.NoError(t, n.Observe(ctx, result(0, "a")))
		failing(t, n)
		require.NoError(t, n.Observe(ctx, result(1)))
		close(healing)
		all := ops.await(func(all []got) bool { return len(all) == 3 })
		settled(t, outbox, "ops")
		require.Equal(t, []Type{Broke, Broke, Healed}, types(all))
		require.Equal(t, all[0].ID, all[1].ID)
		require.Equal(t, all[0].body, all[1].body)
	})
}

// TestRetryAfter has a receiver that asks for an hour, and one that asks for nothing.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, c := range []struct {
		status int
		header string
		want   time.Duration
	}{
		{429, "3600", time.Hour},
		{503, base.Add(30 * time.Minute).Format(http.TimeFormat), 30 * time.Minute},
		{503, base.Add(2 * time.Hour).Format(http.TimeFormat), longest},
		{429, "99999999999999999999", longest},
		{429, "", 3 * time.Second / 4}, // of a backoff of 1 s, half and half of a half
		{429, "soon", 3 * time.Second / 4},
		{500, "3600", 3 * time.Second / 4},
		{408, "", 3 * time.Second / 4},
	} {
		t.Run(fmt.Sprint(c.status, " ", c.header), func(t *testing.T) {
			t.Parallel()
			clock := clocktest.New(base)
			ops := receive(t, func(w http.ResponseWriter, _ got) int {
				if clock.Now().Before(base.Add(c.want)) {
					w.Header().Set("Retry-After", c.header)
					return c.status
				}
				return http.StatusOK
			})
			config := quick(ops.URL)
			config.Clock, config.Random, config.Backoff, config.MaxBackoff = clock, func() float64 { return 0.5 }, 0, 0
			config.Poll = 100 * time.Hour
			n, _ := start(t, config, place{Store{File: t.TempDir() + "/state.json"}, "file"}.open(t))
			require.NoError(t, n.Observe(ctx, result(0, "a")))
			clock.WaitingUntil(t, base.Add(c.want))
			require.Contains(t, n.Status().Destinations[0].Why, fmt.Sprint("answered ", c.status))
			goOn(t, clock, c.want, func() bool { return n.Status().Destinations[0].Delivered == 1 })
			require.Len(t, ops.await(func(all []got) bool { return len(taken(all)) == 1 }), 2)
		})
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for _, random := range []float64{0, 0.999999} {
		config, err := Config{Random: func() float64 { return random }}.resolve()
		require.NoError(t, err)
		s := sender{Notifier: &Notifier{config: config}}
		var all []time.Duration
		for attempts := range 100 {
			all = append(all, s.backoff(attempts+1, config.MaxBackoff).Round(time.Millisecond))
		}
		want := []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300}
		for i := range want {
			want[i] *= time.Second
			if random == 0 {
				want[i] /= 2
			}
		}
		require.Equal(t, want, all[:len(want)])
		require.Equal(t, want[len(want)-1], all[99])
	}
}

// TestLateUpdate is told though nobody looks any more.
func TestLateUpdate(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	clock := clocktest.New(base)
	ops := receive(t, nil)
	config := quick(ops.URL)
	config.Clock, config.Update, config.Poll = clock, 0, 100*time.Hour
	outbox := place{Store{File: t.TempDir() + "/state.json"}, "file"}.open(t)
	n, _ := start(t, config, outbox)
	require.NoError(t, n.Observe(ctx, result(0, "a")))
	ops.awaitTypes(Broke)
	settled(t, outbox, "ops")
	require.NoError(t, n.Observe(ctx, result(1, "a", "b")))
	require.NoError(t, n.Observe(ctx, result(2, "a", "b", "c")))
	clock.WaitingUntil(t, base.Add(15*time.Minute))
	goOn(t, clock, 15*time.Minute, func() bool { return n.Status().Destinations[0].Delivered == 2 })
	all := ops.awaitTypes(Broke, Changed)
	require.Equal(t, 3, all[1].Now.Groups)
}

// TestGone has a receiver that would not have it, which is asked once more at each start.
func TestGone(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		ctx := t.Context()
		ops := receive(t, func(http.ResponseWriter, got) int { return http.StatusGone })
		var log bytes.Buffer
		config := quick(ops.URL + "/very/hushhush")
		config.Log = slog.New(slog.NewTextHandler(&log, nil))
		outbox := p.open(t)
		n, stop := start(t, config, outbox)
		require.NoError(t, n.Observe(ctx, result(0, "a")))
		settled(t, outbox, "ops")
		require.NoError(t, n.Observe(ctx, result(1)))
		settled(t, outbox, "ops")
		require.Len(t, ops.await(func(all []got) bool { return len(all) == 2 }), 2)
		stop()
		d := n.Status().Destinations[0]
		require.Equal(t, 1, d.Dead)
		require.Zero(t, d.Queued)
		require.Contains(t, d.DeadWhy, "answered 410")
		require.Contains(t, log.String(), "it will not be told")
		require.NotContains(t, log.String(), "hushhush")

		_, stop = start(t, config, outbox)
		all := ops.await(func(all []got) bool { return len(all) == 3 })
		require.Equal(t, BrokeAndHealed, all[2].Type)
		settled(t, outbox, "ops")
		stop()
		require.Len(t, ops.await(func(all []got) bool { return true }), 3, "once")
		elsewhere := receive(t, nil)
		start(t, quick(elsewhere.URL), outbox)
		all = elsewhere.awaitTypes(BrokeAndHealed)
		require.Equal(t, all[0].Most, Tally{1, 2})
		settled(t, outbox, "ops")
	})
}

// TestRefused has a receiver that refuses, as while it is being set up: it has a day to.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusFound} {
		for _, hours := range []int{1, 23, 24} {
			t.Run(fmt.Sprint(status, " for ", hours, " hours"), func(t *testing.T) {
				t.Parallel()
				clock := clocktest.New(base)
				ops := receive(t, func(http.ResponseWriter, got) int {
					if clock.Now().Before(base.Add(time.Duration(hours) * time.Hour)) {
						return status
					}
					return map[bool]int{true: http.StatusOK, false: status}[hours < 24]
				})
				config := quick(ops.URL)
				config.Clock, config.Backoff, config.MaxBackoff = clock, 0, 0
				n, _ := start(t, config, place{Store{File: t.TempDir() + "/state.json"}, "file"}.open(t))
				require.NoError(t, n.Observe(t.Context(), result(0, "a")))
				failing(t, n)
				require.Zero(t, n.Status().Destinations[0].Dead)
				d := n.Status().Destinations[0]
				for ; d.Delivered+uint64(d.Dead) == 0; d = n.Status().Destinations[0] {
					clock.Waiting(t, 3) // all there are: nothing is under way
					clock.Move(clock.Now().Add(20 * time.Minute))
				}
				require.Equal(t, hours < 24, d.Delivered == 1, "%+v", d)
				require.Less(t, d.Failed, uint64(60), "it is not pressed")
				if d.Dead > 0 { // nor does the next one get a day of its own
					require.NoError(t, n.Observe(t.Context(), result(1)))
					goOn(t, clock, time.Millisecond, func() bool {
						after := n.Status().Destinations[0]
						return after.Failed == d.Failed+1 && after.Dead == 1
					})
				}
			})
		}
	}
}

// TestWrongClock has a message that a clock has put off for years.
func TestWrongClock(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		outbox := p.open(t)
		told(t, outbox, "w", "1")
		require.NoError(t, outbox.Update(t.Context(), "w", func(b *Book) { b.Queue[0].Due = base.AddDate(10, 0, 0) }))
		c, err := outbox.Claim(t.Context(), "ops", base, time.Minute)
		require.NoError(t, err)
		require.NotNil(t, c.Message)
	})
}

// TestStart makes due what waits, and leaves aside what waits for a destination that there is none of, which is kept for a while.
func TestStart(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		ops := receive(t, nil)
		outbox := p.open(t)
		clock := clocktest.New(base.Add(buried))
		told(t, outbox, "w", "1")
		require.NoError(t, outbox.Update(t.Context(), "w", func(b *Book) {
			for _, m := range []Message{
				{Destination: "ops", Event: Event{ID: "2", Type: Broke, Incident: "2", Seen: base.Add(-time.Hour)}, Dead: true},
				{Destination: "before", Event: Event{ID: "3", Type: Broke, Incident: "3", Seen: base.Add(-time.Hour)}},
				{Destination: "before", Event: Event{ID: "4", Type: Broke, Incident: "4", Seen: base.Add(time.Hour)}},
			} {
				m.Watch, m.Event.Format = "w", Format
				b.Queue = append(b.Queue, m)
			}
			b.Queue[0].Event.Seen, b.Queue[0].Due = base, clock.Now().Add(time.Hour)
		}))
		var log bytes.Buffer
		config := quick(ops.URL)
		config.Clock, config.Log = clock, slog.New(slog.NewTextHandler(&log, nil))
		n, stop := start(t, config, outbox)
		goOn(t, clock, time.Millisecond, func() bool { return n.Status().Destinations[0].Delivered == 1 })
		stop()
		require.Len(t, ops.awaitTypes(Broke), 1)
		require.Contains(t, log.String(), "destination=before watch=w waiting=1 dropped=1")
		left, err := waiting(t.Context(), outbox, "before")
		require.NoError(t, err)
		require.Equal(t, 1, left)
	})
}

// TestBuried has a dead message that grows old.
func TestBuried(t *testing.T) {
	t.Parallel()
	clock := clocktest.New(base)
	ops := receive(t, func(http.ResponseWriter, got) int { return http.StatusGone })
	config := quick(ops.URL)
	config.Clock = clock
	n, _ := start(t, config, place{Store{File: t.TempDir() + "/state.json"}, "file"}.open(t))
	require.NoError(t, n.Observe(t.Context(), result(0, "a")))
	goOn(t, clock, time.Hour, func() bool { return n.Status().Destinations[0].Dead == 1 })
	goOn(t, clock, 6*time.Hour, func() bool { return n.Status().Destinations[0].Dead == 0 })
	require.Less(t, clock.Now().Sub(base), buried+10*day)
}

// TestTwoInstances has two that see the same, and each message once.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := place{Store{Database: servertest.Database(t, "").Config("notify"), Create: true}, "table"}
	ops := receive(t, nil)
	var both [2]*Notifier
	var outboxes [2]Outbox
	var opening sync.WaitGroup
	for i := range both {
		opening.Go(func() { // both find no tables
			outbox, err := Open(ctx, p.Store)
			if err != nil {
				t.Error(err)
				return
			}
			outboxes[i] = outbox
		})
	}
	opening.Wait()
	for i := range both {
		require.NotNil(t, outboxes[i])
		t.Cleanup(func() { outboxes[i].Close() })
		both[i], _ = start(t, quick(ops.URL), outboxes[i])
	}
	var want []Type
	for minute := range 10 {
		var wg sync.WaitGroup
		for _, n := range both {
			wg.Go(func() {
				r := result(minute, "a")
				if minute%2 == 1 {
					r = result(minute)
				}
				if err := n.Observe(ctx, r); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		settled(t, outboxes[0], "ops")
		want = append(want, []Type{Broke, Healed}[minute%2])
		ops.awaitTypes(want...)
	}
	ids := map[string]bool{}
	for _, g := range ops.awaitTypes(want...) {
		ids[g.ID] = true
	}
	require.Len(t, ids, 10)
}

// switching returns functions that switch a database to read only, or back, for who connects from then on, and that end the sessions of notifiers.
func switching(t *testing.T, db *server.Database) (readOnly func(bool), end func()) {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), servertest.Server(t).Config("postgres", "control"))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	do := func(sql string, args ...any) {
		if _, err := conn.Exec(context.Background(), sql, args...); err != nil {
			t.Error(err)
		}
	}
	readOnly = func(is bool) {
		do(fmt.Sprintf(`alter database %s set default_transaction_read_only = %t`, pgx.Identifier{db.Name}.Sanitize(), is))
	}
	return readOnly, func() {
		do(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'interlock notify' and datname = $1`, db.Name)
	}
}

// TestReadOnlyBeforeTheEnd takes the right to write away while a message is on its way: that it arrived is written as soon as it can be.
func TestReadOnlyBeforeTheEnd(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, "")
	readOnly, end := switching(t, db)
	ops := receive(t, func(http.ResponseWriter, got) int {
		readOnly(true)
		end()
		return http.StatusOK
	})
	outbox := place{Store{Database: db.Config("notify"), Create: true}, "table"}.open(t)
	config := quick(ops.URL)
	config.Poll = time.Hour
	n, _ := start(t, config, outbox)
	require.NoError(t, n.Observe(t.Context(), result(0, "a")))
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(n.Status().Destinations[0].Why, ErrReadOnly.Error()); time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "%+v", n.Status())
	}
	readOnly(false)
	deadline := time.Now().Add(30 * time.Second)
	for left, err := 1, error(nil); left > 0 || err != nil; { // a connection may be gone still
		left, err = waiting(t.Context(), outbox, "ops")
		require.True(t, time.Now().Before(deadline), "%+v", n.Status())
	}
	ops.awaitTypes(Broke)
}

// TestReadOnlyInTheMiddle takes the right to write away, and gives it back, where there is no file.
func TestReadOnlyInTheMiddle(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := servertest.Database(t, "")
	readOnly, end := switching(t, db)
	p := place{Store{Database: db.Config("notify"), Create: true}, "table"}
	ops := receive(t, nil)
	outbox := p.open(t)
	n, _ := start(t, quick(ops.URL), outbox)
	require.NoError(t, n.Observe(ctx, result(0, "a")))
	ops.awaitTypes(Broke)
	settled(t, outbox, "ops")

	readOnly(true)
	end()
	troubled := func() bool { return strings.Contains(n.Status().Trouble, ErrReadOnly.Error()) }
	require.Eventually(t, troubled, 30*time.Second, time.Millisecond, "it is known before there is anything to tell")
	require.ErrorIs(t, n.Observe(ctx, result(1)), ErrReadOnly)
	require.Error(t, n.Observe(ctx, result(2, "b")))
	require.NotEmpty(t, n.Status().Trouble)
	require.Positive(t, n.Status().Waiting)
	_, err := Open(ctx, p.Store)
	require.ErrorIs(t, err, ErrReadOnly)
	require.ErrorContains(t, err, "try a state file")
	ops.awaitTypes(Broke)

	readOnly(false) // and the sessions of before are left as they are
	all := ops.await(func(all []got) bool { return len(all) >= 3 })
	require.Equal(t, []Type{Broke, Healed, Broke}, types(all))
	settled(t, outbox, "ops")
	require.Eventually(t, func() bool { return n.Status().Trouble == "" }, 30*time.Second, time.Millisecond)
}

// TestFileMeanwhile takes the right to write away, again and again, and gives it back: messages go through the file then, and none is told twice.
func TestFileMeanwhile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := servertest.Database(t, "")
	readOnly, end := switching(t, db)
	var inTheMiddle atomic.Bool
	ops := receive(t, func(http.ResponseWriter, got) int {
		if inTheMiddle.Swap(false) {
			readOnly(true)
			end()
		}
		return http.StatusOK
	})
	outbox, err := Open(ctx, Store{Database: db.Config("notify"), Create: true, File: filepath.Join(t.TempDir(), "notify.json")})
	require.NoError(t, err)
	defer outbox.Close()
	n, _ := start(t, quick(ops.URL), outbox)
	in := func(file bool) {
		t.Helper()
		require.Eventually(t, func() bool {
			e := outbox.(*either)
			e.mu.RLock()
			defer e.mu.RUnlock()
			_, is := e.in.(*File)
			return is == file
		}, 30*time.Second, time.Millisecond)
	}
	var want []Type
	observe := func(minute int, keys ...string) {
		t.Helper()
		require.Eventually(t, func() bool { return n.Observe(ctx, result(minute, keys...)) == nil }, 30*time.Second, time.Millisecond, "a session may be gone")
		want = append(want, Healed)
		if len(keys) > 0 {
			want[len(want)-1] = Broke
		}
		ops.awaitTypes(want...)
	}
	for round := range 3 {
		minute := 10 * round
		observe(minute, "a")
		readOnly(true)
		end()
		in(true)
		require.Eventually(t, func() bool { return n.Status().Trouble == "" }, 30*time.Second, time.Millisecond)
		observe(minute + 1)
		observe(minute+2, "b")
		readOnly(false)
		in(false)
		observe(minute + 3)
	}
	inTheMiddle.Store(true) // the end of this one is written to the file
	observe(100, "c")
	in(true)
	settled(t, outbox, "ops")
	readOnly(false)
	in(false)
	observe(101)
	settled(t, outbox, "ops")
	ids := map[string]bool{}
	for _, g := range ops.awaitTypes(want...) {
		ids[g.ID] = true
	}
	require.Len(t, ids, len(want))
}
