create table countries (code char(2) primary key);
create table cities (id serial primary key, country char(2) not null references countries, name text not null, unique (country, name), unique (country, id));
create table people (id uuid primary key default gen_random_uuid(), country char(2) not null, city int not null, boss uuid references people, foreign key (country, city) references cities (country, id));
create table passports (person uuid primary key references people, country char(2) references countries);
create table visits (person uuid references people, city int references cities, day date, primary key (person, city));
