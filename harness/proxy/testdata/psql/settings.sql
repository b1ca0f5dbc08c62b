-- What a session sets, hears, and says at once.
set datestyle = 'German, DMY'; select date '2026-01-05';
set intervalstyle = 'iso_8601'; select interval '1 day 2 hours';
set timezone = 'Asia/Seoul'; select timestamptz '2026-01-05 10:00+00';
begin; set local timezone = 'UTC'; show timezone; rollback; show timezone;
begin; set application_name = 'undone'; rollback; show application_name;
set client_encoding = 'LATIN1'; select U&'\00e9', length(U&'\00e9\2713'); select U&'\2713';
reset all; show timezone;
select set_config('application_name', 'by a function', false), current_setting('application_name');
set nothing = 1; set custom.nothing = 1; show custom.nothing;
set role nobody_at_all; set session authorization default;
begin; set local statement_timeout = '100ms'; select pg_sleep(100); rollback;
set lock_timeout = '1ms'; show lock_timeout; reset lock_timeout;
set default_transaction_isolation = 'repeatable read'; select count(*) from t; begin; show transaction_isolation; commit;
reset default_transaction_isolation;
listen news; listen "Other News";
notify news; notify "Other News", 'payload';
select pg_notify('news', i::text) from generate_series(1, 3) i;
begin; notify news, 'committed'; notify news, 'committed'; select 1; commit;
begin; notify news, 'rolled back'; rollback;
unlisten news; notify news, 'not heard'; notify "Other News", 'heard'; unlisten *;
notify "Other News", 'not heard';
select pg_advisory_lock(1), pg_try_advisory_lock(1), pg_advisory_unlock(1), pg_advisory_unlock(1), pg_advisory_unlock(1);
\encoding
\c
show application_name;
