package daemon

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/check"
	"github.com/interlock-pg/interlock/harness/monitor"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// What cannot be looked at keeps nothing else from being looked at.
func TestLook(t *testing.T) {
	config := monitor.Config{
		Database: servertest.Database(t, "").Config("serve"),
		Watches: []monitor.Watch{
			{Name: "missing", All: `select * from nowhere`},
			{Name: "none", All: `select 'x', 1::bigint, null::timestamptz, null::timestamptz, null::jsonb where false`},
			{Name: "impossible", All: `select 1 / 0`},
		},
		Indexes: []check.Index{{Schema: "public", Table: "slots", Name: "free"}},
	}
	m, err := monitor.Open(config)
	require.NoError(t, err)
	defer m.Close()
	d := &Daemon{config: Config{Watches: config.Watches}, monitor: m}
	err = d.look(t.Context())
	require.ErrorContains(t, err, "missing: ")
	require.ErrorContains(t, err, "impossible: division by zero")
	require.NotContains(t, err.Error(), "none: ")
	r, err := m.Result(t.Context(), "none", -1)
	require.NoError(t, err)
	require.NotZero(t, r.Checked)
	found, _, err := m.Indexes(t.Context(), -1)
	require.NoError(t, err)
	require.Len(t, found, 1)
}
