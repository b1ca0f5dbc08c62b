CREATE UNIQUE INDEX CONCURRENTLY devices_serial ON devices (serial);
