package explore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"

	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
)

// program is a small race in SQL, as plain data.
type program struct {
	Why     string   `json:"why,omitempty"` // it is in the corpus
	Schema  string   `json:"schema"`
	Start   []string `json:"start,omitempty"`
	Clients []actor  `json:"clients"`
	Look    bool     `json:"look,omitempty"`  // after every commit
	Order   []int    `json:"order,omitempty"` // one that did not always go the same way
}

// actor is a client of a program: a transaction that ends with COMMIT if it does not say otherwise. Where a statement fails, it rolls back to its
// savepoint and goes on, if it has one; otherwise it rolls back and is done.
type actor struct {
	Level    pgx.TxIsoLevel    `json:"level,omitempty"`    // empty: each statement is a transaction of its own
	Extended bool              `json:"extended,omitempty"` // it speaks the extended protocol
	Settings map[string]string `json:"settings,omitempty"`
	SQL      []string          `json:"sql"`
}

func (p program) String() string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(p)
	return strings.TrimSpace(b.String())
}

// class is what levels occur in the program.
func (p program) class() string {
	levels := map[pgx.TxIsoLevel]bool{}
	for _, a := range p.Clients {
		if a.Level == "" {
			a.Level = pgx.ReadCommitted
		}
		levels[a.Level] = true
	}
	if len(levels) > 1 {
		return "mixed"
	}
	for level := range levels {
		return string(level)
	}
	return ""
}

// scenario makes a race of the program. What each statement of a client returned is in the row of its answer.
func (p program) scenario() race.Scenario {
	s := race.Scenario{}
	start := []string{strings.Join(p.Start, ";")}
	for _, a := range p.Clients {
		s.Clients = append(s.Clients, race.Client{Settings: a.Settings, Operations: []race.Operation{{Kind: "program", Do: a.do}}})
	}
	if p.Look {
		for i, tables := range schemas[p.Schema].looks {
			look := watch(i, tables)
			s.Invariants = append(s.Invariants, look)
			start = append(start, look.SQL)
		}
	}
	s.Start = func(ctx context.Context, conn *pgx.Conn) error {
		for _, sql := range start {
			if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				return err
			}
		}
		return nil
	}
	return s
}

// watch returns an invariant that is never broken, and notes what it sees of some tables.
func watch(i int, tables []string) race.Invariant {
	return race.Invariant{Name: strings.Join(tables, "+"), SQL: fmt.Sprintf(`
		with look as (insert into seen select %[1]d, (select count(*) from seen where look = %[1]d), (%[2]s))
		select where false`, i, content(tables))}
}

// content is a query for all rows of some tables, whatever the order in which they are stored.
func content(tables []string) string {
	var parts []string
	for _, t := range tables {
		name, columns, _ := strings.Cut(t, ":")
		if columns == "" {
			columns = "k, v"
		}
		parts = append(parts, fmt.Sprintf(`select '%[1]s' || (%[2]s)::text as r from %[1]s`, name, "row("+columns+")"))
	}
	return `select coalesce(string_agg(r, ' ' order by r), '') from (` + strings.Join(parts, " union all ") + `) all_rows`
}

// note returns all that one interleaving of the program came to: what clients were told, what is in the tables, and what looks have seen.
func (p program) note(ctx context.Context, look explore.Look) (string, error) {
	var told []string
	for _, op := range look.Round.Operations {
		told = append(told, op.Client+": "+op.Row)
	}
	slices.Sort(told)
	var rows string
	if err := look.Conn.QueryRow(ctx, content(schemas[p.Schema].tables)).Scan(&rows); err != nil {
		return "", err
	}
	told = append(told, "tables: "+rows)
	if p.Look {
		found, err := look.Conn.Query(ctx, `select look || ': ' || state from seen order by look, n`)
		if err != nil {
			return "", err
		}
		states, err := pgx.CollectRows(found, pgx.RowTo[string])
		if err != nil {
			return "", err
		}
		told = append(told, "seen: "+strings.Join(slices.Compact(states), ", "))
	}
	return strings.Join(told, "\n"), nil
}

