-- +goose Up
CREATE TABLE once (n integer PRIMARY KEY);
INSERT INTO once VALUES (1);
-- INSERT INTO once VALUES (1);
  INSERT INTO once VALUES (1);
