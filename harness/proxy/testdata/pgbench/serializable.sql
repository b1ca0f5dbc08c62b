\set id random(1, 10)
begin isolation level serializable;
select sum(n) from t;
update t set n = n + 1 where id = :id;
commit;
