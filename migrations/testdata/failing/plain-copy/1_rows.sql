CREATE TABLE a (n integer, name text);
COPY a (n, name) FROM stdin;
1	it's; not a quote
\.
CREATE TABLE b ();
