-- short: public.never 0 no generated value of x passes its checks
-- short: public.childless 0 refers to public.never, which has no rows
-- short: public.sums 0 CHECK sums_check
create table never (x int primary key check (x > 5 and x < 5));
create table childless (x int not null references never);
create table optional (x int references never, y int);
create table sums (a int not null, b int not null, check (a = b + 1 and b = a + 1));
