package reproduce_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/isolation"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/reproduce"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m, func() error { return goleak.Find() }) }

// sample is a race, how it goes, and what keeps it away.
type sample struct {
	name    string
	schema  string
	start   []string
	clients []race.Client
	one     race.Invariant
	order   []int
	defence string // SQL on top of the schema
}

// do returns a client with an operation that is one transaction.
func do(kind string, code func(ctx context.Context, tx pgx.Tx) error) race.Client {
	return race.Client{Operations: []race.Operation{{Kind: kind, Slot: "it", Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return code(ctx, tx) })
		if errors.Is(err, errTaken) {
			return race.Answer{Outcome: race.Conflict}
		} else if err != nil {
			return race.Answer{Err: err}
		}
		return race.Answer{Outcome: race.Created}
	}}}}
}

var errTaken = errors.New("taken")

// book looks whether a seat is free, and takes it.
func book(seat int, who string) race.Client {
	return do("book", func(ctx context.Context, tx pgx.Tx) error {
		var taken int
		if err := tx.QueryRow(ctx, "select count(*) from bookings where seat = $1 -- is it free?", seat).Scan(&taken); err != nil {
			return err
		} else if taken > 0 {
			return errTaken
		}
		_, err := tx.Exec(ctx, "insert into bookings (seat, who, note) values ($1, $2, $3)", seat, who, nil)
		return err
	})
}

// grab does the same in one statement.
func grab(seat int, who string) race.Client {
	return race.Client{Operations: []race.Operation{{Kind: "grab", Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
		tag, err := conn.Exec(ctx, "insert into bookings (seat, who) select $1, $2 where not exists (select from bookings where seat = $1)", seat, who)
		if err == nil && tag.RowsAffected() == 0 {
			return race.Answer{Outcome: race.Conflict}
		}
		return race.Answer{Outcome: race.Created, Err: err}
	}}}}
}

// withdraw reads a balance and writes what is left of it.
func withdraw(amount int) race.Client {
	return do("withdraw", func(ctx context.Context, tx pgx.Tx) error {
		var balance int
		if err := tx.QueryRow(ctx, "select balance from accounts where id = 1").Scan(&balance); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "insert into withdrawals values ($1)", amount); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "update accounts set balance = $1 where id = 1", balance-amount)
		return err
	})
}

// move takes from one account and gives to the other.
func move(from, to int) race.Client {
	return do("move", func(ctx context.Context, tx pgx.Tx) error {
		for _, id := range []int{from, to} {
			if _, err := tx.Exec(ctx, "update accounts set balance = balance + 1 where id = $1", id); err != nil {
				return err
			}
		}
		return nil
	})
}

// rebook makes a booking and moves it to another seat, by the key that the server gave to it.
func rebook(from, to int) race.Client {
	var id string
	return race.Client{Settings: map[string]string{"search_path": "public, pg_catalog", "TimeZone": "Asia/Seoul"}, Operations: []race.Operation{
		{Kind: "book", Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
			err := conn.QueryRow(ctx, "insert into bookings (seat, who) values ($1, 'it''s me {}') returning id::text", from).Scan(&id)
			return race.Answer{Outcome: race.Created, Row: id, Err: err}
		}},
		{Kind: "move", Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
			_, err := conn.Exec(ctx, "update bookings set seat = $1 where id = $2 and not exists (select from bookings where seat = $1)", to, id)
			return race.Answer{Row: id, Err: err}
		}},
	}}
}

const (
	bookings = `create table bookings (id uuid primary key default gen_random_uuid(), seat int, who text default '}', note text)`
	accounts = `create table accounts (id int primary key, balance int); create table withdrawals (amount int)`
	unique   = `create unique index one_booking on bookings (seat)`
)

var twice = race.Invariant{Name: "one booking", Says: "a seat is booked once", SQL: `select seat, count(*) from bookings group by seat having count(*) > 1`}

