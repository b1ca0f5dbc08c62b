create table ranked (rank int not null unique deferrable initially deferred, name text);
create table named (a smallint unique deferrable, b smallint not null unique deferrable initially deferred);
