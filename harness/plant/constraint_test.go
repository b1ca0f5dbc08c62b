package plant_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/plant"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// What is new, and what is not.
func TestAdded(t *testing.T) {
	t.Parallel()
	template := servertest.Template(t, `
		create table a (id int primary key, b int, c text, d int check (d > 0));
		alter table a add constraint later check (b > 0) not valid;
		create unique index taken on a (b);
		create function odd(int) returns int language sql immutable as 'select $1'`)
	for sql, want := range map[string][]string{
		``:                        nil,
		`create index i on a (c)`: nil,
		`create table n (id int primary key, a int not null references a check (a > 0) unique)`: nil,
		`alter index taken rename to other`:                                                     nil,
		`alter table a rename constraint a_d_check to e`:                                        nil,
		`drop index taken; create unique index taken on a (b)`:                                  nil,
		`drop index taken; alter table a add unique (b)`:                                        nil,
		`alter table a add e int not null default 1 check (e > 0), add unique (e)`:              nil,
		`alter table a add e int references a`:                                                  nil,
		`create table n (id int primary key); alter table a add foreign key (b) references n`:   nil,
		`create temp table n (id int primary key)`:                                              nil,
		`alter table a drop constraint later, add constraint later check (b > 0) not valid`:     nil,
		`drop index taken; create unique index taken on a (c)`:                                  {`unique public.taken: CREATE UNIQUE INDEX taken ON public.a USING btree (c)`},
		`create unique index u on a (b) where c is null`:                                        {`unique public.u: CREATE UNIQUE INDEX u ON public.a USING btree (b) WHERE (c IS NULL)`},
		`alter table a validate constraint later`:                                               {`check later of public.a: CHECK ((b > 0))`},
		`alter table a add constraint k check (c <> '') not valid`:                              {`check k of public.a, NOT VALID: CHECK ((c <> ''::text)) NOT VALID`},
		`alter table a drop constraint a_pkey, add primary key (c)`:                             {`unique public.a_pkey: PRIMARY KEY (c)`, `not null c of public.a: ALTER COLUMN c SET NOT NULL`},
		`alter table a add foreign key (d) references a`:                                        {`foreign key a_d_fkey of public.a: FOREIGN KEY (d) REFERENCES public.a(id)`},
		`alter table a add e int generated always as (b * 2) stored not null`:                   {`not null e of public.a: ALTER COLUMN e SET NOT NULL`},
	} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			before, _ := database(t, template)
			after, _ := database(t, template)
			_, err := after.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
			require.NoError(t, err)
			added, err := plant.Added(t.Context(), before, after)
			require.NoError(t, err)
			var got []string
			for _, c := range added {
				says := c.String()
				if !c.Validated {
					says += ", NOT VALID"
				}
				got = append(got, says+": "+c.Definition)
				require.Zero(t, keys(t, before, c.Query()))
			}
			require.Equal(t, want, got)
		})
	}
}