func samples() []sample {
	rich := []string{`insert into accounts (id, balance) values (1, 100)`, `insert into accounts (id, balance) values (2, 100)`}
	return []sample{
		{
			name: "check then insert", schema: bookings, clients: []race.Client{book(1, "Kim"), book(1, "O'Neil")}, one: twice,
			order: []int{0, 1, 0, 0, 1, 1}, defence: unique,
		},
		{
			name: "autocommit", schema: bookings, clients: []race.Client{grab(1, "Kim"), grab(1, "Park"), grab(2, "Lee")}, one: twice,
			order: []int{0, 1, 0, 1, 2, 2}, defence: `create table once (seat int primary key);
				create function once() returns trigger language plpgsql as $$ begin insert into once values (new.seat) on conflict do nothing;
				if not found then return null; end if; return new; end $$;
				create trigger once before insert on bookings for each row execute function once();`,
		},
		{
			name: "lost update", schema: accounts, start: rich, clients: []race.Client{withdraw(10), withdraw(20)},
			one: race.Invariant{
				Name: "balance", Says: "what was withdrawn is gone",
				SQL: `select balance from accounts where id = 1 and balance <> 100 - (select sum(amount) from withdrawals)`,
			},
			order: []int{0, 1, 0, 1, 0, 1, 0, 1}, defence: `alter table withdrawals add column one int default 1 unique deferrable initially deferred`,
		},
		{
			name: "deadlock", schema: accounts, start: rich, clients: []race.Client{move(1, 2), move(2, 1)},
			one: race.Invariant{
				Name: "polite", Says: "nobody is told failed", Outcomes: true,
				SQL: `select client, sqlstate from interlock_outcomes where outcome = 'failed'`,
			},
			order: []int{0, 1, 0, 1, 1, 0},
		},
		{
			name: "made by the server", schema: bookings, clients: []race.Client{rebook(1, 3), rebook(2, 3)}, one: twice,
			order: []int{0, 0, 1, 1, 0, 1, 0, 1}, defence: unique,
		},
	}
}

// record plays the sample with the explorer, and returns it as a race that is written.
func (s sample) record(t *testing.T) reproduce.Race {
	t.Helper()
	explorer := explore.New(servertest.Template(t, s.schema))
	defer func() { require.NoError(t, explorer.Close(t.Context())) }()
	played, err := explorer.Play(t.Context(), race.Scenario{Start: reproduce.Start(s.start...), Clients: s.clients, Invariants: []race.Invariant{s.one}}, s.order)
	require.NoError(t, err)
	require.Nil(t, played.Mismatch)
	require.True(t, played.Breaks(s.one.Name), "%+v", played.Interleaving)
	in := &played.Interleaving
	for _, c := range s.clients {
		in.Settings = append(in.Settings, c.Settings)
	}
	return reproduce.Race{
		Name: s.name, Says: s.one.Says, Schema: []string{s.schema},
		Example: history.Counterexample{
			Invariant: s.one.Name, Round: played.Round, Query: s.one.SQL, Outcomes: s.one.Outcomes, Start: s.start, Interleaving: in,
		},
	}
}

// defended returns the race on a schema with the defence.
func (s sample) defended(r reproduce.Race) reproduce.Race {
	r.Name += " defended"
	r.Schema = append(r.Schema[:len(r.Schema):len(r.Schema)], s.defence)
	return r
}

func write(t *testing.T, form func(io.Writer, reproduce.Race) error, r reproduce.Race) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, form(&b, r))
	return b.String()
}

func TestPsql(t *testing.T) {
	if _, err := exec.LookPath("psql"); err != nil {
		t.Skip("there is no psql; try: apt-get install postgresql-client")
	}
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			r := s.record(t)
			script := write(t, reproduce.Psql, r)
			t.Log(script)
			terminals, last := pasted(t, script, len(s.clients))
			if s.one.Outcomes {
				require.Contains(t, terminals["B"].said, "deadlock detected")
				require.NotContains(t, terminals["A"].said, "deadlock detected")
				require.Contains(t, script, "B: failed, for 40P01 (move)")
				return
			}
			require.Contains(t, last, "(1 row)")
			_, last = pasted(t, write(t, reproduce.Psql, s.defended(r)), len(s.clients))
			require.Contains(t, last, "(0 rows)")
		})
	}
}

