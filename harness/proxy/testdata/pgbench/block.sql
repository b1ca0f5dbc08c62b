\set id random(1, 10)
begin;
update t set n = n + 1 where id = :id;
select n from t where id = :id \gset
commit;
insert into made (v) values (:n);
