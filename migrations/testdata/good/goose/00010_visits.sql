-- +goose Up
CREATE TABLE visits (device_id integer REFERENCES devices, at timestamptz);

-- +goose Down
DROP TABLE visits;
