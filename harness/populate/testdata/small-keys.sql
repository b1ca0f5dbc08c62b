-- short: public.answers 2 the unique index answers_pkey has room for 2 rows
-- short: public.combos 6 the unique index combos_kind_yes_key has room for 6 rows
create type kind as enum ('a', 'b', 'c');
create table answers (yes boolean primary key);
create table combos (kind kind not null, yes boolean not null, unique (kind, yes));
