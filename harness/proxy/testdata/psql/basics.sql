\set VERBOSITY verbose
\set SHOW_CONTEXT always
select 1 as one, null as two;
insert into t (v) values ('a') returning id;
insert into t (v) values ('a');
select noisy(2);
begin; insert into t (v) values ('b'); savepoint s; insert into t (v) values ('b'); rollback to s; commit;
begin isolation level repeatable read;
select count(*) from t;
select 1/0;
select 1;
rollback;
select 1 \; select 2 \; select 1/0;
insert into late values (1), (1);
copy t (v) from stdin;
x
y
\.
copy (select v from t order by v) to stdout;
\copy t (v) from program 'seq 1 5000'
\copy t (v) from program 'echo 1'
select count(*), min(v) from t;
prepare p as select count(*) from t where id > $1;
execute p (1);
\set FETCH_COUNT 100
select id from t where id < 1000 order by id;
\unset FETCH_COUNT
select 'select ' || i from generate_series(1, 3) i \gexec
listen news;
notify news, 'payload';
select v, n from t limit 1 \gdesc
\echo :SQLSTATE :LAST_ERROR_MESSAGE :ROW_COUNT
\d t
\dt
vacuum t;
do $$ begin raise warning 'from do'; end $$;
create table late (id int);
set application_name = 'psql again';
\c
select current_user, application_name from pg_stat_activity where pid = pg_backend_pid();
truncate t, late restart identity;
