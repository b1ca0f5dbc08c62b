CREATE TABLE devices (id integer PRIMARY KEY, serial text NOT NULL);
CREATE FUNCTION devices_touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.serial := upper(NEW.serial);
  RETURN NEW;
END
$$;
