-- short: public.refused 0 not today
create table picky (id int primary key, x int not null);
create function picky() returns trigger language plpgsql as 'begin if new.x % 2 = 1 then raise exception ''odd''; end if; return new; end';
create trigger picky before insert on picky for each row execute function picky();
create table refused (x int);
create function refuse() returns trigger language plpgsql as 'begin raise exception ''not today''; end';
create trigger refuse before insert on refused for each row execute function refuse();