func (a actor) do(ctx context.Context, conn *pgx.Conn) race.Answer {
	pc := conn.PgConn()
	var told []string
	send := func(sql string) bool {
		answer, ok := a.send(ctx, pc, sql)
		told = append(told, answer)
		return ok
	}
	if a.Level != "" {
		_, _ = a.send(ctx, pc, "begin isolation level "+string(a.Level))
	}
	saved := false
	for _, sql := range a.SQL {
		ok := send(sql)
		switch {
		case ok:
			saved = strings.HasPrefix(sql, "savepoint") || saved && !strings.HasPrefix(sql, "release")
		case a.Level != "" && saved:
			_ = send("rollback to s")
		case a.Level != "":
			_ = send("rollback")
		}
		if a.Level != "" && pc.TxStatus() == 'I' {
			break
		}
	}
	if pc.TxStatus() != 'I' {
		_ = send("commit")
	}
	return race.Answer{Row: strings.Join(told, " | ")}
}

// send executes one statement and returns what came of it.
func (a actor) send(ctx context.Context, pc *pgconn.PgConn, sql string) (answer string, ok bool) {
	var result *pgconn.Result
	if a.Extended {
		result = pc.ExecParams(ctx, sql, nil, nil, nil, nil).Read()
	} else {
		results, err := pc.Exec(ctx, sql).ReadAll()
		result = &pgconn.Result{Err: err}
		if len(results) > 0 {
			result = results[0]
		}
	}
	if result.Err != nil {
		if pg, ok := result.Err.(*pgconn.PgError); ok { //nolint:errorlint // pgconn returns it as it is
			return pg.Code, false
		}
		return result.Err.Error(), false
	}
	answer = result.CommandTag.String()
	for _, row := range result.Rows {
		answer += fmt.Sprintf(" %s", row)
	}
	return answer, true
}

// schema is what programs of one kind work on.
type schema struct {
	sql        string
	tables     []string   // with the columns that matter, if these are not k and v
	looks      [][]string // tables that are looked at together
	keyed      []string   // tables with a key and a value for statements of all kinds
	start      []string   // further starting rows
	statements []string   // further statements
}

const seen = `create table seen (look int, n int, state text);`

