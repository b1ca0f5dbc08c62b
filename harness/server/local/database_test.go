//go:build unix

package local_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// roundTrip has seeded rows, with identities and generated columns, sequences, and a circle of foreign keys.
const roundTrip = `
	create table country (code text primary key, name text not null);
	insert into country values ('de', 'Germany'), ('jp', 'Japan');
	create table person (id bigint generated always as identity primary key, country text not null references country,
		boss bigint references person, team bigint, shout text generated always as (upper(country)) stored);
	create table team (id bigserial primary key, lead bigint references person);
	alter table person add foreign key (team) references team;
	insert into person (country) values ('de');
	insert into team (lead) values (1);
	update person set team = 1, boss = 1;
	create table visit (id bigserial primary key, person bigint not null references person on delete cascade);
	create sequence counter start 10;
	select nextval('counter');
	create schema "odd Name"; create table "odd Name"."ta""ble" (x int);
	create table log (said text);
	create function tell() returns trigger language plpgsql as 'begin insert into log values (tg_op); return null; end';
	create trigger tell after insert or delete on country for each row execute function tell();
	create trigger always after insert or delete on country for each row execute function tell();
	create trigger replica after insert or delete on country for each row execute function tell();
	create trigger never after insert or delete on country for each row execute function tell();
	alter table country enable always trigger always, enable replica trigger replica, disable trigger never;
	create table heir (shout text) inherits (country);
	insert into heir values ('fr', 'France', 'FR');
	create extension btree_gist`

func TestTemplateDatabaseReset(t *testing.T) {
	t.Parallel()
	s := startFor(t, sharedCache())
	template, err := s.Template(t.Context(), migrate(roundTrip))
	require.NoError(t, err)
	d, err := template.Database(t.Context())
	require.NoError(t, err)
	other, err := template.Database(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, d.Name, other.Name)
	conn, err := d.Connect(t.Context(), "alice")
	require.NoError(t, err)
	defer conn.Close(t.Context())

	const state = `select (select json_agg(c order by code)::text from country c) || (select json_agg(p)::text from person p) ||
		(select json_agg(t)::text from team t) || (select count(*) from visit) || (select count(*) from "odd Name"."ta""ble") || (select count(*) from log) ||
		(select string_agg(tgenabled, '' order by tgname) from pg_trigger where tgrelid = 'country'::regclass and not tgisinternal)`
	seen := func() (text string) {
		require.NoError(t, conn.QueryRow(t.Context(), state).Scan(&text))
		return text
	}
	before := seen()
	for range 205 { // deletes, and now and then truncates
		var id, count int64
		_, err = conn.Exec(t.Context(), `insert into country values ('fr', 'France'); update person set country = 'fr'; delete from country where code = 'jp';
			insert into visit (person) select id from person; insert into "odd Name"."ta""ble" values (1)`, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
		require.NoError(t, conn.QueryRow(t.Context(), `insert into person (country, team) values ('fr', 1) returning id`).Scan(&id))
		require.NoError(t, conn.QueryRow(t.Context(), `select nextval('counter')`).Scan(&count))
		require.EqualValues(t, 2, id)
		require.EqualValues(t, 11, count)
		require.NotEqual(t, before, seen())
		require.NoError(t, d.Reset(t.Context(), conn))
		require.Equal(t, before, seen())
	}
	require.NoError(t, d.Drop(t.Context())) // with a client connected
	require.NoError(t, other.Drop(t.Context()))
	require.NoError(t, template.Drop(t.Context()))
}
