CREATE OR REPLACE VIEW planned AS SELECT * FROM visits WHERE at > now();
