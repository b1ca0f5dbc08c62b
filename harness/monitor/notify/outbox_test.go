package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// told writes a message of a watch.
func told(t testing.TB, outbox Outbox, watch, id string) {
	t.Helper()
	require.NoError(t, outbox.Update(t.Context(), watch, func(b *Book) {
		b.State.Incident = id
		b.Queue = append(b.Queue, Message{Destination: "ops", Watch: watch, Event: Event{Format: Format, ID: id, Type: Broke, Incident: id}, Due: base})
	}))
}

// TestOutbox is what each outbox keeps to.
func TestOutbox(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		ctx := t.Context()
		outbox := p.open(t)
		state, err := outbox.Read(ctx, "w")
		require.NoError(t, err)
		require.Zero(t, state)
		c, err := outbox.Claim(ctx, "ops", base, time.Minute)
		require.NoError(t, err)
		require.Zero(t, c)

		for i, id := range []string{"1", "2", "3"} {
			told(t, outbox, []string{"w", "v"}[i%2], id)
		}
		state, err = outbox.Read(ctx, "w")
		require.NoError(t, err)
		require.Equal(t, "3", state.Incident)
		c, err = outbox.Claim(ctx, "ops", base.Add(-time.Second), time.Minute)
		require.NoError(t, err)
		require.Equal(t, base, c.Due.UTC(), "it is too early")

		first, err := outbox.Claim(ctx, "ops", base, time.Hour)
		require.NoError(t, err)
		require.Equal(t, "1", first.Message.Event.ID)
		require.Equal(t, 3, first.Queued)
		c, err = outbox.Claim(ctx, "ops", base, time.Hour)
		require.NoError(t, err)
		require.True(t, c.Taken, "one at a time")
		require.Nil(t, c.Message)

		require.NoError(t, outbox.Finish(ctx, *first.Message, Outcome{Why: "down", Due: base.Add(time.Minute)}))
		c, err = outbox.Claim(ctx, "ops", base, time.Hour)
		require.NoError(t, err)
		require.Nil(t, c.Message, "none overtakes another")
		require.Equal(t, base.Add(time.Minute), c.Due.UTC())
		again, err := outbox.Claim(ctx, "ops", base.Add(time.Minute), time.Hour)
		require.NoError(t, err)
		require.Equal(t, 1, again.Message.Attempts)
		require.False(t, again.Message.Doubt)
		require.NoError(t, outbox.Finish(ctx, *first.Message, Outcome{Dead: true}), "somebody else has it: nothing")
		require.NoError(t, outbox.Finish(ctx, *again.Message, Outcome{Dead: true, Why: "gone"}))
		watches, err := outbox.Watches(ctx)
		require.NoError(t, err)
		require.Equal(t, []string{"v", "w"}, watches)

		for _, want := range []string{"2", "3"} {
			c, err = outbox.Claim(ctx, "ops", base, time.Hour)
			require.NoError(t, err)
			require.Equal(t, want, c.Message.Event.ID)
			require.NoError(t, outbox.Finish(ctx, *c.Message, Outcome{Delivered: true}))
		}
		c, err = outbox.Claim(ctx, "ops", base, time.Hour)
		require.NoError(t, err)
		require.Equal(t, Claim{Dead: 1}, c)
		require.NoError(t, outbox.Close())

		outbox = p.open(t)
		require.NoError(t, outbox.Update(ctx, "w", func(b *Book) {
			require.Len(t, b.Queue, 1)
			require.Equal(t, "gone", b.Queue[0].Why)
			b.Queue = nil
		}))
		c, err = outbox.Claim(ctx, "ops", base, time.Hour)
		require.NoError(t, err)
		require.Zero(t, c)
	})
}

