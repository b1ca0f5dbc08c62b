create table members (id int primary key, email text not null, deleted_at timestamptz, open boolean not null);
create unique index on members (email) where deleted_at is null;
create table seats (member int not null references members, state text not null check (state in ('active', 'paused', 'gone')));
create unique index on seats (member) where state in ('active', 'paused');
