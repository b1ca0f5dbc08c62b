package ddl

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/schema"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/sqltext"
)

func TestMain(m *testing.M) {
	servertest.Main(m, func() error { return goleak.Find() })
}

// shop is what the statements of the tests are about.
const shop = `
	create extension if not exists btree_gist;
	create schema shop;
	create type mood as enum ('good', 'bad');
	create domain price as numeric(10,2) constraint positive check (value > 0);
	create domain plain_text as text;
	create function steady(int) returns int language sql immutable as 'select $1';
	create function wild() returns int language plpgsql volatile as 'begin return 1; end';
	create function inlined() returns int language sql volatile as 'select 1';
	create table customers (id int primary key, email varchar(200) not null, note text, spare int, code char(3));
	create table orders (id bigint primary key, customer int constraint orders_customer_fkey references customers, amount numeric(10,2), cost price, mood mood,
		placed timestamptz, local timestamp, day date, took interval, bits varbit(5), name text, tags text[], constraint sane check (amount < 1000),
		constraint named check (name is not null), constraint spare check (note_ok) not valid, note_ok boolean, small timestamp(3));
	create index orders_placed on orders (placed);
	create index orders_customer on orders (customer);
	create table log (at date not null, line text) partition by range (at);
	create table log_old partition of log for values from (minvalue) to ('2025-01-01');
	create table log_rest partition of log default;
	create table log_new (at date not null, line text);
	create table shop.items (id int, name text);
	create index items_name on shop.items (name);
	create unlogged table quick (a int);
	create table parent (a int);
	create table child (b int) inherits (parent);
	create table sales (id int, customer int, amount numeric);
	create view late as select id, amount from sales;
	create materialized view totals as select customer, sum(amount) as total from sales group by 1;
	create unique index totals_customer on totals (customer);
	create function touch() returns trigger language plpgsql as 'begin return new; end';
	create trigger touched before update on orders for each row execute function touch();
	create policy own on orders using (true);
	insert into customers values (1, 'a', 'n', 1, 'x'), (2, 'b', 'm', 2, 'y');
	insert into orders (id, customer, amount, cost, mood, placed, local, day, took, bits, name, note_ok) select g, 1, 1, 1, 'good', now(), now(), now(), '1 h', '101', 'n', true
		from generate_series(1, 10) g;`

func database(t *testing.T, template *server.Template) *pgx.Conn {
	t.Helper()
	db, err := template.Database(t.Context())
	require.NoError(t, err)
	conn, err := db.Connect(t.Context(), "test")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close(context.Background()))
		require.NoError(t, db.Drop(context.Background()))
	})
	return conn
}

func before(t *testing.T, conn *pgx.Conn) schema.Schema {
	t.Helper()
	s, err := schema.Read(t.Context(), conn)
	require.NoError(t, err)
	s.Objects = slices.DeleteFunc(s.Objects, func(o schema.Object) bool { return strings.Contains(o.Name+o.Table, "interlock_saved") }) // the template's own
	return s
}

func read(t *testing.T, file string, facts Facts) []Statement {
	t.Helper()
	statements, _, err := Read(file, sqltext.Split(file), facts)
	require.NoError(t, err)
	return statements
}
