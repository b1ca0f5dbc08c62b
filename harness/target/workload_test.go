package target_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/target"
)

const drawn = `
name: bookings/test
database: {schema: schema.sql}
application: {command: [node], environment: {U: "{{proxy_url}}", P: "{{port}}"}}
reset: {sql: "insert into things (name) values ('a'); insert into things (name) values ('b')"}
generators:
  device: {choice: [AED-1, AED-2, "3"]}
  minutes: {range: [5, 60]}
  at: {time: {from: "2026-01-05T10:00:00+09:00", within: 31m, near: 30m}}
  room: {choice: [1, true, null], shared: true}
  unused: {range: [0, 1000000]}
clients:
  - copies: 2
    requests:
      - name: book
        path: "/book/{{device}}"
        json: {at: "{{at}}", minutes: "{{minutes}}", room: "{{room}}"}
        capture: {id: $.id}
        slot: "{{device}}"
      - {name: look, path: /look}
      - {name: move, path: "/move/{{id}}", json: {minutes: "{{minutes}}"}}
  - {copies: 2, requests: [{name: look, path: "/look?room={{room}}"}]}
  - {name: job, command: [job, "{{device}}"]}
`

func parse(t testing.TB, text string) *target.File {
	t.Helper()
	f, err := target.Parse("target.yaml", []byte(text))
	require.NoError(t, err)
	return f
}

func workload(t testing.TB, text string) race.Workload {
	t.Helper()
	w, err := parse(t, text).Workload(nil)
	require.NoError(t, err)
	return w
}

// input reads an input.
func input(t testing.TB, in race.Input) target.Input {
	t.Helper()
	var plain target.Input
	require.NoError(t, json.Unmarshal(in.JSON(), &plain))
	return plain
}

func TestInputsSurviveAFile(t *testing.T) {
	t.Parallel()
	w := workload(t, drawn)
	require.Equal(t, "bookings/test", w.FullName())
	properties := gopter.NewProperties(nil)
	properties.Property("what is read is what was written, and says the same", prop.ForAll(func(seed int64) bool {
		in, err := w.Generate(seed)
		require.NoError(t, err)
		again, err := w.Decode(in.JSON())
		require.NoError(t, err)
		require.Equal(t, in, again)
		same, err := w.Generate(seed)
		require.NoError(t, err)
		require.Equal(t, in, same)
		was, err := json.Marshal(operations(w.Scenario(in)))
		require.NoError(t, err)
		is, err := json.Marshal(operations(w.Scenario(again)))
		require.NoError(t, err)
		require.Equal(t, string(was), string(is))
		return true
	}, gen.Int64()))
	properties.TestingRun(t)
}

// operations returns what the clients of a scenario do, to be compared.
func operations(s race.Scenario) (all [][]any) {
	for _, c := range s.Clients {
		ops := []any{c.Name, c.Mark}
		for _, op := range c.Operations {
			ops = append(ops, op.Kind, op.Slot, op.Subject, op.Input)
		}
		all = append(all, ops)
	}
	return all
}

// Shrinking ends, and never leaves fewer than two clients, a client with nothing to do, or a request without what it needs of an earlier one.
func TestShrinks(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	w := workload(t, drawn)
	parameters := gopter.DefaultTestParameters()
	parameters.MinSuccessfulTests = 15 // each of hundreds of inputs
	properties := gopter.NewProperties(parameters)
	properties.Property("all the way down", prop.ForAll(func(seed int64, choose []uint8) bool {
		in, err := w.Generate(seed)
		require.NoError(t, err)
		for step := 0; ; step++ {
			require.Less(t, step, 200)
			var simpler []race.Input
			for next := range w.Shrinks(in) {
				plain := input(t, next)
				require.GreaterOrEqual(t, len(plain.Clients), 2)
				for _, c := range plain.Clients {
					require.NotEmpty(t, c.Requests)
					if last := c.Requests[len(c.Requests)-1]; last.Name == "move" {
						require.Equal(t, "book", c.Requests[0].Name)
						require.Contains(t, string(last.Body), string(c.Values["minutes"]))
					}
					require.NotContains(t, c.Values, "unused")
				}
				simpler = append(simpler, next)
			}
			if len(simpler) == 0 {
				for _, c := range input(t, in).Clients {
					require.Len(t, c.Requests, 1)
					for name, simplest := range map[string]string{"device": `"AED-1"`, "minutes": "5", "room": "1", "at": `"2026-01-05T10:00:00+09:00"`} {
						if value, ok := c.Values[name]; ok {
							require.Equal(t, simplest, string(value))
						}
					}
				}
				return len(input(t, in).Clients) == 2
			}
			pick := 0
			if step < len(choose) {
				pick = int(choose[step]) % len(simpler)
			}
			in = simpler[pick]
		}
	}, gen.Int64(), gen.SliceOf(gen.UInt8())))
	properties.TestingRun(t)
}

