-- short: public.ledger 1 it had rows already
create table ledger (version int primary key, at timestamptz default now());
insert into ledger values (7);
create table log (line text not null);
