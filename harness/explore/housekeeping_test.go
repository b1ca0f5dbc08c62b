package explore

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/wire"
)

func TestHousekeeping(t *testing.T) {
	for sql, want := range map[string]bool{
		"":                                 true,
		"-- ping":                          true,
		";":                                true,
		"SELECT 1":                         true,
		"select 1 as \"one\";":             true,
		"SELECT 1+1 AS result":             true,
		"select version()":                 true,
		"SHOW server_version":              true,
		"show transaction isolation level": true,
		"DISCARD ALL":                      true,
		"SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;": true,
		"ROLLBACK": true,
		`select oid, typname from pg_type where typname = 'citext'`:                                                                  true,
		`SELECT ns.nspname, t.oid FROM pg_type t JOIN pg_namespace ns ON ns.oid = t.typnamespace WHERE t.typtype in ('d', 'e')`:      true,
		`select c.relname from pg_catalog.pg_class c, lateral unnest(c.relacl) a where exists (select from "pg_catalog"."pg_index")`: true,
		`select * from information_schema.tables where table_schema = 'public'`:                                                      true,

		`select i.relname, array_agg(a.attname order by k.n) from (pg_index x cross join unnest(x.indkey) with ordinality as k(attnum, n)) ` +
			`join pg_class i on i.oid = x.indexrelid join pg_attribute a on a.attnum = k.attnum group by 1`: true,
		`select k.n from pg_catalog.pg_index i, information_schema._pg_expandarray(i.indkey) k where i.indrelid = (select oid from pg_class)`: true,
		`select pg_catalog.format_type(t.oid, null), (t.typlen::varchar(9)) from (select * from pg_type) t`:                                   true,

		"select 2 from seats":                                    false,
		"select reserve_seat(s) from unnest($1::int[]) s":        false,
		"select create_order(i) from generate_series(1, 3) i":    false,
		"select i from generate_series(1, 3) i":                  false,
		"select reserve_seat(1) from pg_class limit 1":           false,
		"select seats.pg(c) from pg_class c":                     false,
		`select "Reserve"(oid) from pg_class`:                    false,
		"select * from (seats s cross join unnest(s.people) i)":  false,
		"select * from (pg_class c cross join seats)":            false,
		"select pg_advisory_lock(1)":                             false,
		"select pg_notify('a', 'b')":                             false,
		"rollback; delete from seats":                            false,
		"insert into notes values ('see pg_catalog.pg_class')":   false,
		"select count(*) from taken where note = 'from pg_type'": false,
		"insert into taken select 's', 1 where not exists (select from taken where 1 operator(pg_catalog.=) 1)": false,
		"select nextval('s') from pg_class limit 1":                                                             false,
		"select * from pg_class c, seats s where c.oid = s.id":                                                  false,
		"select * from pg_class c join seats s on true":                                                         false,
		"select * from pg_class where oid in (select id from seats)":                                            false,
		"select * from seats.pg_class":                                                                          false,
		"select * from pg_catalog":                                                                              false,
		`with gone as (delete from seats returning *) select * from pg_class`:                                   false,
		"select into copy from pg_class":                                                                        false,
		"update pg_class set relpages = 0":                                                                      false,
		"select extract(epoch from at), relname from pg_class, seats":                                           false,
		"select ) from pg_class":                                                                                false,
	} {
		require.Equal(t, want, isHousekeeping(wire.State{Step: wire.Step{SQL: sql}}), sql)
		require.False(t, isHousekeeping(wire.State{Step: wire.Step{SQL: sql, InTransaction: true}}), sql)
	}
}
