BEGIN;
CREATE TABLE dropped ();
ROLLBACK;
CREATE UNIQUE INDEX CONCURRENTLY devices_serial ON devices (serial);