var schemas = map[string]schema{
	"plain": {
		sql: seen + `
			create table a (k int primary key, v int); create table d (k int primary key, v int);
			create table b (k int, v int);
			create table e (id serial primary key, k int, v int)`,
		tables: []string{"a", "b", "d", "e"},
		looks:  [][]string{{"a", "b"}, {"d"}},
		keyed:  []string{"a", "d"},
		start:  []string{"insert into b values (1, 1)", "insert into e (k, v) values (1, 1)"},
		statements: []string{
			"insert into b (k, v) values (5, $v)", "insert into b (k, v) values (5, $v)", "insert into e (k, v) values (6, $v)",
			"insert into b (k, v) select 5, $v where not exists (select from b where k = 5)",
			"select k, v from b order by k, v", "select count(*) from b where k = 5", "select k, v from e order by k, v",
			"update b set v = v * 2 + $v where k = 1", "delete from b where k = 1", "select v from b where k = 1 for update",
			"update a set v = v + (select count(*) from b) where k = $k", "update a set k = k + 2 where k = $k",
			"insert into d (k, v) select k + 1, v + $v from a order by k", "delete from d where k in (select k from a)",
		},
	},
	"foreign": {
		sql: seen + `
			create table p (k int primary key, v int);
			create table c (k int primary key, v int, r int references p);
			create table x (k int primary key, v int, r int references p on update cascade on delete cascade)`,
		tables: []string{"p", "c:k, v, r", "x:k, v, r"},
		looks:  [][]string{{"p", "c"}, {"x"}},
		keyed:  []string{"p", "p", "c"},
		start:  []string{"insert into c select 1, 1, k from p where k = 1 on conflict do nothing", "insert into x select 1, 1, k from p where k = 2"},
		statements: []string{
			"insert into c (k, v, r) values ($n, $v, $n)", "insert into c (k, v, r) values ($n, $v, $n)", "insert into c (k, v, r) values ($n, $v, null)",
			"insert into c as o (k, v, r) values ($n, $v, $k) on conflict (k) do update set v = o.v + excluded.v",
			"update c set r = $n where k = $k", "update c set r = null where k = $k", "insert into x (k, v, r) values ($n, $v, $n)",
			"update x set r = $n where k = $k", "select k, v, r from x order by k", "update p set k = k + 1 where k = $n", "delete from p where k = $k",
			"select p.k, c.v from p left join c on c.r = p.k order by 1, 2",
		},
	},
	"deferred": {
		sql: seen + `
			create table p (k int primary key, v int);
			create table c (k int primary key, v int, r int references p deferrable initially deferred);
			create table u (k int unique deferrable initially deferred, v int);
			create table w (k int unique deferrable, v int)`,
		tables: []string{"p", "c:k, v, r", "u", "w"},
		looks:  [][]string{{"p", "c"}, {"u"}},
		keyed:  []string{"p"},
		start:  []string{"insert into c select 1, 1, k from p where k = 1", "insert into u values (1, 1)", "insert into w values (1, 1), (2, 2)"},
		statements: []string{
			"insert into c (k, v, r) values ($n, $v, $n)", "insert into c (k, v, r) values ($n, $v, $n)", "update c set r = $n where k = $k",
			"delete from p where k = $k", "insert into p (k, v) values ($n, $v)", "update p set k = k + 1 where k = $n",
			"insert into u (k, v) values ($n, $v)", "insert into u (k, v) values ($n, $v)", "update u set k = $n where k = $k",
			"delete from u where k = $k", "select k, v from u order by k, v", "update w set k = 3 - k where k = 1", "insert into w (k, v) values ($n, $v)",
			"update w set k = k + 1 where k = $k", "set constraints all immediate", "set constraints all deferred",
		},
	},
	"triggers": {
		sql: seen + `
			create table a (k int primary key, v int);
			create table b (k int primary key, v int);
			create table d (k int primary key, v int);
			create table counter (k int primary key, v int);
			create table audit (id serial primary key, k int, v int);
			create function note() returns trigger language plpgsql as $$begin
				insert into audit (k, v) values (new.k, new.v); return new; end$$;
			create function tally() returns trigger language plpgsql as $$begin
				if new.v > 20 then update counter set v = v + 1 where k = 1; end if; return new; end$$;
			create function refuse() returns trigger language plpgsql as $$begin
				if new.v > 9 and exists (select from a where k = new.k) then
					if new.k = 1 then raise exception 'taken'; end if;
					update counter set v = v + 1 where k = 1;
				end if;
				return new; end$$;
			create function settle() returns trigger language plpgsql as $$begin
				if (select count(*) from a) > 1 then update counter set v = v + 100 where k = 1; end if; return null; end$$;
			create function allowed(n int) returns boolean language plpgsql as $$begin return n < 10 or not exists (select from a where k = 2); end$$;
			create table y (k int primary key, v int);
			create table z (k int primary key, v int check (allowed(v)));
			create constraint trigger settle after insert or update on y deferrable initially deferred for each row execute function settle();
			create trigger note after insert or update on a for each row execute function note();
			create trigger tally after insert or update on b for each row execute function tally();
			create trigger refuse before insert on d for each row execute function refuse()`,
		tables: []string{"a", "b", "d", "counter", "audit:k, v", "y", "z"},
		looks:  [][]string{{"a", "counter"}, {"audit"}},
		keyed:  []string{"a", "b", "d", "y", "z"},
		start:  []string{"insert into counter values (1, 0)"},
		statements: []string{
			"select v from counter", "update counter set v = v + $v", "select v from counter for update nowait", "select v from counter for update skip locked",
			"select k, v from audit order by k, v", "select count(*) from audit", "insert into d (k, v) values ($n, $v)", "insert into b (k, v) values ($n, $v)",
		},
	},
	"functions": {
		sql: seen + `
			create table a (k int primary key, v int);
			create table d (k int primary key, v int);
			create table counter (k int primary key, v int);
			create function tally(n int) returns int language plpgsql as $$begin update counter set v = v + n where k = 1; return n; end$$;
			create function total() returns bigint language sql as $$select count(*) from a$$;
			create function allowed(n int) returns boolean language plpgsql as $$begin return n < 10 or not exists (select from a where k = 2); end$$;
			create function try(n int) returns text language plpgsql as $$begin
				if pg_try_advisory_xact_lock(n) then return tally(n); end if; return 'busy'; end$$;
			create function put(n int, m int) returns text language plpgsql as $$begin
				insert into a values (n, m); return 'put';
				exception when unique_violation then return tally(100); end$$;
			create function peek(n int) returns text language plpgsql as $$begin
				perform from a where k = n for update nowait; return 'seen';
				exception when lock_not_available then return 'busy'; end$$;
			create function once(n int, m int) returns void language sql as $$insert into a values (n, m) on conflict do nothing$$;
			create function settle() returns trigger language plpgsql as $$begin
				if (select count(*) from a) > 1 then perform tally(1000); end if; return null; end$$;
			create view w as select k, total() as v from d;
			alter table d add check (allowed(v));
			create constraint trigger settle after insert or update on d deferrable initially deferred for each row execute function settle()`,
		tables: []string{"a", "d", "counter"},
		looks:  [][]string{{"a", "counter"}},
		keyed:  []string{"a", "d"},
		start:  []string{"insert into counter values (1, 0)"},
		statements: []string{
			"select tally($v)", "select total()", "select try($k)", "select put($n, $v)", "select once($n, $v)", "select peek($k)", "select k, v from w order by k",
			"select v from counter", "update counter set v = v + $v", "select v from counter for update skip locked", "set constraints all immediate",
			"update d set v = $v where k = $k", "insert into d (k, v) values ($n, $v)", "do $$begin perform tally($v); end$$",
		},
	},
	"partitions": {
		sql: seen + `
			create table q (k int primary key, v int) partition by list (k);
			create table q1 partition of q for values in (1);
			create table q2 partition of q default;
			create table r (k int primary key, v int references q);
			create table m (k int, v int) partition by list (k);
			create table m1 partition of m for values in (1);
			create table m2 partition of m default;
			create unique index on m2 (v)`,
		tables: []string{"q", "r", "m"},
		looks:  [][]string{{"q1"}, {"q"}},
		keyed:  []string{"q"},
		start:  []string{"insert into r values (1, null)"},
		statements: []string{
			"update q set k = $n where k = $k", "update q1 set v = v + $v", "select v from q1", "select v from q1 for update nowait", "select k, v from q2 order by k",
			"lock table q1 in $m mode", "lock table only q in $m mode", "lock table q2 in $m mode nowait", "truncate q2 cascade", "truncate q1 cascade",
			"update r set v = $n", "update r set v = null", "select k, v from r", "insert into q2 (k, v) values (3, $v)",
			"insert into m (k, v) values ($n, 5)", "insert into m (k, v) values (2, 5)", "update m set k = $n where k = 1", "select k, v from m2 order by k",
		},
	},
	"tenants": {
		sql:        seen + `create table a (k int primary key, v int); create schema other; create table other.a (k int primary key, v int)`,
		tables:     []string{"a", "other.a"},
		looks:      [][]string{{"a"}, {"other.a"}},
		keyed:      []string{"a"},
		statements: []string{"select k, v from other.a order by k", "update other.a set v = v + $v where k = $k", "insert into other.a values ($n, $v)"},
	},
	"exclusion": {
		sql: seen + `
			create table a (k int primary key, v int);
			create table s (k int4range, v int, exclude using gist (k with &&))`,
		tables: []string{"a", "s"},
		looks:  [][]string{{"a", "s"}},
		keyed:  []string{"a"},
		start:  []string{"insert into s values ('[0,2)', 1)"},
		statements: []string{
			"insert into s values ('[2,4)', $v)", "insert into s values ('[3,5)', $v)", "insert into s values ('[2,4)', $v) on conflict do nothing",
			"update s set k = '[3,6)' where v = 1", "insert into s select '[2,4)', $v where not exists (select from s where k && '[2,4)')",
			"delete from s where v = 1", "select k, v from s order by k, v", "select k, v from s order by k, v",
		},
	},
}

