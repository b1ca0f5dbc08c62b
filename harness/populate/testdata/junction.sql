create table a (id int primary key);
create table b (id int primary key);
create table a_b (a int references a, b int references b, primary key (a, b));
create table favourites (a int not null unique references a, rank int not null);
