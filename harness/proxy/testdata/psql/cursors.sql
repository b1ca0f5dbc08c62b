-- Cursors, by hand and psql's own, prepared statements, and results that are large.
insert into t (v, n) select 'row ' || i, i from generate_series(1, 30) i;
begin;
declare c scroll cursor for select id, v from t order by id;
fetch 2 from c;
fetch backward 1 from c;
move forward 5 in c;
fetch relative 0 from c;
fetch all from c;
update t set n = 0 where current of c;
close c;
fetch 1 from c;
rollback;
declare c cursor for select 1;
declare c cursor with hold for select v from t where n < 4 order by id;
fetch 1 from c;
fetch 1 from c \; fetch 1 from c;
close all;
begin; declare c binary cursor for select id from t; fetch 1 from c; commit;
\set FETCH_COUNT 7
select id, v from t order by id;
select 1/(20 - id) from t order by id;
begin; select id from t order by id; select 1/(20 - id) from t order by id; select 1; rollback;
insert into t (v) select 'more ' || i from generate_series(1, 20) i returning id, v;
select nothing from t;
select id from t where false;
\set FETCH_COUNT 1
table t limit 3;
\unset FETCH_COUNT
prepare p (int) as select v from t where id = $1;
prepare p as select 1;
execute p (1);
execute p ('x');
execute p;
explain (costs off) execute p (1);
begin isolation level repeatable read; execute p (2); deallocate p; execute p (2); rollback;
prepare q as insert into t (v) values ($1) returning v;
execute q ('row 1'); execute q ('by name'); execute q (null);
begin; execute q ('in a block'); prepare r as table t; deallocate r; commit;
prepare s as selec;
deallocate all;
execute q ('gone');
discard all;
select i, repeat('z', 80) from generate_series(1, 2000) i;
\pset format unaligned
select repeat('z', 300000);
select string_agg(v, ',' order by id) from t;
\pset format aligned
truncate t restart identity;
