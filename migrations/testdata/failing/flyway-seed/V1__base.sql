CREATE SCHEMA aedpics;
CREATE TYPE aedpics.status AS ENUM ('active', 'paused', 'completed', 'cancelled');
CREATE TABLE aedpics.inspection_sessions (id uuid, equipment_serial text, status aedpics.status);
CREATE TABLE aedpics.inspection_schedules (id uuid, aed_data_id integer, scheduled_for timestamptz(6), status aedpics.status);
