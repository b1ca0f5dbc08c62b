create schema "Odd ""One";
create table "Odd ""One"."select" ("from" int primary key, "a b" text not null check ("a b" in ('x', 'y')), "User's" int unique);
create table public."select" ("from" int not null references "Odd ""One"."select");
create unlogged table fast (x int);
create table base (id int primary key);
create table derived (extra text) inherits (base);
