package plant_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/plant"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// The state before, with rows in all tables, of which none breaks what the tests add.
const shop = `
	create extension btree_gist;
	create schema "Shop";
	create type "Shop".state as enum ('active', 'paused', 'done');
	create table "Shop".customers (id int generated always as identity primary key, email text not null unique, phone varchar(40), "Nick Name" text, score int not null,
		born date, state "Shop".state not null, tenant int not null, low text generated always as (lower(email)) stored);
	insert into "Shop".customers (email, phone, "Nick Name", score, born, state, tenant)
		select 'user' || n || '@x.org', 'p' || n, 'Nick ' || n, n, date '1980-01-01' + n, 'done', n % 7 from generate_series(1, 300) n;
	create table orders (id uuid primary key default gen_random_uuid(), tenant int not null, customer int, mail text, price numeric not null, placed timestamptz not null,
		until timestamptz not null, during tstzrange not null, a int not null, b int not null, flag boolean not null, note text, gone timestamptz);
	insert into orders (tenant, customer, mail, price, placed, until, during, a, b, flag, note)
		select n % 5, n, 'user' || n || '@x.org', n, timestamptz '2025-01-01 00:00Z' + n * interval '2 h', timestamptz '2025-01-01 00:00Z' + n * interval '2 h' + interval '1 h',
			tstzrange(timestamptz '2025-01-01 00:00Z' + n * interval '2 h', timestamptz '2025-01-01 00:00Z' + n * interval '2 h' + interval '1 h'), n, -n, false, 'n' || n
		from generate_series(1, 300) n;
	create table keyed (x int not null, y int not null, primary key (x, y), z int, w int);
	insert into keyed select n, -n, n, -n from generate_series(1, 300) n;
	create table bare (v int, w text);
	insert into bare select n, 'w' || n from generate_series(1, 300) n;
	create table always (id bigint generated always as identity, v int);
	insert into always (v) select n from generate_series(1, 200) n;
	create table parted (id int not null, at date not null, code text) partition by range (at);
	create table parted_a partition of parted for values from (minvalue) to ('2025-07-01');
	create table "Parted B" partition of parted for values from ('2025-07-01') to (maxvalue);
	insert into parted select n, date '2025-01-01' + n, 'c' || n from generate_series(1, 300) n;
	create table pets (cage int not null, animal text not null);
	insert into pets select n, (array['lion', 'zebra', 'duck'])[1 + n % 3] from generate_series(1, 300) n;
	create table family (id int, name text);
	create table child (more int) inherits (family);
	insert into family select n, 'f' || n from generate_series(1, 300) n;
	insert into child select n, 'f' || n, 1 from generate_series(1, 300) n;
	create table slots (room int not null, starts timestamptz not null, unique (room, starts));
	insert into slots select n % 10, timestamptz '2025-01-01 00:00Z' + n * interval '1 day' from generate_series(1, 300) n;
	alter table orders add constraint positive check (price >= 0) not valid, add constraint refers foreign key (a) references "Shop".customers not valid;
	create table deferred (id int primary key, boss int references deferred deferrable initially deferred);
	insert into deferred select n, null from generate_series(1, 300) n;`