// Values are within their bounds, near their boundaries often, and clients are often about the same thing.
func TestDraws(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	w := workload(t, drawn)
	from := time.Date(2026, 1, 5, 1, 0, 0, 0, time.UTC)
	seen := map[string]int{}
	const inputs = 500
	for seed := range int64(inputs) {
		in, err := w.Generate(seed)
		require.NoError(t, err)
		plain := input(t, in)
		require.Len(t, plain.Clients, 5)
		for _, c := range plain.Clients {
			if room, ok := c.Values["room"]; ok {
				require.Equal(t, plain.Clients[0].Values["room"], room)
				seen["room "+string(room)]++
			}
			seen["device "+string(c.Values["device"])]++
			var at time.Time
			if c.Values["at"] == nil {
				continue
			}
			require.NoError(t, json.Unmarshal(c.Values["at"], &at))
			require.Contains(t, string(c.Values["at"]), "+09:00")
			offset := at.Sub(from)
			require.LessOrEqual(t, offset.Abs(), 31*time.Minute)
			for _, about := range []time.Duration{30 * time.Minute, 30*time.Minute - time.Millisecond, 30*time.Minute + time.Millisecond} {
				if offset.Abs() == about {
					seen["at "+about.String()]++
				}
			}
			var minutes int
			require.NoError(t, json.Unmarshal(c.Values["minutes"], &minutes))
			require.True(t, minutes >= 5 && minutes <= 60, minutes)
			if c.Copy == 2 && string(c.Values["minutes"]) == string(plain.Clients[0].Values["minutes"]) {
				seen["same"]++
			}
		}
	}
	for _, what := range []string{
		"room 1", "room true", "room null", `device "AED-1"`, `device "AED-2"`, `device "3"`, "at 30m0s", "at 29m59.999s", "at 30m0.001s", "same",
	} {
		require.Greater(t, seen[what], 20, what)
	}
}

func TestContending(t *testing.T) {
	t.Parallel()
	w := workload(t, drawn)
	for clients, names := range map[int][]string{2: {"A", "A 2"}, 4: {"A", "A 2", "B", "B 2"}, 7: {"A", "A 2", "B", "B 2", "job", "A 3", "B 3"}} {
		in, ok := w.Contend(clients, 1)
		require.True(t, ok)
		plain := input(t, in)
		var got []string
		for _, c := range plain.Clients {
			got = append(got, c.Name)
		}
		require.Equal(t, names, got)
		require.Equal(t, "/book/AED-1", plain.Clients[1].Requests[0].Path)
		require.JSONEq(t, `{"at": "2026-01-05T10:00:00+09:00", "minutes": 5, "room": 1}`, string(plain.Clients[1].Requests[0].Body))
		s := w.Scenario(in)
		require.Equal(t, s.Clients[0].Operations[0].Slot, s.Clients[1].Operations[0].Slot)
	}
}

func TestStartPutsRowsInPlace(t *testing.T) {
	t.Parallel()
	f := parse(t, drawn)
	w, err := f.Workload(nil)
	require.NoError(t, err)
	in, err := w.Generate(1)
	require.NoError(t, err)
	db := servertest.Database(t, `create table things (name text)`)
	conn, err := db.Connect(t.Context(), "test")
	require.NoError(t, err)
	defer conn.Close(context.Background())
	s := w.Scenario(in)
	require.Same(t, f.System(), s.System)
	require.NoError(t, s.Start(t.Context(), conn))
	var things int
	require.NoError(t, conn.QueryRow(t.Context(), "select count(*) from things").Scan(&things))
	require.Equal(t, 2, things)
	_, err = conn.Exec(t.Context(), "drop table things")
	require.NoError(t, err)
	require.ErrorContains(t, s.Start(t.Context(), conn), `target.yaml: the SQL of reset: ERROR: relation "things" does not exist`)
}

