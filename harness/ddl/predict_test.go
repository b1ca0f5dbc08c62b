package ddl

import (
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/schema"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// locked are the statements whose locks are compared with those that the server takes.
var locked = []string{
	`create index on orders (amount)`,
	`create unique index on log (at)`,
	`create index on only log (at)`,
	`drop index orders_placed`,
	`drop index shop.items_name`,
	`reindex index orders_placed`,
	`reindex table orders`,
	`alter index orders_placed rename to orders_when`,
	`alter table orders add column x int`,
	`alter table orders add column x int default 1 not null`,
	`alter table orders add column x int references customers`,
	`alter table orders drop column name`,
	`alter table orders drop column customer`,
	`alter table orders alter column amount set default 1`,
	`alter table orders alter column amount set not null`,
	`alter table orders alter column amount set statistics 10`,
	`alter table orders alter column amount type numeric(12,2)`,
	`alter table orders alter column customer type bigint`,
	`alter table orders alter column name set storage external`,
	`alter table orders alter column name set (n_distinct = 5)`,
	`alter table orders add constraint k check (amount > 0)`,
	`alter table orders add constraint k check (amount > 0) not valid`,
	`alter table orders add constraint k foreign key (id) references customers not valid`,
	`alter table orders add constraint k unique (amount, id)`,
	`alter table orders add constraint k exclude using gist (id with =)`,
	`alter table orders validate constraint spare`,
	`alter table orders drop constraint sane`,
	`alter table orders drop constraint orders_customer_fkey`,
	`alter table orders rename to bought`,
	`alter table orders rename column name to called`,
	`alter table orders rename constraint sane to mad`,
	`alter table orders set schema shop`,
	`alter table orders owner to current_user`,
	`alter table orders set (fillfactor = 70)`,
	`alter table orders reset (fillfactor)`,
	`alter table orders set unlogged`,
	`alter table quick set logged`,
	`alter table orders cluster on orders_pkey`,
	`alter table orders replica identity full`,
	`alter table orders enable row level security`,
	`alter table orders disable trigger all`,
	`alter table orders disable trigger touched`,
	`alter table child no inherit parent`,
	`alter table child add column z int`,
	`alter table parent add column z int`,
	`alter table log attach partition log_new for values from ('2030-01-01') to ('2031-01-01')`,
	`alter table log detach partition log_old`,
	`alter table log add column z int`,
	`alter domain price add constraint k check (value < 1000)`,
	`alter domain price add constraint k check (value < 1000) not valid`,
	`create table lines (o bigint references orders)`,
	`create table log_2026 partition of log for values from ('2026-01-01') to ('2027-01-01')`,
	`create table grand () inherits (child)`,
	`create table again (like orders)`,
	`create trigger t before insert on orders for each row execute function touch()`,
	`create trigger t after insert on log for each row execute function touch()`,
	`create rule r as on delete to orders do instead nothing`,
	`create policy p on orders using (true)`,
	`alter policy own on orders using (false)`,
	`drop policy own on orders`,
	`drop trigger touched on orders`,
	`create statistics st (dependencies) on amount, customer from orders`,
	`create publication feed for table orders`,
	`create or replace view late as select id, amount from sales`,
	`drop view late`,
	`drop table orders cascade`,
	`drop table customers cascade`,
	`drop table log_old`,
	`drop table log`,
	`comment on table orders is 'x'`,
	`comment on column orders.amount is 'x'`,
	`truncate orders`,
	`truncate customers cascade`,
	`lock table orders in share mode`,
	`lock table log`,
	`cluster orders using orders_pkey`,
	`analyze orders`,
	`refresh materialized view totals`,
	`refresh materialized view concurrently totals`,
	`delete from orders`,
	`update orders set amount = 1`,
	`insert into orders (id, name) values (100, 'x')`,
	`select * from orders for update`,
	`grant select on orders to public`,
	`alter type mood add value 'fair'`,
}

// oneOfThree leaves two thirds to make check.
func oneOfThree(t *testing.T, i int) {
	t.Helper()
	if i%3 != 0 {
		servertest.Slow(t)
	}
}

// TestLocks compares the locks that are predicted with those that the server takes.
func TestLocks(t *testing.T) {
	template := servertest.Template(t, shop)
	for i, sql := range locked {
		t.Run(sql, func(t *testing.T) {
			oneOfThree(t, i)
			t.Parallel()
			conn := database(t, template)
			facts := Facts{Before: before(t, conn), Transaction: true}
			var want []string
			took(t, conn, sql, &want)
			got := []string{}
			for _, l := range read(t, sql, facts)[0].Locks {
				got = append(got, l.Table+" "+l.Mode)
				require.Equal(t, mode(slices.Index(modes[:], l.Mode)).blocks(), l.Blocks)
			}
			require.ElementsMatch(t, want, got)
		})
	}
}

// took runs a statement and returns its locks on relations that were there before it, the strongest of each.
func took(t *testing.T, conn *pgx.Conn, sql string, want *[]string) {
	t.Helper()
	ctx := t.Context()
	tx, err := conn.Begin(ctx)
	require.NoError(t, err)
	defer tx.Rollback(ctx)
	_, err = tx.Exec(ctx, `create temp table was on commit drop as select c.oid, format('%I.%I', n.nspname, c.relname) as name
		from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', 'm', 'v') and n.nspname in ('public', 'shop')`)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	rows, err := tx.Query(ctx, `select name || ' ' || upper(regexp_replace(replace(mode, 'Lock', ''), '(?<=[a-z])(?=[A-Z])', ' ', 'g')) from (
		select distinct on (name) name, mode from pg_locks l join was on was.oid = l.relation cross join lateral (select array_position(
			array['ShareUpdateExclusiveLock','ShareLock','ShareRowExclusiveLock','ExclusiveLock','AccessExclusiveLock'], mode) as strength) s
		where pid = pg_backend_pid() and granted and strength is not null order by name, strength desc) x order by name`)
	require.NoError(t, err)
	*want, err = pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
}

// rewritten are statements and whether they give a table another file.
var rewritten = []string{
	`alter table orders add column x int`,
	`alter table orders add column x int default 1`,
	`alter table orders add column x timestamptz default now()`,
	`alter table orders add column x float default random()`,
	`alter table orders add column x uuid default gen_random_uuid()`,
	`alter table orders add column x timestamptz default clock_timestamp()`,
	`alter table orders add column x int default steady(1)`,
	`alter table orders add column x int default wild()`,
	`alter table orders add column x int default inlined()`,
	`alter table orders add column x serial`,
	`alter table orders add column x int generated always as identity`,
	`alter table orders add column x numeric generated always as (amount * 2) stored`,
	`alter table orders add column x price`,
	`alter table orders add column x plain_text`,
	`alter table parent add column x float default random()`,
	`alter table orders alter column amount set not null`,
	`alter table orders alter column amount type numeric(12,2)`,
	`alter table orders alter column amount type numeric`,
	`alter table orders alter column amount type numeric(12,3)`,
	`alter table orders alter column amount type int`,
	`alter table orders alter column customer type bigint`,
	`alter table customers alter column spare type oid`,
	`alter table orders alter column name type varchar`,
	`alter table orders alter column name type varchar(10)`,
	`alter table orders alter column name type plain_text`,
	`alter table orders alter column name type text using name`,
	`alter table orders alter column name type text using upper(name)`,
	`alter table orders alter column bits type varbit(9)`,
	`alter table orders alter column bits type varbit`,
	`alter table orders alter column bits type varbit(4)`,
	`alter table orders alter column placed type timestamptz(6)`,
	`alter table orders alter column placed type timestamptz(3)`,
	`alter table orders alter column small type timestamp`,
	`alter table orders alter column mood type text`,
	`alter table orders alter column tags type varchar[]`,
	`set timezone = 'Asia/Seoul'; alter table orders alter column local type timestamptz`,
	`set timezone = 'UTC'; alter table orders alter column local type timestamptz`,
	`alter table customers alter column email type varchar(300)`,
	`alter table customers alter column email type varchar(100)`,
	`alter table customers alter column email type text`,
	`alter table customers alter column code type char(5)`,
	`alter table customers alter column code type text`,
	`alter table orders set unlogged`,
	`alter table quick set unlogged`,
	`alter table quick set logged`,
	`alter table orders set (fillfactor = 70)`,
	`alter table orders add constraint k check (amount > 0)`,
	`create index on orders (amount)`,
	`truncate orders`,
	`vacuum full orders`,
	`vacuum full log`,
	`vacuum orders`,
	`cluster orders using orders_pkey`,
	`refresh materialized view totals`,
	`refresh materialized view concurrently totals`,
}

// TestRewrites compares the tables that are predicted to be rewritten with those that have another file.
func TestRewrites(t *testing.T) {
	template := servertest.Template(t, shop)
	for i, sql := range rewritten {
		t.Run(sql, func(t *testing.T) {
			oneOfThree(t, i)
			t.Parallel()
			conn := database(t, template)
			was := before(t, conn)
			_, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
			require.NoError(t, err)
			want, got := []string{}, []string{}
			now := before(t, conn)
			for _, o := range was.Objects {
				if n, found := now.Find(o.Kind, o.Name); found && o.Kind != schema.Index && n.FileNode != o.FileNode {
					want = append(want, o.Name)
				}
			}
			for _, s := range read(t, sql, Facts{Before: was}) {
				got = append(got, s.Rewrites...)
			}
			slices.Sort(want)
			slices.Sort(got)
			require.Equal(t, want, got)
		})
	}
}

// TestImmutable compares what is said of index expressions with what the server says, and runs the rewrites.
func TestImmutable(t *testing.T) {
	template := servertest.Template(t, shop)
	for i, expression := range []string{
		`date(placed)`, `(placed::date)`, `(cast(placed as date))`, `(placed::text)`, `(placed::timestamp)`, `(placed::time)`, `date(local)`, `(local::date)`,
		`(local::text)`, `(local::timestamptz)`, `(day::text)`, `(day::timestamp)`, `(day::timestamptz)`, `date_trunc('day', placed)`, `date_trunc('day', local)`,
		`date_trunc('day', placed, 'UTC')`, `date_trunc('day', placed at time zone 'UTC')`, `date_trunc('day', day)`, `to_char(placed, 'YYYY')`, `to_char(local, 'YYYY')`, `to_char(amount, '99')`,
		`extract(year from placed)`, `extract(epoch from placed)`, `extract(year from local)`, `date_part('year', placed)`, `date_part('year', day)`,
		`((placed at time zone 'UTC')::date)`, `((placed at time zone 'UTC')::date::text)`, `age(placed)`, `age(placed, '2020-01-01')`, `age(local)`, `(placed + interval '1 hour')`, `(placed - took)`,
		`(local + took)`, `concat(name, 'x')`, `concat_ws(',', name)`, `(name || 'x')`, `format('%s', name)`, `lower(name)`, `(mood::text)`, `(amount::text)`, `(tags::text)`,
		`array_to_string(tags, ',')`, `(name::date)`, `(took::text)`, `(note_ok::text)`, `(id::text)`, `steady(id::int)`, `(id + wild())`, `(id + inlined())`, `(id + random())`, `to_timestamp(id)`,
		`to_timestamp(name, 'YYYY')`, `to_date(name, 'YYYY')`, `(local < '2020-01-01')`, `(day = date '2020-01-01')`, `coalesce(date(placed), '2020-01-01')`, `tstzrange(placed, placed + interval '1 hour')`,
		`(to_jsonb(name))`, `row_to_json(orders)`, `quote_literal(name)`, `md5(name)`, `(cost::text)`, `to_tsvector(name)`, `to_tsvector('english', name)`,
	} {
		for _, sql := range []string{
			`create index x on orders (` + expression + `)`,
			`create index x on orders (id) where ` + expression + ` is not null`,
		} {
			t.Run(sql, func(t *testing.T) {
				oneOfThree(t, i)
				t.Parallel()
				conn := database(t, template)
				var version int
				require.NoError(t, conn.QueryRow(t.Context(), `select current_setting('server_version_num')::int / 10000`).Scan(&version))
				_, err := conn.Exec(t.Context(), sql)
				var refused *pgconn.PgError
				code := ""
				if err != nil {
					require.ErrorAs(t, err, &refused)
					code = refused.Code
				}
				said := ""
				for _, f := range read(t, sql, Facts{Before: before(t, conn), Version: version})[0].Findings {
					if f.Rule == RuleNotImmutable {
						said = f.SQLState
						if f.Rewrite != nil {
							_, err := conn.Exec(t.Context(), f.Rewrite.SQL)
							require.NoError(t, err, fmt.Sprint("the rewrite: ", f.Rewrite.SQL))
						}
					}
				}
				require.Equal(t, code, said)
			})
		}
	}
}
