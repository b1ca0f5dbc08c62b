-- What psql makes of results: variables, statements made of them, descriptions, files.
select 41 + 1 as answer, null as nothing, 'a''b' as quoted \gset it_
select :it_answer, :'it_quoted', :{?it_nothing};
select 1 as a where false \gset
select 1 as a union select 2 \gset
select format('create table made_%s (id int)', i) from generate_series(1, 3) i \gexec
select format('insert into made_%s select 1/%s', i, i - 1) from generate_series(1, 3) i \gexec
select format('drop table made_%s', i) from generate_series(1, 3) i \gexec
select 1 as one, 'two'::varchar(3) as two, now() as three \gdesc
select nothing \gdesc
insert into t (v) values ('described') returning id, v \gdesc
select 1 as one, 'two' as two \gx
select 'to a file' \g written.txt
\! cat written.txt
select * from generate_series(1, 3) i \g | tail -1
select 1/0;
\errverbose
\echo :ERROR :SQLSTATE :LAST_ERROR_SQLSTATE :ROW_COUNT
select 1 \; select 2 as two \; select 3 where false \; values (4), (5);
select 1 \; selec \; select 2;
\set SHOW_ALL_RESULTS off
select 1 \; select 2;
\set SHOW_ALL_RESULTS on
;
/* nothing */ ;
select i % 2 as row, i as col, i * i as value from generate_series(1, 4) i \crosstabview
\if :it_answer
select 'taken';
\else
select 'not taken';
\endif
select v from t where id = :it_answer \p
\r
\dn
\df noisy
\sf noisy
\l template0
\du nobody
\set ECHO_HIDDEN on
\d late
\set ECHO_HIDDEN off
do $$ begin raise info 'info'; raise notice 'notice' using hint = 'a hint'; raise warning 'warning' using detail = 'a detail', table = 't'; end $$;
set client_min_messages = log;
do $$ begin raise log 'log'; end $$;
set client_min_messages = error;
do $$ begin raise warning 'not seen'; end $$;
reset client_min_messages;
do $$ begin raise exception 'on purpose' using errcode = 'P0123', column = 'c', constraint = 'k', datatype = 'd', schema = 's'; end $$;
create procedure commits() language plpgsql as $$ begin insert into t (v) values ('one'); commit; insert into t (v) values ('two'); rollback; end $$;
call commits();
begin; call commits(); rollback;
do $$ begin insert into t (v) values ('three'); commit; end $$;
select v from t order by id;
drop procedure commits;
create index concurrently t_n on t (n);
reindex index concurrently t_n;
drop index concurrently t_n;
begin; create index concurrently t_n on t (n); rollback;
create type mood as enum ('good'); alter type mood add value 'bad'; drop type mood;
explain (costs off) select * from t where n = 1;
truncate t restart identity;
