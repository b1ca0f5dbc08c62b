-- 점검 세션: 장비마다 열린 세션은 하나
CREATE UNIQUE INDEX idx_inspection_sessions_active_session_per_equipment
  ON aedpics.inspection_sessions(equipment_serial)
  WHERE status IN ('active', 'paused');

-- 점검 일정: 모니터링
CREATE INDEX idx_inspection_schedules_equipment_date
  ON aedpics.inspection_schedules(aed_data_id, DATE(scheduled_for));

CREATE INDEX idx_inspection_schedules_active
  ON aedpics.inspection_schedules(aed_data_id, scheduled_for)
  WHERE status NOT IN ('cancelled');
