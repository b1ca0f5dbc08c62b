CREATE TABLE a ();
\connect other
CREATE TABLE b ();
