package explore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShowsLayout(t *testing.T) {
	for sql, shows := range map[string]bool{
		`select id from t limit 1`:                                      true,
		`select id from t fetch first row only`:                         true,
		`select id from t where a is distinct from b limit 1`:           true,
		`select distinct on (a) a, b from t`:                            true,
		`select array_agg(id) from t`:                                   true,
		`select string_agg(a, ',') from t where a is distinct from 'b'`: true,
		`select array(select id from t)`:                                true,
		`select id from t order by at, id limit 1`:                      false,
		`update t set a = 1 where a is not distinct from b`:             false,
		`select count(*) from t`:                                        false,
	} {
		require.Equal(t, shows, showsLayout(sql), sql)
	}
}
