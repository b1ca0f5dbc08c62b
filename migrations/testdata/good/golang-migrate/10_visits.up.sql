CREATE TABLE visits (device_id integer REFERENCES devices, at timestamptz);
