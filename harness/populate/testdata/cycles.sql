create table departments (id int primary key, head int);
create table employees (id int primary key, department int not null references departments, manager int references employees);
alter table departments add foreign key (head) references employees;
create table chickens (id int primary key, egg int not null);
create table eggs (id int primary key, chicken int not null references chickens);
alter table chickens add foreign key (egg) references eggs deferrable;
create table rooted (id int primary key, parent int not null references rooted);
create table rooted_serial (id int generated always as identity primary key, parent int not null references rooted_serial);
