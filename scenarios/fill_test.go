package scenarios

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/migrations"
)

// A healthy service breaks no rule, and all migrations apply to it. The same seed gives the same rows, another one others.
func TestFill(t *testing.T) {
	b := setup(t, 1)
	require.NoError(t, Fill(b.ctx, b.conn, 2000, 7))
	require.Equal(t, "2000 2000 2000 2000", b.text(`select concat_ws(' ', (select count(*) from aedpics.aed_data), (select count(*) from aedpics.user_profiles),
		(select count(*) from aedpics.inspection_sessions), (select count(*) from aedpics.inspection_schedules))`))
	require.NotEqual(t, "0", b.text(`select count(*)::text from aedpics.inspection_sessions where status in ('active', 'paused')`))
	require.NotEqual(t, "0", b.text(`select count(*)::text from aedpics.inspections`))
	for _, inv := range StateInvariants(Window) {
		broken, err := inv.Offending(b.ctx, b.conn)
		require.NoError(t, err)
		require.Empty(t, broken.Rows, inv.Name)
	}
	_, err := migrations.Embedded().Apply(b.ctx, b.db.Config("migrations"), 3)
	require.NoError(t, err)

	all := `select md5(string_agg(s::text || v::text, ' ' order by s.id)) from aedpics.inspection_sessions s join aedpics.inspection_schedules v on v.aed_data_id is not null and v.id < s.id`
	other := setup(t, 1)
	require.NoError(t, Fill(other.ctx, other.conn, 50, 7))
	same := setup(t, 1)
	require.NoError(t, Fill(same.ctx, same.conn, 50, 7))
	require.Equal(t, other.text(all), same.text(all))
	different := setup(t, 1)
	require.NoError(t, Fill(different.ctx, different.conn, 50, 8))
	require.NotEqual(t, other.text(all), different.text(all))
}
