-- +goose Up
CREATE TABLE devices (serial text);
INSERT INTO devices VALUES ('A-1'), ('B-2'), ('A-1');