// TestLeaseEnds has an instance that claims a message and is never heard of again.
func TestLeaseEnds(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		ctx := t.Context()
		outbox := p.open(t)
		told(t, outbox, "w", "1")
		lost, err := outbox.Claim(ctx, "ops", base, time.Millisecond)
		require.NoError(t, err)
		require.NotNil(t, lost.Message)
		require.NoError(t, outbox.Close())
		outbox = p.open(t)
		for {
			c, err := outbox.Claim(ctx, "ops", base, time.Minute)
			require.NoError(t, err)
			if c.Message != nil {
				require.True(t, c.Message.Doubt, "it may have arrived")
				require.Equal(t, lost.Message.Event.ID, c.Message.Event.ID)
				break
			}
			require.True(t, c.Taken)
		}
	})
}

// TestNobodyWaitsInACircle has one that claims while another, whose lease has run out, writes how its attempt ended.
func TestNobodyWaitsInACircle(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := servertest.Database(t, "")
	outbox, err := Open(ctx, Store{Database: db.Config("notify"), Create: true})
	require.NoError(t, err)
	defer outbox.Close()
	told(t, outbox, "w", "1")
	first, err := outbox.Claim(ctx, "ops", base, 0)
	require.NoError(t, err)
	require.NotNil(t, first.Message)

	var conns [2]*pgx.Conn
	for i := range conns {
		conns[i], err = db.Connect(ctx, "control")
		require.NoError(t, err)
		defer conns[i].Close(context.Background())
	}
	slow, err := conns[0].Begin(ctx) // somebody who looks at the message
	require.NoError(t, err)
	_, err = slow.Exec(ctx, `select from interlock.notify_message for update`)
	require.NoError(t, err)
	ends := make(chan error, 2)
	waits := func(n int) bool {
		var waiting int
		require.NoError(t, conns[1].QueryRow(ctx, `select count(*) from pg_stat_activity
			where datname = current_database() and application_name = 'interlock notify' and wait_event_type = 'Lock'`).Scan(&waiting))
		return waiting == n
	}
	go func() { ends <- outbox.Finish(ctx, *first.Message, Outcome{Delivered: true}) }()
	require.Eventually(t, func() bool { return waits(1) }, 30*time.Second, time.Millisecond)
	claimed := make(chan Claim, 1)
	go func() {
		c, err := outbox.Claim(ctx, "ops", base, time.Hour)
		claimed <- c
		ends <- err
	}()
	require.Eventually(t, func() bool { return len(claimed) == 1 || waits(2) }, 30*time.Second, time.Millisecond)
	require.NoError(t, slow.Commit(ctx))
	require.NoError(t, <-ends)
	require.NoError(t, <-ends)
	require.Nil(t, (<-claimed).Message, "it was delivered")
}

