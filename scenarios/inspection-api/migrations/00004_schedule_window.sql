-- No two visits to one device less than 30 minutes apart, kept by the database itself, whatever the application checks or forgets to check.

-- +goose Up

-- It waits for whoever reads the table, and everybody else waits behind it: not for long. Refused with 55P03, it is applied again.
SET LOCAL lock_timeout = '250ms';

-- It teaches GiST, which ranges need, the = of plain types such as integer. Trusted: the owner of the database may create it.
CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA public;

-- Each visit claims the half hour that begins with it, and no two claims of a device overlap. Two half hours overlap exactly when they begin
-- less than half an hour apart, so this is the window in both directions, and symmetric, which the application's check is not.
--
--   '[)'                       half-open: 10:00 and 10:30 touch without overlapping; 10:29:59.999999 is refused.
--   AT TIME ZONE 'UTC'         timestamptz + interval is only STABLE (a day added has 23, 24 or 25 hours, by TimeZone), and refused with 42P17.
--                              timestamp + interval is IMMUTABLE, and UTC has no clock changes that could fold two instants into one.
--   status <> 'cancelled'      a cancelled visit frees its time.
--   scheduled_for IS NOT NULL  tsrange(NULL, NULL) is not NULL but all of time: one visit without a time would block its device for ever.
--   aed_data_id WITH =         a visit without a device conflicts with nothing: NULL = NULL is not true.
--
-- Visits at 'infinity' do not conflict: their claim, [infinity, infinity), is empty. The constraint cannot be added NOT VALID (0A000), and
-- adding it takes ACCESS EXCLUSIVE while its index builds; existing conflicts fail it with 23P01.
ALTER TABLE aedpics.inspection_schedules
  ADD CONSTRAINT inspection_schedules_no_overlap_30min
  EXCLUDE USING gist (
    aed_data_id WITH =,
    tsrange(scheduled_for AT TIME ZONE 'UTC', (scheduled_for AT TIME ZONE 'UTC') + interval '30 minutes', '[)') WITH &&
  )
  WHERE (status <> 'cancelled' AND scheduled_for IS NOT NULL);

-- +goose Down
-- The extension stays: it may have been there before, and others may use it by now.
ALTER TABLE aedpics.inspection_schedules DROP CONSTRAINT inspection_schedules_no_overlap_30min;