// common are the statements on a table with a key. $k is one of the keys that may be there, $n one that is less likely to.
var common = []string{
	"select k, v from $t order by k",
	"select k, v from $t order by k",
	"select k, v from $t where k = $k",
	"select count(*) from $t",
	"update $t set v = v * 2 + $v where k = $k",
	"update $t set v = v * 2 + $v where k = $k",
	"update $t set v = v * 2 + $v where k = $k",
	"with l as (select k from $t order by k for update) update $t set v = v + $v from l where l.k = $t.k",
	"delete from $t where k = $k",
	"insert into $t (k, v) values ($n, $v)",
	"insert into $t (k, v) values ($n, $v)",
	"insert into $t (k, v) values ($n, $v) on conflict do nothing",
	"insert into $t as o (k, v) values ($n, $v) on conflict (k) do update set v = o.v + excluded.v",
	"insert into $t (k, v) select $n, $v where not exists (select from $t where k = $n)",
	"merge into $t using (values ($n, $v)) n(k, v) on n.k = $t.k when matched then update set v = $t.v + n.v when not matched then insert (k, v) values (n.k, n.v)",
	"select k, v from $t where k = $k for update",
	"select k, v from $t order by k for update",
	"select k, v from $t where k = $k for no key update",
	"select k, v from $t where k = $k for share",
	"select k, v from $t where k = $k for key share",
	"select k, v from $t where k = $k for update nowait",
	"select k, v from $t where k = $k for share nowait",
	"select k, v from $t order by k for update skip locked",
	"select k, v from $t order by k limit 1 for update skip locked",
	"insert into $t (k, v) select $n, $v where pg_try_advisory_xact_lock($k)",
	"select pg_advisory_xact_lock($k)",
	"select pg_advisory_xact_lock($k)",
	"select pg_advisory_xact_lock_shared($k)",
	"select pg_try_advisory_xact_lock($k)",
	"select pg_try_advisory_xact_lock_shared($k)",
	"lock table $t in $m mode",
	"lock table $t in $m mode nowait",
	"truncate $t cascade",
	"select 1 / 0",
	"savepoint s",
	"savepoint s",
	"rollback to s",
	"release s",
}

