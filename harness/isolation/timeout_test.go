package isolation

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSetsTimeout(t *testing.T) {
	for sql, want := range map[string]bool{
		"SELECT 1":                                                          false,
		"BEGIN; SET deadlock_timeout = '10s';":                              false,
		"set LOCK_TIMEOUT to '5 MIN'":                                       false,
		"SET statement_timeout = 100":                                       false,
		"SET statement_timeout=0;":                                          false,
		"SET lock_timeout = '10s'; SET statement_timeout = '100ms'":         false,
		"SET statement_timeout = 99":                                        true,
		"SET lock_timeout = '10s'; SET statement_timeout = '10ms'":          true,
		"SET LOCAL lock_timeout TO '900us'":                                 true,
		"RESET lock_timeout":                                                true,
		"SELECT set_config('lock_timeout', '1s', false)":                    true,
		"ALTER ROLE r SET idle_in_transaction_session_timeout FROM CURRENT": true,
		"SET lock_timeout = 99999999999999999999":                           true,
	} {
		require.Equal(t, want, setsTimeout("", sql), sql)
	}
}
