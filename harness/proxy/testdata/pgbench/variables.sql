\set id random(1, 10)
\if :id > 5
insert into made (v) values (0) returning id \gset new_
delete from made where id = :new_id;
\else
begin isolation level repeatable read;
select count(*) from t;
savepoint s;
update t set n = n where id = :id and false;
rollback to s;
end;
\endif