var lockModes = []string{
	"access share", "row share", "row exclusive", "share update exclusive", "share", "share row exclusive", "exclusive", "access exclusive",
}

// tooMany bounds the orders of a generated program.
const tooMany = 600

// generate makes a program of 2–3 clients with 1–4 statements each.
func generate(rng *rand.Rand, name string) program {
	for {
		p := draw(rng, name)
		var steps []int
		for _, a := range p.Clients {
			n := 1
			for _, sql := range a.SQL {
				switch {
				case a.Level == "":
					n += 2
				case !strings.HasPrefix(sql, "savepoint") && !strings.HasPrefix(sql, "release"):
					n++
				}
			}
			if a.Level == "" {
				n--
			}
			steps = append(steps, n)
		}
		if orders := sched.Orders(steps...); orders.IsInt64() && orders.Int64() <= tooMany {
			return p
		}
	}
}

func draw(rng *rand.Rand, name string) program {
	one := func(list []string) string { return list[rng.Intn(len(list))] }
	s := schemas[name]
	p := program{Schema: name, Look: rng.Intn(3) == 0}
	for _, t := range slices.Compact(slices.Clone(s.keyed)) {
		for key := 1; key <= 2; key++ {
			if rng.Intn(3) > 0 {
				p.Start = append(p.Start, fmt.Sprintf("insert into %s (k, v) values (%d, %d)", t, key, key))
			}
		}
	}
	p.Start = append(p.Start, s.start...)
	var settings map[string]string
	if rng.Intn(4) == 0 {
		settings = map[string]string{"enable_seqscan": "off"}
	}
	tables := s.keyed[:1+rng.Intn(len(s.keyed))]
	if rng.Intn(2) == 0 {
		tables = []string{one(s.keyed)}
	}
	clients, most := 2, 4
	if rng.Intn(3) == 0 && name != "exclusion" {
		clients, most = 3, 2
	}
	levels := rng.Intn(4) // 0: read committed, 1: repeatable read, 2: serializable, 3: a mixture
	for i := range clients {
		a := actor{
			Level:    []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable, ""}[min(levels, 2)],
			Extended: rng.Intn(3) == 0, Settings: settings,
		}
		if name == "tenants" && rng.Intn(2) == 0 {
			a.Settings = map[string]string{"search_path": "other"}
		}
		if levels == 3 {
			a.Level = []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable}[rng.Intn(3)]
		}
		if levels%3 == 0 && rng.Intn(5) == 0 {
			a.Level = ""
		}
		saved := false
		for n := 1 + rng.Intn(most); len(a.SQL) < n; {
			pool := common
			if len(s.statements) > 0 && rng.Intn(3) == 0 {
				pool = s.statements
			}
			sql := one(pool)
			divides := sql == "savepoint s" || sql == "rollback to s" || sql == "release s" || strings.HasPrefix(sql, "set constraints")
			if ranged(sql) && slices.ContainsFunc(a.SQL, ranged) {
				continue
			}
			if a.Level == "" && (divides || strings.HasPrefix(sql, "lock")) || !saved && (sql == "rollback to s" || sql == "release s") || saved && sql == "savepoint s" {
				continue
			}
			saved = sql == "savepoint s" || saved && sql != "release s"
			a.SQL = append(a.SQL, strings.NewReplacer(
				"$t", one(tables), "$k", fmt.Sprint(1+rng.Intn(3)/2), "$n", fmt.Sprint(1+rng.Intn(3)), "$v", fmt.Sprint(10*(i+1)+len(a.SQL)), "$m", one(lockModes),
			).Replace(sql))
		}
		if a.Level != "" && rng.Intn(5) == 0 {
			a.SQL = append(a.SQL, "rollback")
		}
		p.Clients = append(p.Clients, a)
	}
	return p
}

