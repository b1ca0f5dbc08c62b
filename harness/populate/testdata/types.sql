create type mood as enum ('sad', 'ok', 'it''s fine');
create type pair as (a int, b text);
create table everything (
	id uuid primary key, a smallint, b int not null, c bigint, d numeric(5,2) not null, e numeric, f real, g double precision, h money,
	i text not null, j varchar(3), k char(4), l char, m boolean, n date, o time(3), p timetz, q timestamp(0), r timestamptz, s interval, t json, u jsonb not null,
	v bytea, w bit(5), x bit varying(9), y inet, z cidr, aa macaddr, ab mood not null, ac mood[], ad int[] not null, ae text[], af int4range, ag tstzrange, ah numrange,
	ai daterange, aj pair, ak point, al box, am circle, an polygon, ao path, ap tsvector, aq tsquery, ar xml, "as" oid, at pg_lsn, "Quoted ""Name" text not null,
	au name, av "char", aw numeric(3,3), ax varchar(5)[], ay macaddr8, az line, ba lseg, bb jsonb[]);