var headings = regexp.MustCompile(`(?m)^-- \d+  terminal (\w+): (.*)\n`)

// terminal is a psql that is fed.
type terminal struct {
	name   string
	in     io.Writer
	blocks chan string // what each block came to
	open   int         // blocks that it has not done yet
	said   string
}

func openTerminal(t *testing.T, name, dsn string) *terminal {
	t.Helper()
	psql := exec.Command("psql", "-X", dsn) // ended in the cleanup, when t.Context is over
	psql.Env = append(os.Environ(), "PGAPPNAME="+name)
	in, err := psql.StdinPipe()
	require.NoError(t, err)
	out, err := psql.StdoutPipe()
	require.NoError(t, err)
	psql.Stderr = psql.Stdout
	require.NoError(t, psql.Start())
	term := &terminal{name: name, in: in, blocks: make(chan string, 100)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(term.blocks)
		block := ""
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if lines.Text() == "that was all" {
				term.blocks <- block
				block = ""
				continue
			}
			block += lines.Text() + "\n"
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, in.Close())
		<-read
		require.NoError(t, psql.Wait())
	})
	return term
}

func (term *terminal) paste(t *testing.T, block string) {
	t.Helper()
	_, err := io.WriteString(term.in, block+"\n\\echo that was all\n")
	require.NoError(t, err)
	term.open++
}

// await waits until the terminal has done all its blocks.
func (term *terminal) await(t *testing.T) (last string) {
	t.Helper()
	for ; term.open > 0; term.open-- {
		block, ok := <-term.blocks
		require.True(t, ok, "psql ended: %s", term.said)
		term.said += block
		last = block
	}
	return last
}

// settle waits until the terminal has done all its blocks, or waits for a lock.
func (term *terminal) settle(t *testing.T, watch *pgx.Conn) (waits bool) {
	t.Helper()
	for !waits && len(term.blocks) < term.open {
		err := watch.QueryRow(t.Context(), `select count(*) > 0 from pg_stat_activity where application_name = $1 and wait_event_type = 'Lock'`, term.name).Scan(&waits)
		require.NoError(t, err)
	}
	if !waits {
		term.await(t)
	}
	return waits
}

// pasted feeds a script to as many psqls, block by block. It returns what each of them said, and what the last block came to.
func pasted(t *testing.T, script string, clients int) (terminals map[string]*terminal, last string) {
	t.Helper()
	db := servertest.Database(t, "")
	watch, err := db.Connect(t.Context(), "watch")
	require.NoError(t, err)
	defer watch.Close(context.Background())
	terminals = map[string]*terminal{}
	for i := range clients {
		name := string(rune('A' + i))
		terminals[name] = openTerminal(t, name, db.DSN())
	}
	at := headings.FindAllStringSubmatchIndex(script, -1)
	require.NotEmpty(t, at)
	for i, m := range at {
		name, expect := script[m[2]:m[3]], script[m[4]:m[5]]
		if i+1 == len(at) {
			for _, term := range terminals {
				term.await(t)
			}
			terminals[name].paste(t, script[m[0]:])
			return terminals, terminals[name].await(t)
		}
		terminals[name].paste(t, script[m[0]:at[i+1][0]])
		switch {
		case strings.Contains(script, " defended "): // it may go otherwise
			terminals[name].settle(t, watch)
		case strings.HasPrefix(expect, "waits"):
			require.True(t, terminals[name].settle(t, watch), "%s: %s", name, expect)
		default:
			terminals[name].await(t)
		}
		for _, freed := range regexp.MustCompile(`then (\w+) goes on: (\w+)`).FindAllStringSubmatch(expect, -1) {
			if freed[2] != "waits" {
				terminals[freed[1]].await(t)
			}
		}
	}
	return terminals, ""
}

