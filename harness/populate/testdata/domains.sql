create domain positive as int check (value > 0);
create domain percent as positive check (value <= 100);
create domain email as text not null check (value like '%@%.%');
create table accounts (id positive primary key, share percent, mail email, mails email[], maybe positive);
