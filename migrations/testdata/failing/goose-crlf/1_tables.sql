-- +goose Up
CREATE TABLE a ();
CREATE TABLE a ();
-- +goose Down
DROP TABLE a;