// Each constraint is found, by that name, is not broken before, is broken as often as wanted, and the migration is refused then.
func TestPlant(t *testing.T) {
	t.Parallel()
	template := servertest.Template(t, shop)
	for name, test := range map[string]struct {
		sql, finds, state string
	}{
		"unique":                 {`create unique index u on "Shop".customers (phone)`, `unique "Shop".u`, "23505"},
		"several columns":        {`create unique index u on orders (tenant, customer)`, `unique public.u`, "23505"},
		"expression":             {`create unique index u on "Shop".customers (lower("Nick Name"))`, `unique "Shop".u`, "23505"},
		"expression, else taken": {`create unique index u on "Shop".customers (lower(email))`, `unique "Shop".u`, "23505"},
		"generated column":       {`create unique index u on "Shop".customers (low)`, `unique "Shop".u`, "23505"},
		"new generated column":   {`alter table "Shop".customers add nick text generated always as (upper("Nick Name")) stored unique`, `unique "Shop".customers_nick_key`, "23505"},
		"partial":                {`create unique index u on orders (customer) where gone is null`, `unique public.u`, "23505"},
		"partial, nothing in it": {`create unique index u on "Shop".customers (tenant) where state in ('active', 'paused') and score > 1000`, `unique "Shop".u`, "23505"},
		"partial, two columns":   {`create unique index u on "Shop".customers (phone) where state = 'paused' and born is null`, `unique "Shop".u`, "23505"},
		"nulls not distinct":     {`create unique index u on orders (customer, gone) nulls not distinct`, `unique public.u`, "23505"},
		"one row only":           {`create unique index u on orders ((true)) where flag`, `unique public.u`, "23505"},
		"include":                {`create unique index u on orders (a) include (b)`, `unique public.u`, "23505"},
		"quoted constraint":      {`alter table "Shop".customers add constraint "Uniq!" unique ("Nick Name", tenant)`, `unique "Shop"."Uniq!"`, "23505"},
		"deferrable":             {`alter table orders add constraint d unique (a) deferrable initially deferred`, `unique public.d`, "23505"},
		"primary key":            {`alter table bare add primary key (v)`, `unique public.bare_pkey`, "23505"},
		"primary key, identity":  {`alter table always add primary key (id)`, `unique public.always_pkey`, "23505"},
		"composite key":          {`create unique index u on keyed (z, w)`, `unique public.u`, "23505"},
		"partitioned":            {`alter table parted add primary key (id, at)`, `unique public.parted_pkey`, "23505"},
		"inherited":              {`create unique index u on family (name)`, `unique public.u`, "23505"},
		"exclusion =":            {`alter table orders add constraint x exclude (a with =)`, `exclusion public.x`, "23P01"},
		"exclusion &&":           {`alter table orders add constraint x exclude using gist (tenant with =, during with &&)`, `exclusion public.x`, "23P01"},
		"exclusion of ranges":    {`alter table orders add constraint x exclude using gist (during with &&) where (not flag)`, `exclusion public.x`, "23P01"},
		"exclusion, expression":  {`alter table orders add constraint x exclude using gist (tenant with =, tstzrange(placed, until) with &&) where (price > 0)`, `exclusion public.x`, "23P01"},
		"exclusion <>":           {`alter table pets add constraint x exclude using gist (cage with =, animal with <>)`, `exclusion public.x`, "23P01"},
		"exclusion, key unique":  {`alter table slots add constraint x exclude using gist (room with =, tsrange(starts at time zone 'UTC', starts at time zone 'UTC' + interval '30 min') with &&)`, `exclusion public.x`, "23P01"},
		"not null":               {`alter table "Shop".customers alter "Nick Name" set not null`, `not null "Nick Name" of "Shop".customers`, "23502"},
		"not null, partitioned":  {`alter table parted alter code set not null`, `not null code of public.parted`, "23502"},
		"not null, computed":     {`alter table orders add twice int generated always as (customer * 2) stored not null`, `not null twice of public.orders`, "23502"},
		"check":                  {`alter table orders add constraint c check (price > 0)`, `check c of public.orders`, "23514"},
		"check of text":          {`alter table "Shop".customers add constraint c check (email ~ '^[^@]+@[^@]+$')`, `check c of "Shop".customers`, "23514"},
		"check of length":        {`alter table "Shop".customers add constraint c check (length("Nick Name") between 2 and 20)`, `check c of "Shop".customers`, "23514"},
		"check of two":           {`alter table orders add constraint c check (placed < until)`, `check c of public.orders`, "23514"},
		"check of labels":        {`alter table "Shop".customers add constraint c check (state <> 'paused' or born is not null)`, `check c of "Shop".customers`, "23514"},
		"check of NULL":          {`alter table orders add constraint c check ((note is null) = (gone is not null))`, `check c of public.orders`, "23514"},
		"foreign key":            {`alter table orders add constraint f foreign key (customer) references "Shop".customers`, `foreign key f of public.orders`, "23503"},
		"foreign key of text":    {`alter table orders add constraint f foreign key (mail) references "Shop".customers (email) deferrable initially deferred`, `foreign key f of public.orders`, "23503"},
		"foreign key, two":       {`alter table orders add constraint f foreign key (a, b) references keyed (x, y)`, `foreign key f of public.orders`, "23503"},
		"foreign key, full":      {`alter table keyed add constraint f foreign key (z, w) references keyed (x, y) match full`, `foreign key f of public.keyed`, "23503"},
		"without overlaps":       {`alter table orders add constraint w unique (tenant, during without overlaps)`, `exclusion public.w`, "23P01"},
		"validate check":         {`alter table orders validate constraint positive`, `check positive of public.orders`, "23514"},
		"validate foreign key":   {`alter table orders validate constraint refers`, `foreign key refers of public.orders`, "23503"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if version := servertest.Server(t).Version; strings.Contains(test.sql, "without overlaps") && version < 180000 || strings.Contains(test.sql, "nulls not") && version < 150000 {
				t.Skip("a newer server has it")
			}
			before, _ := database(t, template)
			after, _ := database(t, template)
			_, err := after.Exec(t.Context(), `truncate "Shop".customers, orders, keyed, bare, always, parted, pets, family, slots, deferred cascade; `+test.sql, pgx.QueryExecModeSimpleProtocol)
			require.NoError(t, err)
			added, err := plant.Added(t.Context(), before, after)
			require.NoError(t, err)
			var c plant.Constraint
			var names []string
			for _, a := range added {
				names = append(names, a.String())
				if a.String() == test.finds {
					c = a
				}
			}
			require.Contains(t, names, test.finds)
			there := keys(t, before, c.Query())
			require.Zero(t, there, "control: nothing breaks it yet\n%s", c.Query())
			tx, err := before.Begin(t.Context())
			require.NoError(t, err)
			_, err = tx.Exec(t.Context(), test.sql)
			require.NoError(t, err, "control")
			require.NoError(t, tx.Rollback(t.Context()))
			planted, why, err := c.Plant(t.Context(), before, 20)
			require.NoError(t, err)
			want := there + 20
			switch name {
			case "one row only":
				want = 1
			case "partial, nothing in it": // one for each tenant
				want = 7
			default:
				require.Empty(t, why)
			}
			require.GreaterOrEqual(t, planted, want, "%s\n%s", why, c.Query())
			require.Equal(t, planted, keys(t, before, c.Query()))
			_, err = before.Exec(t.Context(), test.sql)
			var pg *pgconn.PgError
			require.ErrorAs(t, err, &pg)
			require.Equal(t, test.state, pg.Code)
		})
	}
}

func keys(t *testing.T, conn *pgx.Conn, query string) (n int) {
	t.Helper()
	rows, err := conn.Query(t.Context(), query)
	require.NoError(t, err, query)
	for rows.Next() {
		n++
	}
	require.NoError(t, rows.Err(), query)
	return n
}

// database is a clone, and a connection to it.
func database(t *testing.T, template *server.Template) (*pgx.Conn, *server.Database) {
	t.Helper()
	db, err := template.Database(t.Context())
	require.NoError(t, err)
	conn, err := db.Connect(t.Context(), "test")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close(context.Background()))
		require.NoError(t, db.Drop(context.Background()))
	})
	return conn, db
}
