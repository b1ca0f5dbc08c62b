-- +goose ENVSUB ON
-- +goose Up
CREATE TABLE devices (id ${INTERLOCK_TEST_TYPE:-intejer}, serial text);