// TestText has keys and facts of all kinds.
func TestText(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		outbox := p.open(t)
		config, err := Config{Destinations: quick("http://localhost").Destinations, Source: "제세동기 \u2028 😀 <&>"}.resolve()
		require.NoError(t, err)
		r := result(1, "서울-😀", `"'\`, "\u007f\u2028", "")
		far := time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)
		r.Groups[0].First, r.Groups[0].Last = &far, &base
		r.Groups[1].Facts = json.RawMessage(`no JSON`)
		r.Groups[2].Facts = json.RawMessage(`{"a": ["\ud83d\ude00", "😀", null]}`)
		var want Book
		require.NoError(t, outbox.Update(t.Context(), "duplicate-sessions", func(b *Book) {
			config.observe(b, r, "", base)
			want = *b
		}))
		require.NoError(t, outbox.Close())
		outbox = p.open(t)
		require.NoError(t, outbox.Update(t.Context(), "duplicate-sessions", func(b *Book) {
			for i := range b.Queue {
				b.Queue[i].Seq = 0
			}
			for i := range want.Queue {
				want.Queue[i].Seq = 0
			}
			require.JSONEq(t, jsonOf(want.State), jsonOf(b.State))
			require.JSONEq(t, jsonOf(want.Queue), jsonOf(b.Queue))
		}))
		require.Nil(t, want.Queue[0].Event.Groups[0].First)
		require.NotNil(t, want.Queue[0].Event.Groups[0].Last)
		require.Nil(t, want.Queue[0].Event.Groups[1].Facts)
	})
}

// TestEncoding has databases that do not know the characters of what is told.
func TestEncoding(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, "")
	conn, err := db.Connect(t.Context(), "control")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(context.Background())) })
	for _, encoding := range []string{"SQL_ASCII", "LATIN1"} {
		name := db.Name + "_" + strings.ToLower(encoding)
		_, err := conn.Exec(t.Context(), `create database `+name+` template template0 encoding '`+encoding+`' lc_collate 'C' lc_ctype 'C'`)
		require.NoError(t, err)
		t.Cleanup(func() {
			_, err := conn.Exec(context.Background(), `drop database `+name+` with (force)`)
			require.NoError(t, err)
		})
		t.Run(encoding, func(t *testing.T) {
			ops := receive(t, nil)
			database := db.Config("notify")
			database.Database = name
			outbox := place{Store: Store{Database: database, Create: true}}.open(t)
			config := quick(ops.URL)
			config.Source = "제세동기 é 😀"
			n, stop := start(t, config, outbox)
			require.NoError(t, n.Observe(t.Context(), result(0, "서울")))
			settled(t, outbox, "ops")
			require.NoError(t, n.Observe(t.Context(), result(1)))
			settled(t, outbox, "ops")
			stop()
			require.NoError(t, outbox.Close())
			for _, m := range ops.awaitTypes(Broke, Healed) {
				require.Equal(t, config.Source, m.Source)
			}
		})
	}
}

func TestStateFileIsForOneProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notify.json")
	first, err := OpenFile(t.Context(), path)
	require.NoError(t, err)
	_, err = OpenFile(t.Context(), path)
	require.ErrorContains(t, err, "another process has it; try another file")
	require.NoError(t, first.Close())
	again, err := OpenFile(t.Context(), path)
	require.NoError(t, err)
	require.NoError(t, again.Close())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestStateFileThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	outbox, err := OpenFile(t.Context(), filepath.Join(dir, "notify.json"))
	require.NoError(t, err)
	defer outbox.Close()
	told(t, outbox, "w", "1")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "notify.json.next"), 0o700)) // in the way
	err = outbox.Update(t.Context(), "w", func(b *Book) { b.Queue = nil })
	require.ErrorContains(t, err, "try a directory that can be written")
	require.Len(t, outbox.doc.Watches["w"].Queue, 1, "what could not be written did not happen")
	require.NoError(t, os.Remove(filepath.Join(dir, "notify.json.next")))
	require.NoError(t, outbox.Update(t.Context(), "w", func(b *Book) { b.Queue = nil }))
}

func TestStateFileThatIsNone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                            "EOF",
		"{}":                          "no format",
		`{"format": 2}`:               "format 2",
		`{"format": 1} x`:             "something follows",
		`{"format": 1, "watches": 3}`: "cannot unmarshal",
		`{"format": 1, "watches": {`:  "unexpected EOF",
		`{"format": 1, "seq": 1, "watches": {"w": {"queue": [{"seq": 2, "watch": "w"}]}}}`: "does not fit",
	} {
		path := filepath.Join(t.TempDir(), "notify.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := OpenFile(t.Context(), path)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "move it away")
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, string(after))
	}
}

// FuzzDocument reads state files: what is read is written and read as the same.
func FuzzDocument(f *testing.F) {
	full, _ := os.ReadFile(filepath.Join("testdata", "state.json"))
	for _, text := range []string{
		"", "{}", `{"format":1}`, `{"format":1,"seq":-1}`, `{"format":1,"watches":{"":{"state":{}}}}`, `{"format":1,"watches":null} {}`,
		`{"format":1,"seq":1,"watches":{"w":{"queue":[{"seq":1,"destination":"d","watch":"w","event":{"id":"x","groups":[{"facts":{}}]},"due":"2026-11-10T10:00:00Z"}]}}}`,
		`{"format":1,"seq":1,"watches":{"w":{"state":{"groups":{"a":-1},"good":-3,"opened":"0000-01-01T00:00:00Z"}}}}`, string(full),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		doc, err := readDocument(text)
		if err != nil {
			return
		}
		out, err := json.Marshal(doc)
		require.NoError(t, err)
		again, err := readDocument(out)
		require.NoError(t, err)
		twice, err := json.Marshal(again)
		require.NoError(t, err)
		require.Equal(t, string(out), string(twice))
		for watch, book := range doc.Watches { // none of it makes us panic
			for _, m := range book.Queue {
				jsonOf(m)
				slackBody(m.Event)
			}
			book.Queue = upToDate(book.Queue)
			r := result(1, "a")
			r.Watch.Name = watch
			config, _ := Config{Destinations: quick("http://localhost").Destinations}.resolve()
			config.observe(&book, r, "", base)
			config.observe(&book, result(2), "", base)
		}
	})
}

func TestOpen(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, err := Open(ctx, Store{})
	require.ErrorContains(t, err, "try a database that can be written, or a state file")
	nowhere, err := pgx.ParseConfig("postgres://u:verysecret@127.0.0.1:1/d")
	require.NoError(t, err)
	_, err = Open(ctx, Store{Database: nowhere, File: filepath.Join(t.TempDir(), "x")})
	require.ErrorContains(t, err, "try psql")
	require.NotContains(t, err.Error(), "verysecret")

	db := servertest.Database(t, "")
	_, err = Open(ctx, Store{Database: db.Config("notify")})
	require.ErrorIs(t, err, ErrNoTables)
	file, err := Open(ctx, Store{Database: db.Config("notify"), File: filepath.Join(t.TempDir(), "x")})
	require.NoError(t, err)
	require.IsType(t, &File{}, file.(*either).in)
	require.NoError(t, file.Close())
	for range 2 {
		table, err := Open(ctx, Store{Database: db.Config("notify"), Create: true})
		require.NoError(t, err)
		require.IsType(t, &Table{}, table)
		require.NoError(t, table.Close())
	}
	table, err := Open(ctx, Store{Database: db.Config("notify")})
	require.NoError(t, err, "they are there now")
	require.NoError(t, table.Close())
}

// readOnly returns a configuration whose transactions are read only.
func readOnly(db *server.Database) *pgx.ConnConfig {
	config := db.Config("notify")
	config.RuntimeParams["default_transaction_read_only"] = "on"
	return config
}

// TestThereAndBack breaks while the database can be written, goes on with a file while it cannot, and returns.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	type step struct {
		readOnly, nobody bool // nobody: there is no receiver
		keys             []string
	}
	for _, c := range []struct {
		what  string
		steps []step
		want  []Type // what the receiver has got after each step
		after []int
	}{
		{
			"told at once",
			[]step{{keys: []string{"a"}}, {readOnly: true, keys: []string{"a"}}, {readOnly: true}, {}},
			[]Type{Broke, Healed},
			[]int{1, 1, 2, 2},
		},
		{
			"what waits in a file goes to the tables",
			[]step{{readOnly: true, nobody: true, keys: []string{"b"}}, {keys: []string{"b"}}, {}},
			[]Type{Broke, Healed},
			[]int{0, 1, 2},
		},
		{
			"what waits in tables goes to the file",
			[]step{{nobody: true, keys: []string{"a"}}, {readOnly: true}, {}},
			[]Type{BrokeAndHealed},
			[]int{0, 1, 1},
		},
		{
			"and is not told again by the tables",
			[]step{{nobody: true, keys: []string{"a"}}, {readOnly: true, keys: []string{"a"}}, {readOnly: true, keys: []string{"a"}}, {keys: []string{"a"}}, {}},
			[]Type{Broke, Healed},
			[]int{0, 1, 1, 1, 2},
		},
		{
			"it waits there, and comes back as it is by then",
			[]step{{nobody: true, keys: []string{"a"}}, {readOnly: true, nobody: true, keys: []string{"a", "b"}}, {keys: []string{"a", "b"}}},
			[]Type{Broke},
			[]int{0, 0, 1},
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			db := servertest.Database(t, "")
			ops := receive(t, nil)
			nobody, _ := port(t)
			path := filepath.Join(t.TempDir(), "notify.json")
			for minute, s := range c.steps {
				store := Store{Database: db.Config("notify"), Create: true, File: path}
				if s.readOnly {
					store.Database = readOnly(db)
				}
				config := quick(ops.URL)
				if s.nobody {
					config = quick(nobody)
				}
				outbox, err := Open(ctx, store)
				require.NoError(t, err)
				n, err := New(config, outbox)
				require.NoError(t, err)
				require.NoError(t, n.Observe(ctx, result(minute, s.keys...))) // before anything is sent
				stop := run(t, n)
				if !s.nobody {
					settled(t, outbox, "ops")
				}
				stop()
				require.NoError(t, outbox.Close())
				got := ops.awaitTypes(append([]Type(nil), c.want[:c.after[minute]]...)...)
				if len(got) > 0 && got[len(got)-1].Type == Broke {
					require.Len(t, got[len(got)-1].Groups, len(s.keys))
				}
			}
			conn, err := db.Connect(ctx, "control")
			require.NoError(t, err)
			defer conn.Close(ctx)
			var left int
			require.NoError(t, conn.QueryRow(ctx, `select count(*) from interlock.notify_message`).Scan(&left))
			require.Zero(t, left)
		})
	}
}

// TestTakeBack goes through what may be in tables and in the file that took over from them.
func TestTakeBack(t *testing.T) {
	t.Parallel()
	of := func(id string, what Type) Message {
		return Message{Destination: "ops", Watch: "w", Event: Event{Format: Format, ID: id, Type: what, Incident: id}}
	}
	numbered := func(seq int64, m Message) Message { m.Seq = seq; return m }
	claimed := func(m Message) Message { m.Claim = "x"; return m }
	doubtful := func(m Message) Message { m.Doubt = true; return m }
	for _, c := range []struct {
		what       string
		table      []Message
		file, want []Message
		taken      []string
	}{
		{"nothing was taken", []Message{numbered(7, of("1", Broke))}, []Message{numbered(1, of("2", Broke))}, []Message{numbered(7, of("1", Broke)), of("2", Broke)}, nil},
		{"it was told", []Message{numbered(7, of("1", Broke))}, nil, nil, []string{"1"}},
		{"it was not", []Message{numbered(7, of("1", Broke))}, []Message{numbered(1, of("1", Broke))}, []Message{numbered(7, of("1", Broke))}, []string{"1"}},
		{
			"an attempt may have arrived",
			[]Message{numbered(7, of("1", Broke)), numbered(8, claimed(of("2", Broke)))},
			[]Message{numbered(1, claimed(of("1", Broke))), numbered(2, of("2", Broke))},
			[]Message{numbered(7, doubtful(of("1", Broke))), numbered(8, doubtful(of("2", Broke)))},
			[]string{"1", "2"},
		},
		{"another one told it", nil, []Message{numbered(1, of("1", Broke))}, []Message{of("1", Broke)}, []string{"1"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			book := Book{State: State{Seen: base}, Queue: c.table}
			book.takeBack(Book{State: State{Seen: base.Add(-time.Hour), Incident: "old"}, Queue: c.file, Taken: c.taken})
			require.Equal(t, c.want, book.Queue)
			require.Empty(t, book.State.Incident, "what is older says nothing")
		})
	}
}

// roleOn makes a role with no rights on a database, and returns it with what executes SQL there as its owner.
func roleOn(t *testing.T, db *server.Database) (role string, run func(sql string), conn *pgx.Conn) {
	t.Helper()
	conn, err := db.Connect(t.Context(), "control")
	require.NoError(t, err)
	role = "notify_" + db.Name
	run = func(sql string) {
		t.Helper()
		_, err := conn.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err, sql)
	}
	run(`create role ` + role + ` login`)
	t.Cleanup(func() {
		run(`drop owned by ` + role + `; drop role ` + role)
		require.NoError(t, conn.Close(context.Background()))
	})
	return role, run, conn
}

// TestNoRight has a role that may not create anything, and one that may not even see the tables that there are.
func TestNoRight(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := servertest.Database(t, "")
	role, run, conn := roleOn(t, db)
	config := db.Config("notify")
	config.User = role
	file := filepath.Join(t.TempDir(), "x")
	tries := 0
	refused := func(want error, try string) {
		t.Helper()
		_, err := Open(ctx, Store{Database: config, Create: true})
		require.ErrorIs(t, err, want)
		require.ErrorContains(t, err, try)
		outbox, err := Open(ctx, Store{Database: config, Create: true, File: file})
		require.NoError(t, err, "there is a file")
		tries++
		told(t, outbox, "w", fmt.Sprint(tries))
		require.NoError(t, outbox.Close())
	}
	refused(ErrNoTables, "try docs/deploy/role.sql, a role that may create a schema in this database, or a state file")
	table, err := OpenTable(ctx, db.Config("owner"), true)
	require.NoError(t, err)
	require.NoError(t, table.Close())
	refused(ErrNoRight, `try: grant interlock_outbox to "`+role+`"`)
	run(`grant usage on schema interlock to ` + role)
	refused(ErrNoRight, "try: grant")
	run(`grant select on all tables in schema interlock to ` + role)
	refused(ErrNoRight, "try: grant")

	outbox, err := Open(ctx, Store{Database: config, File: file})
	require.NoError(t, err)
	defer outbox.Close()
	run(`grant insert, update, delete on all tables in schema interlock to ` + role)
	require.NoError(t, outbox.(*either).back(ctx), "they may be written now")
	var waiting int
	require.NoError(t, conn.QueryRow(ctx, `select count(*) from interlock.notify_message`).Scan(&waiting))
	require.Equal(t, tries, waiting)
	run(`revoke insert on all tables in schema interlock from ` + role)
	told(t, outbox, "w", "one more") // in the file
	run(`grant insert on all tables in schema interlock to ` + role)
	require.NoError(t, outbox.(*either).back(ctx))
	require.NoError(t, conn.QueryRow(ctx, `select count(*) from interlock.notify_message`).Scan(&waiting))
	require.Equal(t, tries+1, waiting)
}

// TestNoRightAnyMore has a role that may not even read the tables any more, in the middle of an incident: it is one, and is told once.
func TestNoRightAnyMore(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := servertest.Database(t, "")
	role, run, _ := roleOn(t, db)
	table, err := OpenTable(ctx, db.Config("owner"), true)
	require.NoError(t, err)
	require.NoError(t, table.Close())
	may := func() {
		run(`grant usage on schema interlock to ` + role + `; grant select, insert, update, delete on all tables in schema interlock to ` + role)
	}
	may()
	config := db.Config("notify")
	config.User = role
	ops := receive(t, nil)
	outbox := place{Store: Store{Database: config, File: filepath.Join(t.TempDir(), "x")}}.open(t)
	n, stop := start(t, quick(ops.URL), outbox)
	require.NoError(t, n.Observe(ctx, result(0, "a")))
	settled(t, outbox, "ops")
	run(`revoke all on all tables in schema interlock from ` + role)
	require.NoError(t, n.Observe(ctx, result(1, "a")))
	require.IsType(t, &File{}, outbox.(*either).in)
	require.NoError(t, n.Observe(ctx, result(2)))
	settled(t, outbox, "ops")
	may()
	require.NoError(t, outbox.(*either).back(ctx))
	require.NoError(t, n.Observe(ctx, result(3)))
	settled(t, outbox, "ops")
	stop()
	all := ops.awaitTypes(Broke, Healed)
	require.Equal(t, all[0].Incident, all[1].Incident)
}

// TestSchemaOfOurOwn has a role that may create nothing in the database, and was given a schema.
func TestSchemaOfOurOwn(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, "")
	role, run, _ := roleOn(t, db)
	run(`create schema interlock authorization ` + role)
	config := db.Config("notify")
	config.User = role
	outbox := place{Store: Store{Database: config, Create: true}}.open(t)
	told(t, outbox, "w", "1")
	require.NoError(t, outbox.Close())
}
