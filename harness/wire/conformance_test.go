package wire_test

import (
	"context"
	"flag"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/proxy"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire"
	"github.com/interlock-pg/interlock/harness/wire/wiretest"
)

var rewriting = flag.Bool("rewrite", false, "write the steps that were seen into testdata/scripts")

// schema is what scripts find. What they make themselves, they make in schema x.
const schema = `
	create table t (id int primary key, v text);
	create table parent (id int primary key);
	create table child (id int references parent deferrable initially deferred);
	create table uniq (id int, constraint uniq_id unique (id) deferrable initially deferred);
	create function noisy(n int) returns int language plpgsql as $$ begin
		for i in 1..n loop raise notice 'notice %', i; end loop; return n; end $$;
	create procedure twice() language plpgsql as $$ begin
		insert into t values (101, 'a'); commit; insert into t values (102, 'b'); commit; end $$;
	create function late() returns trigger language plpgsql as $$ begin raise warning 'at commit'; return null; end $$;
	create table alarmed (id int);
	create constraint trigger alarmed_late after insert on alarmed deferrable initially deferred for each row execute function late();
`

const again = `
	drop schema if exists x cascade; create schema x;
	truncate t, parent, child, uniq, alarmed;
	insert into t select i, 'row ' || i from generate_series(1, 5) i;
	insert into parent values (1);
`

// way is one of the ways in which a script can reach the server.
type way struct {
	name  string
	chunk int // bytes a write; 0: all
	gate  *wire.Config
	later bool // steps are held, and released from elsewhere
	proxy bool // the gate is behind a listener, on the other side of a network
}

func TestConformance(t *testing.T) {
	all := scripts(t)
	require.GreaterOrEqual(t, len(all), 100)
	open := &wire.Config{Split: true, Hold: func(wire.Step) bool { return false }}
	held := &wire.Config{Split: true}
	ways := []way{{name: "gate, held", gate: held, chunk: 7, later: true}} // that without Split nothing is changed, FuzzReader says
	switch {
	case *rewriting:
		ways = append(ways, way{name: "gate", gate: open})
	case servertest.Thorough():
		ways = append(
			ways, way{name: "gate", gate: open}, way{name: "gate, by the byte", gate: open, chunk: 1}, way{name: "proxy, not split", gate: &wire.Config{}, proxy: true},
			way{name: "proxy", gate: open, proxy: true}, way{name: "proxy, held", gate: held, chunk: 7, later: true, proxy: true},
		)
	}
	seen := map[string]string{}
	db := servertest.Database(t, schema)
	control, err := db.Connect(t.Context(), "control")
	require.NoError(t, err)
	defer control.Close(context.Background())
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			if strings.HasSuffix(s.name, "/many rows") {
				servertest.Slow(t)
			}
			direct, _ := s.run(t, db, control, way{name: "direct"})
			for _, w := range ways {
				said, steps := s.run(t, db, control, w)
				if s.differs != "" && w.gate.Split {
					require.NotEqual(t, direct, said, "%s: no difference any more", w.name)
				} else {
					require.Equal(t, transcript(direct), transcript(said), w.name)
					require.Equal(t, direct, said, w.name)
				}
				if w.name == "gate" {
					seen[s.name] = steps
				}
				switch {
				case !w.gate.Split:
					require.Empty(t, steps)
				case !*rewriting:
					require.Contains(t, strings.Split(s.steps, " | "), steps, w.name)
				}
			}
		})
	}
	if *rewriting && !t.Failed() {
		rewrite(t, all, seen)
	}
}

func (s script) run(t *testing.T, db *server.Database, control *pgx.Conn, w way) (said []byte, steps string) {
	t.Helper()
	_, err := control.Exec(t.Context(), again, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	config := db.Config("script")
	config.RuntimeParams["search_path"] = "public, x"
	var kinds []string
	var mu sync.Mutex
	var gate *wire.Gate
	if w.gate != nil {
		c := *w.gate
		c.Events = func(e wire.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == wire.Answered {
				kind := string(e.Step.Kind)
				if e.Step.Injected {
					kind += " (injected)"
				}
				if e.Result.SQLState != "" {
					kind += " " + e.Result.SQLState
				}
				kinds = append(kinds, kind)
			}
		}
		gate = wire.New(c)
	}
	end := func() error { return nil }
	if gate != nil {
		end = gate.Close
	}
	var conn net.Conn
	if w.proxy {
		p, err := proxy.Listen(t.Context(), "tcp", "127.0.0.1:0", proxy.Config{Server: &config.Config, Gate: gate, Lost: func(err error) { t.Error(err) }})
		require.NoError(t, err)
		end = p.Close
		conn, err = net.Dial("tcp", p.Addr().String())
		require.NoError(t, err)
		begin(t, config, conn)
	} else {
		conn = dial(t, config, gate)
	}
	if w.later {
		stop := wiretest.ReleaseAll(gate)
		defer stop()
	}
	said = s.play(t, conn, w.chunk)
	require.NoError(t, conn.Close())
	if gate != nil {
		// What the script leaves undone is done before the next begins.
		require.NoError(t, gate.Wait(t.Context(), func() bool { return len(gate.Sessions()) == 0 }))
	}
	require.NoError(t, end())
	settle(t, control)
	mu.Lock()
	defer mu.Unlock()
	return said, strings.Join(kinds, ", ")
}

// settle waits until the server has ended the session of a script.
func settle(t testing.TB, control *pgx.Conn) {
	t.Helper()
	for {
		var n int
		require.NoError(t, control.QueryRow(t.Context(), `select count(*) from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`).Scan(&n))
		if n == 0 {
			return
		}
	}
}

var _ net.Conn = (*wire.Session)(nil)
