package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKindOf(t *testing.T) {
	for sql, want := range map[string][2]Kind{ // outside a block, in one
		"":                                    {Pass, Pass},
		"select 1":                            {Statement, Statement},
		"SET a = 1":                           {Pass, Pass},
		"set constraints all immediate":       {Statement, Statement},
		"set transaction snapshot 'x'":        {Statement, Statement},
		"set transaction read only":           {Pass, Pass},
		"show a":                              {Pass, Pass},
		"notify a":                            {Statement, Pass},
		"listen a":                            {Statement, Pass},
		"deallocate all":                      {Pass, Statement},
		"prepare a as select 1":               {Pass, Statement},
		"prepare transaction 'a'":             {Pass, Commit},
		"close c":                             {Pass, Statement},
		"discard plans":                       {Pass, Statement},
		"discard all":                         {Statement, Statement},
		"lock t":                              {Statement, Statement},
		"/* x */ begin":                       {Pass, Pass},
		"start transaction":                   {Pass, Pass},
		"end":                                 {Pass, Commit},
		"commit and chain":                    {Pass, Commit},
		"commit prepared 'a'":                 {Statement, Statement},
		"abort":                               {Pass, Rollback},
		"rollback to a":                       {Pass, RollbackTo},
		"rollback transaction to savepoint a": {Pass, RollbackTo},
		"rollback prepared 'a'":               {Statement, Statement},
		"savepoint a":                         {Pass, Pass},
		"release a":                           {Pass, Pass},
	} {
		v := parse(sql).verb
		require.Equal(t, want, [2]Kind{kindOf(v, false, false), kindOf(v, true, false)}, sql)
	}
}

func TestParseText(t *testing.T) {
	for sql, want := range map[string]text{
		"begin isolation level serializable":                           {statements: 1, verb: begin, control: true, quiet: true, isolation: repeatable},
		"begin transaction read write, isolation level read committed": {statements: 1, verb: begin, control: true, quiet: true, isolation: committed},
		"set default_transaction_isolation = 'repeatable read'":        {statements: 1, verb: quiet, quiet: true, isolation: repeatable, session: true},
		"set session characteristics as transaction isolation level read committed": {
			statements: 1, verb: quiet, quiet: true, isolation: committed, session: true,
		},
		"select set_config('transaction_isolation', $1, true)": {statements: 1, parameters: true, isolation: repeatable, session: true},
		"reset all":             {statements: 1, verb: quiet, quiet: true, resets: true},
		"commit work and chain": {statements: 1, verb: commit, control: true, chain: true},
		"commit and no chain":   {statements: 1, verb: commit, control: true},
		"set a = 1; begin":      {statements: 2, verb: quiet, control: true, quiet: true},
		"set a = 1; select 1":   {statements: 2, verb: quiet},
		"select 1; commit":      {statements: 2, control: true},
	} {
		want.sql = sql
		require.Equal(t, want, parse(sql), sql)
	}
}
