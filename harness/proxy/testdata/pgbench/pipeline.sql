\set id random(1, 10)
\startpipeline
update t set n = n + 1 where id = :id;
insert into made (v) values (0);
\endpipeline
\startpipeline
begin;
select n from t where id = :id;
insert into made (v) values (1);
commit;
select 1;
\endpipeline
