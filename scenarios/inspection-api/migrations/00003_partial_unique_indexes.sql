-- The answer to the duplicate sessions. goose runs the file in one transaction: all three indexes are there, or none is.
-- CREATE INDEX keeps writers out while it builds. On a large live table, build each CONCURRENTLY, in a file of its own and without a transaction.

-- +goose Up

-- At most one open session per device. Finished ones are not in the index, so history is not limited.
-- It fails with 23505 while open duplicates exist; the DETAIL names one of them only.
CREATE UNIQUE INDEX idx_inspection_sessions_active_session_per_equipment
  ON aedpics.inspection_sessions (equipment_serial)
  WHERE status IN ('active', 'paused');

-- For monitoring: the visits of a device on a day. DATE(scheduled_for) is refused here with 42P17: on which date a timestamptz falls depends on
-- the TimeZone of whoever asks, so that expression is only STABLE, and an index must not give each session another answer. Naming the zone
-- makes it IMMUTABLE. A query uses the index only if it asks for this very expression, and its days begin at midnight UTC.
-- interlock: uses idx_inspection_schedules_equipment_date for: SELECT count(*) FROM aedpics.inspection_schedules WHERE (scheduled_for AT TIME ZONE 'UTC')::date = $1 AND aed_data_id = $2
CREATE INDEX idx_inspection_schedules_equipment_date
  ON aedpics.inspection_schedules (aed_data_id, ((scheduled_for AT TIME ZONE 'UTC')::date));

-- For monitoring: the visits of a device that are still on, in order of time.
-- interlock: uses idx_inspection_schedules_active for: SELECT * FROM aedpics.inspection_schedules WHERE aed_data_id = $1 AND status <> 'cancelled' ORDER BY scheduled_for
CREATE INDEX idx_inspection_schedules_active
  ON aedpics.inspection_schedules (aed_data_id, scheduled_for)
  WHERE status NOT IN ('cancelled');

-- +goose Down
-- With their schema, and without IF EXISTS: DROP INDEX IF EXISTS of a bare name succeeds without dropping anything when aedpics is not on the
-- search_path.
DROP INDEX aedpics.idx_inspection_schedules_active;
DROP INDEX aedpics.idx_inspection_schedules_equipment_date;
DROP INDEX aedpics.idx_inspection_sessions_active_session_per_equipment;
