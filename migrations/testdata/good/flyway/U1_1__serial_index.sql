DROP INDEX devices_serial;
