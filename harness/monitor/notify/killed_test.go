package notify

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/monitor"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

const childVariable = "INTERLOCK_NOTIFY_CHILD"

// orders are what a child is told to do.
type orders struct {
	DSN  string
	File string
	URL  string
}

// child is a notifier in a process of its own: it observes what it reads, and says so once it is safe.
func child() {
	err := func() error {
		ctx := context.Background()
		var o orders
		if err := json.Unmarshal([]byte(os.Getenv(childVariable)), &o); err != nil {
			return err
		}
		store := Store{File: o.File, Create: true}
		if o.DSN != "" {
			database, err := pgx.ParseConfig(o.DSN)
			if err != nil {
				return err
			}
			store.Database = database
		}
		outbox, err := Open(ctx, store)
		if err != nil {
			return err
		}
		config := quick(o.URL)
		config.Timeout = 500 * time.Millisecond // a lease is three times that, and has to run out after a kill
		n, err := New(config, outbox)
		if err != nil {
			return err
		}
		go n.Run(ctx)
		for in := json.NewDecoder(os.Stdin); ; {
			var r monitor.Result
			if err := in.Decode(&r); err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
			if err := n.Observe(ctx, r); err != nil {
				return err
			}
			fmt.Println("safe")
		}
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process is a running child.
type process struct {
	*exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	said *strings.Builder
}

func spawn(t testing.TB, o orders) *process {
	t.Helper()
	text, err := json.Marshal(o)
	require.NoError(t, err)
	p := &process{Cmd: exec.Command(os.Args[0]), said: &strings.Builder{}}
	p.Env = append(os.Environ(), childVariable+"="+string(text))
	p.Stderr = p.said
	p.in, err = p.StdinPipe()
	require.NoError(t, err)
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	p.out = bufio.NewReader(out)
	require.NoError(t, p.Start())
	return p
}

// observe has the child observe a result, and reports whether it said that it is safe.
func (p *process) observe(t testing.TB, r monitor.Result) bool {
	t.Helper()
	text, err := json.Marshal(r)
	require.NoError(t, err)
	if _, err := p.in.Write(append(text, '\n')); err != nil {
		return false // killed
	}
	line, err := p.out.ReadString('\n')
	return err == nil && line == "safe\n"
}

// TestKilled kills a notifier at random moments, while things break and heal and its receiver is not always there.
func TestKilled(t *testing.T) {
	servertest.Slow(t)
	kills := 5
	if servertest.Thorough() {
		kills = 25
	}
	everywhere(t, func(t *testing.T, p place) {
		var mu sync.Mutex
		n := 0
		ops := receive(t, func(_ http.ResponseWriter, g got) int {
			mu.Lock()
			defer mu.Unlock()
			n++
			switch n % 5 {
			case 1:
				return 0 // it has it, and we do not know
			case 3:
				return http.StatusServiceUnavailable
			}
			return http.StatusOK
		})
		o := orders{File: p.File, URL: ops.URL}
		if p.Database != nil {
			o.DSN = dsn(p.Database)
		}
		broken, minute := 0, 0
		look := func(c *process) bool { // and at the same once more, if it does not get to safety
			r := result(minute)
			if minute%2 == 0 {
				r = result(minute, "a", fmt.Sprint(minute))
			}
			if !c.observe(t, r) {
				return false
			}
			broken += 1 - minute%2
			minute++
			if rand.IntN(3) > 0 { // mostly, it gets to tell it before the next look
				ops.told(r.Checked, 100*time.Millisecond)
			}
			return true
		}
		for range kills {
			c := spawn(t, o)
			kill := time.AfterFunc(time.Duration(rand.Int64N(int64(500*time.Millisecond))), func() { c.Process.Kill() })
			for look(c) {
			}
			kill.Stop() // where it ended by itself, which is then said
			require.ErrorContains(t, c.Wait(), "killed", c.said.String())
		}
		c := spawn(t, o)
		for again := true; again; again = minute%2 == 1 { // until all is well
			require.True(t, look(c))
		}
		require.NoError(t, c.in.Close())
		require.NoError(t, c.Wait(), c.said.String())
		outbox := p.open(t)
		config := quick(ops.URL)
		_, stop := start(t, config, outbox)
		settled(t, outbox, "ops")
		stop()

		// A message is that of the receiver once it has read it, whatever it answered.
		type incident struct{ broke, healed, both map[string]bool }
		incidents, order := map[string]*incident{}, []string{}
		seen := map[string]bool{}
		for _, g := range ops.await(func([]got) bool { return true }) {
			i := incidents[g.Incident]
			if i == nil {
				i = &incident{map[string]bool{}, map[string]bool{}, map[string]bool{}}
				incidents[g.Incident] = i
				order = append(order, g.Incident)
			}
			if g.status == http.StatusServiceUnavailable {
				continue // it would not have it
			}
			seen[g.ID] = true
			switch g.Type {
			case Broke:
				i.broke[g.ID] = true
			case Healed:
				i.healed[g.ID] = true
			case BrokeAndHealed:
				i.both[g.ID] = true
			}
		}
		require.Len(t, incidents, broken, "every incident is told")
		for _, id := range order {
			i := incidents[id]
			require.LessOrEqual(t, len(i.broke), 1)
			if len(i.both) > 0 {
				require.Len(t, i.both, 1)
				require.Empty(t, i.broke)
				require.Empty(t, i.healed)
			} else {
				require.Len(t, i.broke, 1)
				require.Len(t, i.healed, 1)
			}
		}
		t.Logf("%d kills, %d incidents, %d messages, sent %d times", kills, broken, len(seen), n)
	})
}

// dsn writes a configuration as another process can read it.
func dsn(c *pgx.ConnConfig) string {
	var b strings.Builder
	for _, pair := range [][2]string{{"host", c.Host}, {"port", fmt.Sprint(c.Port)}, {"user", c.User}, {"password", c.Password}, {"dbname", c.Database}, {"sslmode", "disable"}} {
		if pair[1] != "" {
			fmt.Fprintf(&b, "%s='%s' ", pair[0], strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(pair[1]))
		}
	}
	return b.String()
}
