package migrations_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/migrations"
)

func TestEmbedded(t *testing.T) {
	set := migrations.Embedded()
	require.Equal(t, migrations.Goose, set.Layout)
	require.Equal(t, []int64{1, 2, 3}, set.Versions())
	var labels []string
	for _, m := range set.Migrations {
		labels = append(labels, m.Label())
		require.Len(t, m.Checksum, 64)
	}
	require.Equal(t, []string{"base schema", "partial unique indexes", "schedule window"}, labels)

	opened, err := migrations.Open("sql", "")
	require.NoError(t, err)
	opened.Dir = set.Dir
	require.Equal(t, set, opened, "the directory and what is embedded are the same")
}

// device 1, with an inspector, in a database at a version.
func embeddedAt(t *testing.T, version int64) bundle {
	t.Helper()
	b := setup(t)
	_, err := migrations.Embedded().Apply(b.ctx, b.config, version)
	require.NoError(t, err)
	b.exec(`insert into aedpics.aed_data (id, equipment_serial) values (1, 'A-1'), (2, 'B-2')`)
	b.exec(`insert into aedpics.user_profiles (id) values ('00000000-0000-4000-8000-000000000001')`)
	return b
}

// answer returns the SQLSTATE that a statement was refused with; "" if it was accepted.
func (b bundle) answer(sql string, args ...any) string {
	b.t.Helper()
	_, err := b.conn.Exec(b.ctx, sql, args...)
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	require.NoError(b.t, err)
	return ""
}

func TestOneOpenSession(t *testing.T) {
	for version, refused := range map[int64]string{1: "", 2: "23505", 3: "23505"} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			b := embeddedAt(t, version)
			session := func(serial, status string) string {
				return b.answer(`insert into aedpics.inspection_sessions (equipment_serial, inspector_id, status)
					values ($1, '00000000-0000-4000-8000-000000000001', $2::text::aedpics.session_status)`, serial, status)
			}
			require.Empty(t, session("A-1", "active"))
			require.Equal(t, refused, session("A-1", "active"))
			require.Equal(t, refused, session("A-1", "paused"))
			for _, status := range []string{"completed", "completed", "cancelled", "in_progress"} {
				require.Empty(t, session("A-1", status), status)
			}
			require.Empty(t, session("B-2", "paused"), "another device")
			require.Equal(t, refused, session("B-2", "active"))
			require.Equal(t, refused, b.answer(`update aedpics.inspection_sessions set status = 'paused' where equipment_serial = 'A-1' and status = 'completed'
				and id = (select min(id::text)::uuid from aedpics.inspection_sessions where equipment_serial = 'A-1' and status = 'completed')`))
		})
	}
}

// visit plans one, and returns the SQLSTATE. A device or time may be nil.
func (b bundle) visit(device, at any, status string) string {
	b.t.Helper()
	return b.answer(`insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for, status)
		values ($1::int, 'A-1', $2::text::timestamptz, $3::text::aedpics.schedule_status)`, device, at, status)
}

func TestScheduleWindow(t *testing.T) {
	const noon = "2025-11-10 12:00:00+00"
	for name, c := range map[string]struct {
		device  any
		at      string
		refused string
	}{
		"the same time":                {1, noon, "23P01"},
		"the same time, named else":    {1, "2025-11-10 21:00:00+09", "23P01"},
		"29:59.999999 later":           {1, "2025-11-10 12:29:59.999999+00", "23P01"},
		"30:00.000000 later":           {1, "2025-11-10 12:30:00.000000+00", ""},
		"29:59.999999 earlier":         {1, "2025-11-10 11:30:00.000001+00", "23P01"},
		"30:00.000000 earlier":         {1, "2025-11-10 11:30:00.000000+00", ""},
		"the same time, other device":  {2, noon, ""},
		"the same time, unknown one":   {nil, noon, ""},
		"for ever":                     {1, "infinity", ""},
		"the same time, the day after": {1, "2025-11-11 12:00:00+00", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := embeddedAt(t, 3)
			b.exec(`set timezone = 'Asia/Seoul'`) // which must not matter
			require.Empty(t, b.visit(1, noon, "scheduled"))
			require.Equal(t, c.refused, b.visit(c.device, c.at, "scheduled"))
			require.Empty(t, b.visit(c.device, c.at, "cancelled"), "a cancelled one is not in the way, nor is anything in its way")
		})
		t.Run(name+", without the constraint", func(t *testing.T) {
			b := embeddedAt(t, 2)
			require.Empty(t, b.visit(1, noon, "scheduled"))
			require.Empty(t, b.visit(c.device, c.at, "scheduled"))
		})
	}
}

