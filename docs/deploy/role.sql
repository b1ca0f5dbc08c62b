-- The roles of interlock serve, each with no more than it needs. Run it as the owner of the tables (who may also create roles) in the database that is
-- watched, with:  psql --single-transaction -v ON_ERROR_STOP=1 -f docs/deploy/role.sql
-- It may be run again. Then, in psql:  \password interlock
--
-- serve has one DSN, so it has one role that logs in, interlock, which is a member of what it is to do:
--
--   interlock_watch    looks: SELECT, on the columns that the looks read. No names, no notes, no addresses. Nothing can be written.
--   interlock_outbox   messages wait in the schema interlock (notify: {outbox: {table: true}})
--   interlock_repair   rows that break an invariant are cancelled (repair: {mode: apply}). A dry run needs only its SELECT on whole rows
--
-- It is made a member of interlock_watch only. For more:  grant interlock_outbox, interlock_repair to interlock;

do $$
declare role text;
begin
	foreach role in array array['interlock_watch', 'interlock_outbox', 'interlock_repair'] loop
		if not exists (select from pg_roles where rolname = role) then
			execute format('create role %I nologin', role);
		end if;
	end loop;
	if not exists (select from pg_roles where rolname = 'interlock') then
		create role interlock login connection limit 20;
	end if;
	execute format('grant connect on database %I to interlock_watch', current_database());
end $$;
grant interlock_watch to interlock;

-- Looks.
grant usage on schema aedpics to interlock_watch;
grant select (id, equipment_serial, inspector_id, status, started_at, last_accessed_at, updated_at) on aedpics.inspection_sessions to interlock_watch;
grant select (id, aed_data_id, equipment_serial, scheduled_for, status, updated_at) on aedpics.inspection_schedules to interlock_watch;
grant select (id, equipment_serial) on aedpics.aed_data to interlock_watch;
-- Optional: when transactions of other roles began. Looks at what has changed go as far back as the oldest of those, and one minute more. Without it, they
-- go back that minute only: what a longer transaction writes is found by the next look at everything (checks.full).
--grant pg_read_all_stats to interlock_watch;

-- The outbox. serve makes these tables itself where its role may create a schema. Here they are made for it, so that it need not.
create schema if not exists interlock;
create table if not exists interlock.notify_watch (
	watch text primary key,
	state json not null default '{}'
);
create table if not exists interlock.notify_message (
	seq         bigint generated always as identity primary key,
	destination text not null,
	watch       text not null,
	dead        boolean not null,
	message     json not null
);
create index if not exists notify_message_destination on interlock.notify_message (destination, seq);
create index if not exists notify_message_watch on interlock.notify_message (watch, seq);
create table if not exists interlock.notify_destination (
	destination  text primary key,
	claim        text,
	leased_until timestamptz
);
comment on table interlock.notify_watch is 'what Interlock has told of each watch, format 1';
comment on table interlock.notify_message is 'what Interlock has still to tell';
comment on table interlock.notify_destination is 'which instance of Interlock sends to whom';
grant usage on schema interlock to interlock_outbox;
grant select, insert, update, delete on interlock.notify_watch, interlock.notify_message, interlock.notify_destination to interlock_outbox;

-- Repairs. A row is archived whole before it is cancelled, so all of it is read. To lock a device, which serves as the lock of its rows, a role must be
-- allowed to update one of its columns: it is the id, which those rows refer to.
grant usage on schema aedpics to interlock_repair;
grant select on aedpics.inspection_sessions, aedpics.inspection_schedules to interlock_repair;
grant update (status, cancelled_at, updated_at, notes) on aedpics.inspection_sessions to interlock_repair;
grant update (status, updated_at, notes) on aedpics.inspection_schedules to interlock_repair;
grant select (id, equipment_serial), update (id) on aedpics.aed_data to interlock_repair;
-- The archive is made here too. interlock repair --undo, for people, needs no more than this either.
create schema if not exists interlock_archive;
create table if not exists interlock_archive.rows (
	repair      text not null,
	relation    text not null,
	id          uuid not null,
	invariant   text not null,
	key         text not null,
	before      jsonb not null,
	after       jsonb not null,
	archived_at timestamptz not null default now(),
	undone_at   timestamptz,
	primary key (repair, relation, id)
);
comment on table interlock_archive.rows is 'rows as they were before interlock repair changed them; interlock repair --undo REPAIR restores them';
grant usage on schema interlock_archive to interlock_repair;
grant select, insert, update (undone_at) on interlock_archive.rows to interlock_repair;
