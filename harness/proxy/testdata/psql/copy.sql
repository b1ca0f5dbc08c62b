-- COPY, in both directions, at the server and by psql, and what goes wrong on the way.
copy t (v, n) from stdin (format csv, header);
v,n
"one, with a comma",1
two,
\.
copy t (v) from stdin;
three
two
\.
copy t (n) from stdin;
1
not a number
\.
copy t (n, v) from stdin;
1
\.
copy t from stdin (freeze);
\.
copy nothing from stdin;
begin; copy t (v) from stdin;
in a block
\.
select count(*) from t;
copy t (v) from stdin;
in a block
\.
copy t (v) from stdin;
rollback;
copy (select v, n from t order by id) to stdout (format csv, header, force_quote *);
copy (select 1/(3 - i) from generate_series(1, 5) i) to stdout;
select 1 \; copy (select 2) to stdout \; select 3;
copy (values (4)) to stdout \; select 1/0;
\copy (select i, repeat('y', 50) from generate_series(1, 3000) i) to 'rows.txt'
create table rows (i int primary key, y text);
\copy rows from 'rows.txt'
\copy rows from 'rows.txt'
\copy rows from 'nowhere.txt'
\copy rows to 'rows.bin' (format binary)
truncate rows;
begin;
\copy rows from 'rows.bin' (format binary)
select count(*), sum(length(y)) from rows;
rollback;
\copy rows (i) from pstdin
\.
\copy (select count(*) from rows) to stdout
drop table rows;
\lo_import written.txt 'a comment'
\lo_export :LASTOID exported.txt
\! cat exported.txt
begin;
\lo_unlink :LASTOID
rollback;
\lo_unlink :LASTOID
\lo_unlink 1
truncate t restart identity;
