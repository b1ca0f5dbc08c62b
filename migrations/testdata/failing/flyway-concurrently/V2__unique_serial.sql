CREATE INDEX CONCURRENTLY devices_lower ON devices (lower(serial));
CREATE UNIQUE INDEX CONCURRENTLY devices_serial ON devices (serial);
CREATE TABLE never_reached ();
