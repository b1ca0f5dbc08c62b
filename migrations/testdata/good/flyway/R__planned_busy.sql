CREATE OR REPLACE VIEW busy AS SELECT device_id FROM planned;
