-- +goose Up
CREATE TABLE devices (id integer PRIMARY KEY, serial text NOT NULL);
-- +goose StatementBegin
CREATE FUNCTION devices_touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.serial := upper(NEW.serial);
  RETURN NEW;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION devices_touch();
DROP TABLE devices;
