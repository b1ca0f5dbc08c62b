package scenarios

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/check"
)

// tables are those that the scenarios read and write.
var tables = []string{"aed_data", "user_profiles", "inspection_sessions", "inspections", "inspection_schedules"}

// Fits reports, as an error, which tables of the domain a database lacks.
func Fits(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `select t from unnest($1::text[]) t where to_regclass('aedpics.' || t) is null`, tables)
	if err != nil {
		return err
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("the built-in scenarios are about the schema aedpics, and these migrations do not make its %s; "+
			"try writing a scenario of your own (README, \"Write a scenario\")", strings.Join(missing, ", "))
	}
	return nil
}

// IsControl reports whether a workload of [Workloads] is a negative control: something of it breaks at every migration.
func IsControl(w harness.Workload) bool {
	for _, d := range Defences() {
		if d.Name == w.Variant {
			return !d.sound() && !d.Insert
		}
	}
	return false
}

// Invariants returns all invariants of the domain, S1 to S6, each once. 0: [Window].
func Invariants(window time.Duration) []harness.Invariant {
	sessions, schedules := SessionInvariants(), ScheduleInvariants(Options{Window: window}.resolve().Window)
	return append(sessions[:1:1], schedules...)
}

// Indexes returns the indexes of migrations 2 and 3, to look for in a live database, with their definitions as Postgres prints them. A constraint keeps
// visits apart as far as it says, and so as far as a window that is shorter; for one that is longer, it would have to be another. 0: [Window].
func Indexes(window time.Duration) []check.Index {
	window = max(Options{Window: window}.resolve().Window, Window)
	return []check.Index{
		{
			Schema: "aedpics", Table: "inspection_sessions", Name: "idx_inspection_sessions_active_session_per_equipment", Protects: "S1",
			Definition: "CREATE UNIQUE INDEX idx_inspection_sessions_active_session_per_equipment ON aedpics.inspection_sessions USING btree (equipment_serial) " +
				"WHERE (status = ANY (ARRAY['active'::aedpics.session_status, 'paused'::aedpics.session_status]))",
		},
		{
			Schema: "aedpics", Table: "inspection_schedules", Name: "inspection_schedules_no_overlap_30min", Protects: "S2",
			Definition: "EXCLUDE USING gist (aed_data_id WITH =, " +
				"tsrange((scheduled_for AT TIME ZONE 'UTC'::text), ((scheduled_for AT TIME ZONE 'UTC'::text) + '" + hours(window) + "'::interval), '[)'::text) WITH &&) " +
				"WHERE (((status <> 'cancelled'::aedpics.schedule_status) AND (scheduled_for IS NOT NULL)))",
		},
		{Schema: "aedpics", Table: "inspection_schedules", Name: "idx_inspection_schedules_equipment_date"},
		{Schema: "aedpics", Table: "inspection_schedules", Name: "idx_inspection_schedules_active"},
	}
}

// hours returns a duration as Postgres prints an interval that was written with it, as 00:30:00.
func hours(d time.Duration) string {
	text := fmt.Sprintf("%02d:%02d:%02d.%06d", d/time.Hour, d/time.Minute%60, d/time.Second%60, d/time.Microsecond%1_000_000)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}
