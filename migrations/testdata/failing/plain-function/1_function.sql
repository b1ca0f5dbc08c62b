CREATE FUNCTION half(n integer) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
  RETURN 1 / n;
END
$$;

SELECT half(1); SELECT half(0);
