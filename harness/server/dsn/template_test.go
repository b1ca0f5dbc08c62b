//go:build unix

package dsn_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// theirs makes a database that belongs to a role.
func (e existing) theirs(t *testing.T, name, owner, script string) {
	t.Helper()
	_, err := e.admin.Exec(t.Context(), `create database `+name+` owner `+owner)
	require.NoError(t, err)
	config := e.admin.Config()
	config.Database = name
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `set role `+owner+`; `+script, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	require.Eventually(t, func() bool { // its backend holds the database for a moment longer than its connection
		var connected bool
		err := e.admin.QueryRow(t.Context(), `select exists (select from pg_stat_activity where datname = $1)`, name).Scan(&connected)
		return err == nil && !connected
	}, 10*time.Second, time.Millisecond)
}

// shop has rows that refer to each other, a sequence that was used, and a trigger that writes.
const shop = `
	create table item (id bigserial primary key, name text unique not null);
	create table sold (item bigint not null references item, at timestamptz not null default now());
	create table log (said text);
	create function tell() returns trigger language plpgsql as 'begin insert into log values (tg_op); return null; end';
	create trigger tell after insert or delete on item for each row execute function tell();
	insert into item (name) values ('chair'), ('table');
	insert into sold values (1)`

// A database of the user's is where every clone begins, and goes back to, whoever asks; it stays as it is.
func TestTemplateOf(t *testing.T) {
	t.Parallel()
	e := setup(t)
	for name, s := range map[string]*server.Server{"app": start(t, e.dsn("app", password)), "postgres": start(t, e.dsn("postgres", ""))} {
		e.theirs(t, "shop_of_"+name, name, shop)
		template, err := s.TemplateOf(t.Context(), "shop_of_"+name, nil)
		require.NoError(t, err)
		d, err := template.Database(t.Context())
		require.NoError(t, err)
		conn, err := d.Connect(t.Context(), "alice")
		require.NoError(t, err)
		seen := func() (text string) {
			require.NoError(t, conn.QueryRow(t.Context(), `select (select string_agg(id || name, ' ' order by id) from item) || ' sold ' || (select count(*) from sold) ||
				' log ' || (select string_agg(said, ' ') from log) || ' next ' || (select last_value + 1 from item_id_seq) || ' tells ' ||
				(select tgenabled::text from pg_trigger where tgname = 'tell')`).Scan(&text))
			return text
		}
		const before = "1chair 2table sold 1 log INSERT INSERT next 3 tells O"
		require.Equal(t, before, seen())
		for range 3 {
			_, err := conn.Exec(t.Context(), `delete from sold; delete from item where id = 1; insert into item (name) values ('lamp')`, pgx.QueryExecModeSimpleProtocol)
			require.NoError(t, err)
			require.Equal(t, "2table 3lamp sold 0 log INSERT INSERT DELETE INSERT next 4 tells O", seen())
			require.NoError(t, d.Reset(t.Context(), conn))
			require.Equal(t, before, seen())
		}
		require.NoError(t, conn.Close(t.Context()))

		again, err := s.TemplateOf(t.Context(), d.Name, nil) // a database of ours is one, too
		require.NoError(t, err)
		require.NoError(t, again.Drop(t.Context()))
		further, err := s.TemplateOf(t.Context(), "shop_of_"+name, migrate)
		require.NoError(t, err)
		require.NoError(t, further.Drop(t.Context()))
		require.NoError(t, s.Stop(t.Context()))
		var tables int
		require.NoError(t, e.admin.QueryRow(t.Context(), `select count(*) from pg_database where datname = $1`, "shop_of_"+name).Scan(&tables))
		require.Equal(t, 1, tables)
	}
	require.Empty(t, e.databases(t))
}

// What cannot be copied is refused with the reason and what to do about it, and nothing is left of the attempt.
func TestNoTemplate(t *testing.T) {
	t.Parallel()
	e := setup(t)
	s := start(t, e.dsn("app", password))
	e.theirs(t, "others", "postgres", shop)
	_, err := e.admin.Exec(t.Context(), `create database shared is_template true`)
	require.NoError(t, err)

	_, err = s.TemplateOf(t.Context(), "nosuch", nil)
	require.EqualError(t, err, `copying database nosuch: ERROR: template database "nosuch" does not exist (SQLSTATE 3D000); try the name of a database of `+s.Where+`, or --postgres DSN of the server that it is on`)
	_, err = s.TemplateOf(t.Context(), "others", nil)
	require.ErrorContains(t, err, "permission denied to copy database")
	require.ErrorContains(t, err, `; try ALTER DATABASE "others" IS_TEMPLATE true, or a role that owns it`)

	// Whoever may copy it need not be allowed to read it.
	_, err = e.admin.Exec(t.Context(), `alter database others is_template true`)
	require.NoError(t, err)
	_, err = s.TemplateOf(t.Context(), "others", nil)
	require.ErrorContains(t, err, "permission denied for table item")
	require.ErrorContains(t, err, "; try --postgres DSN with the role that owns the tables, or with a superuser")
	template, err := s.TemplateOf(t.Context(), "shared", nil)
	require.NoError(t, err)
	require.NoError(t, template.Drop(t.Context()))
	require.Empty(t, e.databases(t))
}

// Postgres waits for 5 seconds until nobody is connected any more.
func TestTemplateInUse(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	e := setup(t)
	s := start(t, e.dsn("app", password))
	e.theirs(t, "mine", "app", shop)
	config := e.admin.Config()
	config.Database = "mine"
	busy, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	defer busy.Close(context.Background())
	_, err = s.TemplateOf(t.Context(), "mine", nil)
	require.ErrorContains(t, err, `source database "mine" is being accessed by other users (SQLSTATE 55006) (There is 1 other session using the database.)`)
	require.ErrorContains(t, err, "; try ending whatever uses it, or the name of a copy that nobody uses, as createdb --template makes one")
	require.Empty(t, e.databases(t))
}
