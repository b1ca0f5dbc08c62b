DROP FUNCTION devices_touch();
DROP TABLE devices;
