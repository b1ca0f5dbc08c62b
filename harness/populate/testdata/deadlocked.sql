-- short: public.hens 0 public.hens and public.yolks refer to each other, and neither can be first
-- short: public.yolks 0 refers to public.hens, which has no rows
create table hens (id int primary key, yolk int not null);
create table yolks (id int primary key, hen int not null references hens);
alter table hens add foreign key (yolk) references yolks;
