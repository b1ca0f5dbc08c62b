\set id random(1, 10)
select n as first from t where id = :id \; select :id + 1 as second \aset
insert into made (v) values (:first) \; insert into made (v) values (:second) \; select 1;
