-- Transactions, savepoints, and errors in and out of blocks.
\set VERBOSITY verbose
begin; insert into t (v) values ('committed'); commit;
begin; insert into t (v) values ('rolled back'); rollback;
begin isolation level serializable read only deferrable;
select count(*) from t;
insert into t (v) values ('read only');
select 1;
commit;
begin;
begin;
savepoint a;
insert into t (v) values ('committed');
rollback to savepoint a;
savepoint a;
insert into t (v) values ('inner');
release savepoint a;
rollback to savepoint a;
rollback to savepoint nowhere;
rollback to a;
commit and chain;
show transaction_isolation;
set transaction isolation level serializable;
set transaction isolation level read committed;
rollback and no chain;
commit;
rollback;
savepoint outside;
start transaction read only; show transaction_read_only; end;
begin; prepare transaction 'x';
commit prepared 'x';
begin; insert into late values (7), (7); set constraints all immediate; rollback;
begin; insert into late values (7), (7); commit;
insert into late values (7), (7);
select count(*) from late;
begin; lock table t in exclusive mode; select pg_advisory_xact_lock(1); commit;
lock table t;
begin; select 1/0; commit;
begin \; insert into t (v) values ('several') \; select 1/0 \; commit;
rollback;
insert into t (v) values ('implicit') \; select 1/0;
insert into t (v) values ('implicit') \; begin \; insert into t (v) values ('taken over') ;
rollback;
select v from t order by id;
\set AUTOCOMMIT off
insert into t (v) values ('not yet');
select 1/0;
select 1;
rollback;
insert into t (v) values ('now');
commit;
\set AUTOCOMMIT on
\set ON_ERROR_ROLLBACK on
begin;
insert into t (v) values ('kept');
insert into t (v) values ('kept');
select nothing;
insert into t (v) values ('kept too');
commit;
\set ON_ERROR_ROLLBACK off
select v from t order by id;
truncate t restart identity;
