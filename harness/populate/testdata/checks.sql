create table products (
	id int primary key, price numeric(10,2) not null check (price > 0 and price < 100), state text not null check (state in ('new', 'used', 'it''s broken')),
	size varchar(2) check (size = any (array['S', 'M', 'L', 'XL'])), percent int not null check (percent between 0 and 100), code text not null check (char_length(code) = 8),
	name text not null check (length(trim(name)) >= 3), negative int not null check (negative < -1000), upper text not null check (upper = upper(upper)),
	born date not null check (born > '1950-01-01' and born <= '1999-12-31'), starts timestamptz not null, ends timestamptz not null check (ends > starts),
	ratio float8 not null check (ratio >= 0 and ratio <= 1), list int[] not null check (cardinality(list) > 0));
