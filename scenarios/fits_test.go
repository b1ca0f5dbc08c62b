package scenarios

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/check"
	"github.com/interlock-pg/interlock/harness/history"
)

// A constraint protects S2 where it keeps visits apart as far as is asked for, and not where it keeps them less far.
func TestIndexesOfAnotherWindow(t *testing.T) {
	b := setup(t, 3)
	config := b.db.Config("check")
	config.RuntimeParams["intervalstyle"] = "iso_8601" // which changes nothing
	for window, enforcing := range map[time.Duration]bool{
		0: true, Window: true, time.Minute: true, Window + time.Microsecond: false, time.Hour: false,
	} {
		run, err := check.Run(b.ctx, check.Config{Indexes: Indexes(window)}, config)
		require.NoError(t, err)
		i := slices.IndexFunc(run.Check.Indexes, func(i history.Index) bool { return i.Protects == "S2" })
		found := run.Check.Indexes[i]
		require.True(t, found.Present)
		require.Equal(t, enforcing, found.Enforcing, "%v: %s", window, found.Why)
		if window == time.Hour {
			require.Contains(t, found.Why, "it is not what it should be: ")
			require.Contains(t, found.Why, "'01:00:00'::interval")
		}
	}

	// It is so where it is what it should be.
	b.exec(`alter table aedpics.inspection_schedules drop constraint inspection_schedules_no_overlap_30min`)
	b.exec(`alter table aedpics.inspection_schedules add constraint inspection_schedules_no_overlap_30min exclude using gist (
		aed_data_id with =, tsrange(scheduled_for at time zone 'UTC', (scheduled_for at time zone 'UTC') + interval '90.25 seconds 25 hours', '[)') with &&)
		where (status <> 'cancelled' and scheduled_for is not null)`)
	run, err := check.Run(b.ctx, check.Config{Indexes: Indexes(25*time.Hour + 90*time.Second + 250*time.Millisecond)}, config)
	require.NoError(t, err)
	for _, i := range run.Check.Indexes {
		require.True(t, i.Enforcing || i.Protects == "", "%s: %s", i.Name, i.Why)
	}
}