// An index that CONCURRENTLY left INVALID keeps nothing, before and after.
func TestAddedInvalid(t *testing.T) {
	t.Parallel()
	template := servertest.Template(t, `create table a (b int); insert into a values (1), (1)`)
	before, _ := database(t, template)
	after, _ := database(t, template)
	const index = `create unique index concurrently u on a (b)`
	for _, conn := range []*pgx.Conn{before, after} {
		_, err := conn.Exec(t.Context(), index)
		require.Error(t, err)
	}
	added, err := plant.Added(t.Context(), before, after)
	require.NoError(t, err)
	require.Empty(t, added)
	_, err = after.Exec(t.Context(), `delete from a; reindex index u`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	added, err = plant.Added(t.Context(), before, after)
	require.NoError(t, err)
	require.Len(t, added, 1)
	require.Equal(t, 1, keys(t, before, added[0].Query()))
}

// The queries are for people. What each finds is what PostgreSQL refuses, NULLs and all.
func TestQuery(t *testing.T) {
	t.Parallel()
	template := servertest.Template(t, `
		create extension btree_gist;
		create schema "S"; create table "S"."T" (id int primary key, "A b" int, c text, low int, high int, up int, up2 int);
		insert into "S"."T" values (1, 1, 'x', 1, 3, 1, 1), (2, 1, 'X', 2, 4, 2, 1), (3, null, null, 3, 5, 9, null), (4, null, null, null, null, null, 9), (5, 2, 'y', 9, 10, 1, 1), (6, 2, 'z', 8, 8, 3, 7);
		create table "S".two (x int, y int, primary key (x, y)); insert into "S".two values (1, 1), (2, 1);
		create table plain (v int); insert into plain values (1), (1), (null)`)
	for _, test := range []struct {
		sql, query string
		version    int
		found      [][]string
	}{
		{
			sql:   `create unique index u on "S"."T" ("A b")`,
			query: "SELECT \"A b\", count(*) AS rows, array_agg(id ORDER BY id) AS ids\nFROM \"S\".\"T\"\nWHERE \"A b\" IS NOT NULL\nGROUP BY 1\nHAVING count(*) > 1\nORDER BY 1",
			found: [][]string{{"1", "2", "{1,2}"}, {"2", "2", "{5,6}"}},
		},
		{
			sql: `create unique index u on "S"."T" (c, "A b") nulls not distinct`, version: 150000,
			query: "SELECT c, \"A b\", count(*) AS rows, array_agg(id ORDER BY id) AS ids\nFROM \"S\".\"T\"\nGROUP BY 1, 2\nHAVING count(*) > 1\nORDER BY 1, 2",
			found: [][]string{{"NULL", "NULL", "2", "{3,4}"}},
		},
		{
			sql:   `create unique index u on "S"."T" (lower(c)) where "A b" = 1 or low > 5`,
			query: "SELECT lower(c) AS lower, count(*) AS rows, array_agg(id ORDER BY id) AS ids\nFROM \"S\".\"T\"\nWHERE ((\"A b\" = 1) OR (low > 5)) AND lower(c) IS NOT NULL\nGROUP BY 1\nHAVING count(*) > 1\nORDER BY 1",
			found: [][]string{{"x", "2", "{1,2}"}},
		},
		{
			sql:   `create unique index u on plain (v)`,
			query: "SELECT v, count(*) AS rows, array_agg(ctid ORDER BY ctid) AS ids\nFROM public.plain\nWHERE v IS NOT NULL\nGROUP BY 1\nHAVING count(*) > 1\nORDER BY 1",
			found: [][]string{{"1", "2", `{"(0,1)","(0,2)"}`}},
		},
		{
			sql: `alter table "S"."T" add constraint x exclude using gist ("A b" with =, int4range(low, high) with &&) where (id < 100)`,
			query: "WITH claim AS (\n  SELECT id AS row_id, \"A b\", int4range(low, high) AS int4range\n  FROM \"S\".\"T\"\n  WHERE (id < 100) AND \"A b\" IS NOT NULL\n)\n" +
				"SELECT a.\"A b\", a.int4range, b.int4range, 2 AS rows, ARRAY[a.row_id, b.row_id] AS ids\nFROM claim AS a JOIN claim AS b ON a.row_id < b.row_id AND a.\"A b\" = b.\"A b\" AND a.int4range && b.int4range\nORDER BY a.row_id, b.row_id",
			found: [][]string{{"1", "[1,3)", "[2,4)", "2", "{1,2}"}},
		},
		{
			sql:   `alter table "S"."T" alter c set not null`,
			query: "SELECT id, c\nFROM \"S\".\"T\"\nWHERE c IS NULL\nORDER BY id",
			found: [][]string{{"3", "NULL"}, {"4", "NULL"}},
		},
		{
			sql:   `alter table "S"."T" add constraint k check (high > low)`,
			query: "SELECT id, high, low\nFROM \"S\".\"T\"\nWHERE NOT (high > low)\nORDER BY id",
			found: [][]string{{"6", "8", "8"}},
		},
		{
			sql: `alter table "S"."T" add constraint f foreign key (up, up2) references "S".two`,
			query: "SELECT t.up, t.up2, count(*) AS rows, array_agg(t.id ORDER BY t.id) AS ids\nFROM \"S\".\"T\" AS t\nWHERE t.up IS NOT NULL AND t.up2 IS NOT NULL" +
				" AND NOT EXISTS (SELECT 1 FROM \"S\".two AS parent WHERE parent.x = t.up AND parent.y = t.up2)\nGROUP BY 1, 2\nORDER BY 1, 2",
			found: [][]string{{"3", "7", "1", "{6}"}},
		},
		{
			sql: `alter table "S"."T" add constraint f foreign key (up, up2) references "S".two match full`,
			query: "SELECT t.up, t.up2, count(*) AS rows, array_agg(t.id ORDER BY t.id) AS ids\nFROM \"S\".\"T\" AS t\nWHERE (t.up IS NOT NULL AND t.up2 IS NOT NULL" +
				" AND NOT EXISTS (SELECT 1 FROM \"S\".two AS parent WHERE parent.x = t.up AND parent.y = t.up2) OR num_nulls(t.up, t.up2) BETWEEN 1 AND 1)\nGROUP BY 1, 2\nORDER BY 1, 2",
			found: [][]string{{"3", "7", "1", "{6}"}, {"9", "NULL", "1", "{3}"}, {"NULL", "9", "1", "{4}"}},
		},
	} {
		t.Run(test.sql, func(t *testing.T) {
			t.Parallel()
			if servertest.Server(t).Version < test.version {
				t.Skipf("needs PostgreSQL %d", test.version/10000)
			}
			before, _ := database(t, template)
			after, _ := database(t, template)
			_, err := after.Exec(t.Context(), `truncate "S"."T", plain; `+test.sql, pgx.QueryExecModeSimpleProtocol)
			require.NoError(t, err)
			added, err := plant.Added(t.Context(), before, after)
			require.NoError(t, err)
			require.Len(t, added, 1)
			require.Equal(t, test.query, added[0].Query())
			rows, err := before.Query(t.Context(), added[0].Query(), pgx.QueryResultFormats{pgx.TextFormatCode})
			require.NoError(t, err)
			got, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]string, error) {
				var cells []string
				for _, v := range row.RawValues() {
					if v == nil {
						cells = append(cells, "NULL")
					} else {
						cells = append(cells, string(v))
					}
				}
				return cells, nil
			})
			require.NoError(t, err)
			require.Equal(t, test.found, got)
		})
	}
}