// A counterexample of a file that has changed says so when it is run.
func TestAnotherFile(t *testing.T) {
	t.Parallel()
	in, err := workload(t, drawn).Generate(1)
	require.NoError(t, err)
	for change, says := range map[string]string{
		"name: look->name: see":    `target.yaml: client A has no request 1 called "look" any more; try making the run again`,
		"name: job->name: another": `target.yaml has no client "job" any more; try making the run again`,
	} {
		old, changed, _ := strings.Cut(change, "->")
		w := workload(t, strings.ReplaceAll(drawn, old, changed))
		again, err := w.Decode(in.JSON())
		require.NoError(t, err)
		s := w.Scenario(again)
		require.Len(t, s.Clients, 5)
		require.ErrorContains(t, s.Start(t.Context(), nil), says)
		for range w.Shrinks(again) { // it must not panic
		}
	}
}

func TestInvariants(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("testdata", "valid", "everything.yaml"))
	require.NoError(t, err)
	f, err := target.Parse("testdata/valid/everything.yaml", text)
	require.NoError(t, err)
	known := map[string]race.Invariant{"S1": {Name: "S1"}, "S2": {Name: "S2", Says: "theirs"}}
	w, err := f.Workload(known)
	require.NoError(t, err)
	in, ok := w.Contend(2, 1)
	require.True(t, ok)
	s := w.Scenario(in)
	require.Equal(t, []race.Invariant{
		{Name: "S1", Says: "at most one open session per device", SQL: "select device from sessions group by 1 having count(*) > 1"},
		{Name: "nobody is told 500", SQL: "select * from interlock_outcomes where outcome = 'failed'", Outcomes: true},
		{Name: "S2", Says: "theirs"},
	}, s.Invariants)
	_, err = f.Workload(map[string]race.Invariant{"S1": {}})
	var wrong target.Errors
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, `testdata/valid/everything.yaml:54:10: there is no invariant "S2" to be used`+"\n  - use: S2\n         ^\ntry: S1", err.Error())
	_, err = f.Workload(nil)
	require.ErrorContains(t, err, "try: an invariant of its own, with name and sql")

	// What the file says of the application and its database.
	require.Equal(t, filepath.Join("..", "..", "migrations", "sql"), f.Database.Migrations)
	require.EqualValues(t, 2, f.Database.At)
	h := f.System().Habits()
	require.True(t, h.Cold)
	require.False(t, f.Warm())
	require.Equal(t, 50*time.Millisecond, h.Settle)
	require.Empty(t, h.Listen)
	require.Len(t, h.Background, 2)
	require.True(t, h.Background[0].SQL.MatchString("SELECT 1"))
	require.True(t, h.Background[1].Freeze)
}

// Of a file that says nothing about answers that are failed, S3 must hold; one that does has the last word.
func TestUnexpected(t *testing.T) {
	t.Parallel()
	known := map[string]race.Invariant{"S3": {Name: "S3", SQL: "s3", Outcomes: true}, "S1": {Name: "S1", SQL: "s1"}}
	added := race.Invariant{Name: "S3", SQL: "s3", Outcomes: true, Undisturbed: true}
	rows := race.Invariant{Name: "rows", SQL: "select 1 from x where state = 'failed'"}
	told := race.Invariant{Name: "told", SQL: "select 1 from interlock_outcomes where outcome = 'failed'", Outcomes: true}
	for invariants, want := range map[string][]race.Invariant{
		"":                        {added},
		"invariants: []":          {added},
		"invariants: [{use: S1}]": {known["S1"], added},
		"invariants: [{use: S3}]": {known["S3"]},
		"invariants: [{name: rows, sql: select 1 from x where state = 'failed'}]":                                    {rows, added},
		"invariants: [{name: told, sql: select 1 from interlock_outcomes where outcome = 'failed', outcomes: true}]": {told},
		"invariants: [{name: S3, sql: select 1}]":                                                                    {{Name: "S3", SQL: "select 1"}},
	} {
		w, err := parse(t, "database: {schema: s.sql}\nclients: [{command: [job], copies: 2}]\n"+invariants).Workload(known)
		require.NoError(t, err)
		in, ok := w.Contend(2, 1)
		require.True(t, ok)
		require.Equal(t, want, w.Scenario(in).Invariants, invariants)
		require.Len(t, w.Stream(race.Shape{}).Invariants, len(want))
	}
}

