-- +goose NO TRANSACTION
-- +goose Up
CREATE UNIQUE INDEX CONCURRENTLY devices_serial ON devices (serial);

-- +goose Down
DROP INDEX CONCURRENTLY devices_serial;