func TestScheduleWindowSpecialValues(t *testing.T) {
	b := embeddedAt(t, 3)
	require.Empty(t, b.visit(1, nil, "scheduled"), "no time yet")
	require.Empty(t, b.visit(1, nil, "scheduled"))
	require.Empty(t, b.visit(nil, "2025-11-10 12:00Z", "scheduled"), "no device yet")
	require.Empty(t, b.visit(nil, "2025-11-10 12:00Z", "scheduled"))
	require.Empty(t, b.visit(1, "infinity", "scheduled"))
	require.Empty(t, b.visit(1, "infinity", "scheduled"))
	require.Empty(t, b.visit(1, "-infinity", "scheduled"))
	require.Empty(t, b.visit(1, "2025-11-10 12:00Z", "cancelled"))
	require.Empty(t, b.visit(1, "2025-11-10 12:00Z", "scheduled"), "in nobody's way so far")
	require.Equal(t, "23P01", b.visit(1, "2025-11-10 12:00Z", "in_progress"))
	require.Equal(t, "23P01", b.visit(1, "2025-11-10 12:10Z", "completed"), "only cancelling frees the time")
	require.Equal(t, "23P01", b.answer(`update aedpics.inspection_schedules set status = 'scheduled' where status = 'cancelled'`))
	require.Equal(t, "23P01", b.answer(`update aedpics.inspection_schedules set aed_data_id = 1 where aed_data_id is null`))

	// The control: without IS NOT NULL, a visit without a time takes all of it.
	b.exec(`delete from aedpics.inspection_schedules; alter table aedpics.inspection_schedules drop constraint inspection_schedules_no_overlap_30min`)
	b.exec(`alter table aedpics.inspection_schedules add exclude using gist (aed_data_id with =,
		tsrange(scheduled_for at time zone 'UTC', (scheduled_for at time zone 'UTC') + interval '30 minutes', '[)') with &&) where (status <> 'cancelled')`)
	require.Empty(t, b.visit(1, nil, "scheduled"))
	require.Equal(t, "23P01", b.visit(1, "2025-11-10 12:00Z", "scheduled"))
}

// The planner can use the index on dates for the expression that it is on, and not for DATE().
func TestEquipmentDateIndexIsUsed(t *testing.T) {
	b := embeddedAt(t, 2)
	b.exec(`set enable_seqscan = off; drop index aedpics.inspection_schedules_aed_data_id_idx, aedpics.idx_inspection_schedules_active`)
	plan := func(day string) []string {
		return b.column(`explain (costs off) select from aedpics.inspection_schedules where aed_data_id = 1 and ` + day + ` = '2025-11-10'`)
	}
	require.Contains(t, plan(`(scheduled_for at time zone 'UTC')::date`)[1], "scheduled_for AT TIME ZONE 'UTC'")
	require.Contains(t, plan(`date(scheduled_for)`), "  Filter: (date(scheduled_for) = '2025-11-10'::date)")
}