// A number is sent as it is written, and a text that looks like one as a text.
func TestNumbers(t *testing.T) {
	t.Parallel()
	w := workload(t, `
database: {schema: schema.sql}
application: {command: [node], environment: {U: "{{proxy_url}}", P: "{{port}}"}}
generators: {price: {choice: [1.10]}, number: {choice: [12345678901234567890]}}
clients:
  - copies: 2
    requests:
      - {path: /, json: {price: "{{price}}", number: "{{number}}", zip: "01234", a: [1e3, -0.50, 99999999999999999999999], b: 2026-01-05}}
`)
	in, ok := w.Contend(2, 1)
	require.True(t, ok)
	require.Equal(t, `{"a":[1e3,-0.50,99999999999999999999999],"b":"2026-01-05","number":12345678901234567890,"price":1.10,"zip":"01234"}`,
		string(input(t, in).Clients[0].Requests[0].Body))
}

// A stream repeats the file's requests with other values, the same for the same seed.
func TestStream(t *testing.T) {
	t.Parallel()
	w := workload(t, drawn)
	asks := func(seed int64, client int) (kinds []string, inputs []string) {
		next := w.Stream(race.Shape{Clients: 6, Seed: seed}).Client(client)
		for range 30 {
			op := next()
			raw, err := json.Marshal(op.Input)
			require.NoError(t, err)
			kinds, inputs = append(kinds, op.Kind), append(inputs, string(raw))
		}
		return kinds, inputs
	}
	kinds, inputs := asks(1, 0)
	require.Equal(t, []string{"book", "look", "move", "book"}, kinds[:4])
	_, again := asks(1, 0)
	require.Equal(t, inputs, again)
	_, other := asks(2, 0)
	require.NotEqual(t, inputs, other)
	different := map[string]bool{}
	for _, in := range inputs {
		different[in] = true
	}
	require.Greater(t, len(different), 10)
	kinds, _ = asks(1, 4)
	require.Equal(t, "job {{device}}", kinds[0])
	kinds, _ = asks(1, 5)
	require.Equal(t, "book", kinds[0])
}

// In a stream, clients that are as far have the same shared values, whatever else they ask for, and others than the time before; the rest is their own.
func TestStreamShares(t *testing.T) {
	t.Parallel()
	w := workload(t, `
database: {schema: schema.sql}
application: {command: [node], environment: {U: "{{proxy_url}}", P: "{{port}}"}}
generators:
  own: {range: [1, 1000000000]}
  room: {range: [1, 1000000000], shared: true}
clients:
  - {copies: 2, requests: [{path: "/book/{{own}}/{{room}}"}]}
  - {requests: [{path: "/look/{{own}}/{{room}}"}, {path: "/leave/{{own}}/{{room}}"}]}`)
	const rounds = 5
	stream := w.Stream(race.Shape{Clients: 4, Seed: 1})
	own, rooms := map[string]bool{}, map[string]bool{}
	var first []string
	for client, requests := range []int{1, 1, 2, 1} {
		next := stream.Client(client)
		var mine []string
		for range rounds {
			for n := range requests {
				var asked struct{ Path string }
				raw, err := json.Marshal(next().Input)
				require.NoError(t, err)
				require.NoError(t, json.Unmarshal(raw, &asked))
				parts := strings.Split(asked.Path, "/")
				if n > 0 {
					require.Equal(t, mine[len(mine)-1], parts[3])
					continue
				}
				own[parts[2]], rooms[parts[3]] = true, true
				mine = append(mine, parts[3])
			}
		}
		if first == nil {
			first = mine
		}
		require.Equal(t, first, mine, "client %d", client)
	}
	require.Len(t, own, 4*rounds)
	require.Len(t, rooms, rounds)
}

// Under load, an invariant about slots is left out: they are free in one race, and not in the next. All others stay, and the clients ask the file's
// application.
func TestStreamOf(t *testing.T) {
	t.Parallel()
	w := workload(t, drawn+`
invariants:
  - {name: winners, sql: "select Slot from interlock_outcomes group by slot having count(*) > 1", outcomes: true}
  - {name: told, sql: select 1 from interlock_outcomes where outcome = 'failed', outcomes: true}
  - {name: rows, sql: select slot from things}
`)
	s := w.Stream(race.Shape{Clients: 1})
	var names []string
	for _, inv := range s.Invariants {
		names = append(names, inv.Name)
	}
	require.Equal(t, []string{"told", "rows"}, names)
	input, err := w.Generate(1)
	require.NoError(t, err)
	require.Len(t, w.Scenario(input).Invariants, 3)
	require.Equal(t, w.Scenario(input).System, s.System)
}
