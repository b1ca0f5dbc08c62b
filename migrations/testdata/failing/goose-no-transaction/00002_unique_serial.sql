-- +goose NO TRANSACTION
-- +goose Up
INSERT INTO devices VALUES ('C-3');
INSERT INTO devices VALUES ('C-3');
CREATE UNIQUE INDEX CONCURRENTLY devices_serial ON devices (serial);
-- +goose Down
CREATE UNIQUE INDEX CONCURRENTLY devices_serial ON devices (serial);
