create extension btree_gist;
create table rooms (id int primary key);
create table bookings (room int not null references rooms, during tstzrange not null, exclude using gist (room with =, during with &&));
create table shifts (room int not null, starts timestamptz not null, ends timestamptz not null, check (starts < ends), exclude using gist (room with =, tstzrange(starts, ends) with &&));
create table periods (span daterange not null, exclude using gist (span with &&) deferrable initially deferred);
