create table divided (a int not null, b int not null, check (a / b >= 0));
create table ranged (a int not null, b int not null, exclude using gist (int4range(a, b) with &&));
create function sane(x text) returns boolean language plpgsql as 'begin if x = ''amber'' then raise exception ''no amber''; end if; return true; end';
create table functioned (x text not null check (sane(x)));
