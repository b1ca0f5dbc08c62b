package reports_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/reports"
)

func TestLiveHidesEqualValuesAlike(t *testing.T) {
	var live reports.Live
	for _, c := range []struct{ sql, value, sentence, wantSQL, wantValue, wantSentence string }{
		{
			"insert into people values ('Kim', 17)", "Kim", "Kim is there already",
			"insert into people values ('‹1›', ‹2›)", "‹1›", "‹1› is there already",
		},
		{ // a later one knows the tokens, but not what stood bare in one before
			"select * from people where name = 'Kim'", "true", `Kim: no column "age" of "people": "Lee"`,
			"select * from people where name = '‹1›'", "true", `‹1›: no column "age" of "people": "‹3›"`,
		},
		{"", "17", "Lee has 'Kim'", "", "‹2›", "Lee has '‹1›'"},
	} {
		live.Hide(reports.Texts{SQL: []*string{&c.sql}, Values: []*string{&c.value}, Sentences: []*string{&c.sentence}})
		require.Equal(t, []string{c.wantSQL, c.wantValue, c.wantSentence}, []string{c.sql, c.value, c.sentence})
	}
}
