create table people (
	email text not null unique check (email ~* '^[a-z0-9._%+-]+@[a-z0-9.-]+\.[a-z]{2,}$'), phone text not null check (phone ~ '^\+?[0-9]{7,15}$'),
	plate varchar(8) not null unique check (plate ~ '^[A-Z]{3}-\d{4}$'), url text not null check (url like 'https://%'), tag text check (tag not like '% %'));
