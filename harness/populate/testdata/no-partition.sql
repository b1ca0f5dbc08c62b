-- short: public.empty 0 no partition of relation
create table empty (id int) partition by list (id);
