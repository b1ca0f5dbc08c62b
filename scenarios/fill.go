package scenarios

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Fill fills the five empty tables with so many rows each, such as a healthy service has: a quarter of the devices in use, at most one open session on
// each, most of them finished with an inspection, and visits a day apart. The same seed gives the same rows. It is one transaction.
//
// Sessions and schedules have the ids of rows that are there before a race, so none of them counts as one that nobody was told of. The devices
// from [inUse] on have neither, and inspector n has [userID] n.
func Fill(ctx context.Context, conn *pgx.Conn, rows int, seed int64) error {
	const (
		at   = `timestamptz '2025-11-10 00:00Z'`
		dice = `(hashint8extended(i, $2) & 1048575)` // of row i
	)
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, sql := range []string{
			`insert into aedpics.aed_data (equipment_serial, sido, gugun, installation_address, jurisdiction_health_center)
				select 'AED-' || lpad(i::text, 7, '0'), (array['서울', '부산', '대구', '인천'])[1 + ` + dice + ` % 4], 'gu ' || ` + dice + ` % 25, 'gate ' || ` + dice + ` % 9, 'centre ' || ` + dice + ` % 250
				from generate_series(1, $1::bigint) i`,
			`insert into aedpics.user_profiles (id, full_name, email, role)
				select ('` + users + `' || lpad(i::text, 12, '0'))::uuid, 'Inspector ' || i, 'inspector-' || i || '@example.org', case when ` + dice + ` % 20 = 0 then 'admin' else 'inspector' end
				from generate_series(1, $1::bigint) i`,
			`insert into aedpics.inspection_sessions (id, equipment_serial, inspector_id, status, current_step, step_data, started_at, paused_at,
					completed_at, cancelled_at, last_accessed_at, created_at, updated_at)
				select ('` + startSessions + `' || lpad(i::text, 12, '0'))::uuid, 'AED-' || lpad(device::text, 7, '0'), ('` + users + `' || lpad((1 + roll % $1)::text, 12, '0'))::uuid, status::aedpics.session_status,
					roll % 8, jsonb_build_object('step', roll % 8), began, case when status = 'paused' then ended end, case when status = 'completed' then ended end,
					case when status = 'cancelled' then ended end, ended, began, ended
				from generate_series(1, $1::bigint) i, greatest($1 / 4, 1) devices,
					lateral (select ` + dice + ` as roll, 1 + (i - 1) % devices as device) a,
					lateral (select ` + at + ` - i * interval '7 minutes' as began) b,
					lateral (select began + roll % 40 * interval '1 minute' as ended, case
						when i <= devices and roll % 10 = 0 then 'active' when i <= devices and roll % 10 = 1 then 'paused'
						when roll % 10 = 2 then 'cancelled' else 'completed' end as status) c`,
			`insert into aedpics.inspections (id, session_id, inspector_id, equipment_serial, completed_at, created_at)
				select md5('inspection ' || id)::uuid, id, inspector_id, equipment_serial, completed_at, completed_at
				from aedpics.inspection_sessions where $2::bigint is not null and $1::bigint is not null and status = 'completed'`,
			`insert into aedpics.inspection_schedules (id, aed_data_id, equipment_serial, scheduled_for, assignee_identifier, priority, created_by, status, created_at, updated_at)
				select ('` + startSchedules + `' || lpad(i::text, 12, '0'))::uuid, case when roll % 50 > 0 then device.id end, device.equipment_serial,
					case when roll % 50 <> 1 then ` + at + ` + (i - 1) / devices * interval '1 day' + roll % 600 * interval '1 minute' end, 'team ' || roll % 12,
					(array['low', 'normal', 'high'])[1 + roll % 3], ('` + users + `' || lpad((1 + roll % $1)::text, 12, '0'))::uuid,
					(array['scheduled', 'scheduled', 'in_progress', 'completed', 'cancelled'])[1 + roll % 5]::aedpics.schedule_status, ` + at + `, ` + at + `
				from generate_series(1, $1::bigint) i, greatest($1 / 4, 1) devices, lateral (select ` + dice + ` as roll) a
					join lateral (select id, equipment_serial from aedpics.aed_data where equipment_serial = 'AED-' || lpad((1 + (i - 1) % devices)::text, 7, '0')) device on true`,
		} {
			if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeExec, int64(rows), seed); err != nil {
				return fmt.Errorf("filling the tables of the domain: %w", err)
			}
		}
		return nil
	})
}

// inUse is how many of so many devices [Fill] puts to use: the first ones.
func inUse(rows int) int { return max(rows/4, 1) }

// filledSerial is the serial of a device that [Fill] makes; the first is 0.
func filledSerial(device int) string { return fmt.Sprintf("AED-%07d", deviceID(device)) }