// catalog describes all of the schema: columns, types, constraints, indexes.
func (b bundle) catalog() []string {
	b.t.Helper()
	return b.column(`
		select format('column %s.%s %s%s %s%s', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
			case when a.attnotnull then ' not null' else '' end, pg_get_expr(d.adbin, d.adrelid), a.attidentity)
		from pg_class c join pg_attribute a on a.attrelid = c.oid left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
		where c.relnamespace = to_regnamespace('aedpics') and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
		union all
		select format('constraint %s on %s: %s', conname, conrelid::regclass, pg_get_constraintdef(oid)) from pg_constraint
		where connamespace = to_regnamespace('aedpics')
		union all
		select format('index %s valid %s', pg_get_indexdef(indexrelid), indisvalid) from pg_index join pg_class c on c.oid = indexrelid
		where c.relnamespace = to_regnamespace('aedpics')
		union all
		select format('type %s %s', t.oid::regtype, array(select enumlabel from pg_enum where enumtypid = t.oid order by enumsortorder)) from pg_type t
		where t.typnamespace = to_regnamespace('aedpics') and t.typtype = 'e'
		union all
		select 'schema ' || nspname from pg_namespace where nspname !~ '^pg_'
		order by 1`)
}

func TestUpDownUp(t *testing.T) {
	b := setup(t)
	set := migrations.Embedded()
	at := map[int64][]string{0: b.catalog()}
	for _, version := range set.Versions() {
		_, err := set.Apply(b.ctx, b.config, version)
		require.NoError(t, err)
		at[version] = b.catalog()
		require.NotEqual(t, at[version-1], at[version], "the comparison can tell versions apart")
	}
	for version := int64(2); version >= 0; version-- {
		done, err := set.Down(b.ctx, b.config, version)
		require.NoError(t, err)
		require.Len(t, done, 1)
		require.Equal(t, at[version], b.catalog(), "down to %d", version)
	}
	_, err := set.Apply(b.ctx, b.config, 0)
	require.NoError(t, err)
	require.Equal(t, at[3], b.catalog())
	done, err := set.Down(b.ctx, b.config, 0)
	require.NoError(t, err)
	require.Len(t, done, 3)
	require.EqualValues(t, 3, done[0].Migration.Version, "newest first")

	b.exec(`create schema aedpics`)
	require.NotEqual(t, at[0], b.catalog(), "the comparison sees a schema")
}

// The seed's own way back, word for word, says that it dropped three indexes and drops none: their schema is not on the search_path.
func TestSeedRollbackDropsNothing(t *testing.T) {
	b := embeddedAt(t, 2)
	before := b.catalog()
	const rollback = `DROP INDEX IF EXISTS idx_inspection_sessions_active_session_per_equipment;
		DROP INDEX IF EXISTS idx_inspection_schedules_equipment_date;
		DROP INDEX IF EXISTS idx_inspection_schedules_active;`
	b.exec(rollback)
	require.Equal(t, before, b.catalog())
	b.exec(`set search_path = aedpics`)
	b.exec(rollback)
	b.exec(`reset search_path`)
	require.Len(t, b.catalog(), len(before)-3)
}

// Existing rows that break a constraint are named, and what was applied before stays.
func TestEmbeddedOnDirtyData(t *testing.T) {
	for version, dirty := range map[int64]struct {
		sql, state, source string
	}{
		2: {
			`insert into aedpics.inspection_sessions (equipment_serial, inspector_id) select 'A-1', id from aedpics.user_profiles, generate_series(1, 2)`,
			"23505", "CREATE UNIQUE INDEX idx_inspection_sessions_active_session_per_equipment",
		},
		3: {
			`insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for) values (1, 'A-1', '2025-11-10 12:00Z'), (1, 'A-1', '2025-11-10 12:29Z')`,
			"23P01", "ALTER TABLE aedpics.inspection_schedules",
		},
	} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			b := embeddedAt(t, version-1)
			before := b.catalog()
			b.exec(dirty.sql)
			done, err := migrations.Embedded().Apply(context.Background(), b.config, version)
			require.Empty(t, done)
			var failure *migrations.Error
			require.ErrorAs(t, err, &failure)
			require.Equal(t, dirty.state, failure.SQLState)
			require.Equal(t, dirty.source, failure.Source)
			require.Equal(t, 1, failure.Column)
			require.NotEmpty(t, failure.Detail)
			require.Zero(t, failure.Kept)
			require.Equal(t, before, b.catalog())
		})
	}
}