// ranged says that a statement makes a range. In whose way of several it is shows in the physical order of rows, so there are two at most.
func ranged(sql string) bool { return strings.Contains(sql, "'[") }

// programs is a generator of programs, by seed.
func programs(schema string) gopter.Gen {
	return gen.Int64().Map(func(seed int64) program { return generate(rand.New(rand.NewSource(seed)), schema) }).WithShrinker(smaller)
}

// smaller returns the programs that lack one thing of a program.
func smaller(value any) gopter.Shrink {
	p := value.(program)
	var all []program
	for i, a := range p.Clients {
		if len(p.Clients) > 2 {
			q := p
			q.Clients = slices.Delete(slices.Clone(p.Clients), i, i+1)
			all = append(all, q)
		}
		for j := range a.SQL {
			q := p
			q.Clients = slices.Clone(p.Clients)
			q.Clients[i].SQL = slices.Delete(slices.Clone(a.SQL), j, j+1)
			all = append(all, q)
		}
		if a.Extended || a.Settings != nil {
			q := p
			q.Clients = slices.Clone(p.Clients)
			q.Clients[i].Extended, q.Clients[i].Settings = false, nil
			all = append(all, q)
		}
	}
	for i := range p.Start {
		q := p
		q.Start = slices.Delete(slices.Clone(p.Start), i, i+1)
		all = append(all, q)
	}
	if p.Look {
		q := p
		q.Look = false
		all = append(all, q)
	}
	return func() (any, bool) {
		if len(all) == 0 {
			return nil, false
		}
		q := all[0]
		all = all[1:]
		return q, true
	}
}