func TestSpec(t *testing.T) {
	ours, err := isolation.Open(t.Context(), isolation.Config{Servers: []*server.Server{servertest.Server(t)}})
	require.NoError(t, err)
	defer func() { require.NoError(t, ours.Close(t.Context())) }()
	runners := map[string]func(t *testing.T, spec string) string{
		"ours": func(t *testing.T, text string) string {
			spec, err := isolation.Parse("race.spec", []byte(text))
			require.NoError(t, err)
			var out bytes.Buffer
			require.NoError(t, ours.Run(t.Context(), isolation.Named{Name: "race", Spec: spec}, &out))
			return out.String()
		},
		"isolationtester": func(t *testing.T, spec string) string {
			tester := servertest.Isolationtester(t)
			db := servertest.Database(t, "")
			var out []byte
			var err error
			for range 2 { // the teardown has to leave nothing
				cmd := exec.CommandContext(t.Context(), tester, db.DSN())
				cmd.Stdin = strings.NewReader(spec)
				out, err = cmd.CombinedOutput()
				require.NoError(t, err, string(out))
				require.NotContains(t, string(out), "already exists")
			}
			return string(out)
		},
	}
	for _, s := range samples() {
		r := s.record(t)
		if s.name == "made by the server" {
			require.ErrorContains(t, reproduce.Spec(io.Discard, r), "step 5 uses a value that the server made up")
			continue
		}
		spec := write(t, reproduce.Spec, r)
		for name, run := range runners {
			t.Run(s.name+" by "+name, func(t *testing.T) {
				t.Log(spec)
				out := run(t, spec)
				t.Log(out)
				if s.one.Outcomes {
					require.Regexp(t, `step B4: .*(\n.*)?ERROR:  deadlock detected\n`, out)
					return
				}
				require.True(t, strings.HasSuffix(strings.TrimSpace(out), "(1 row)"))
				out = run(t, write(t, reproduce.Spec, s.defended(r)))
				require.True(t, strings.HasSuffix(strings.TrimSpace(out), "(0 rows)"), out)
			})
		}
	}
}

func TestGo(t *testing.T) {
	servertest.Slow(t)
	require.NoError(t, os.MkdirAll("testdata", 0o755)) // within this module, but not in ./...
	defer os.RemoveAll("testdata")
	dir, err := os.MkdirTemp("testdata", "go")
	require.NoError(t, err)
	for i, s := range samples() {
		r := s.record(t)
		write := func(name string, r reproduce.Race) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(write(t, reproduce.Go, r)), 0o644))
		}
		write(fmt.Sprintf("race%d_test.go", i), r)
		if s.defence != "" {
			write(fmt.Sprintf("defended%d_test.go", i), s.defended(r))
		}
		if s.name == "lost update" {
			r.Name, r.Template, r.Schema = "from a copy", servertest.Database(t, s.schema).Name, nil
			write("copy_test.go", r)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "./"+dir)
	cmd.Env = append(os.Environ(), "INTERLOCK_POSTGRES="+servertest.Database(t, "").DSN())
	out, err := cmd.CombinedOutput()
	t.Log(string(out))
	require.Error(t, err)
	verdicts := map[string]string{}
	for _, m := range regexp.MustCompile(`--- (PASS|FAIL): (\w+)`).FindAllStringSubmatch(string(out), -1) {
		verdicts[m[2]] = m[1]
	}
	require.Equal(t, map[string]string{
		"TestCheckThenInsertOneBooking": "FAIL", "TestCheckThenInsertDefendedOneBooking": "PASS",
		"TestAutocommitOneBooking": "FAIL", "TestAutocommitDefendedOneBooking": "PASS",
		"TestLostUpdateBalance": "FAIL", "TestLostUpdateDefendedBalance": "PASS",
		"TestDeadlockPolite":            "FAIL",
		"TestFromACopyBalance":          "FAIL",
		"TestMadeByTheServerOneBooking": "FAIL", "TestMadeByTheServerDefendedOneBooking": "PASS",
	}, verdicts)
}
