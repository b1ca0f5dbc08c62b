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
		"set local transaction snapshot 'x'":  {Statement, Statement},
		"fetch c":                             {Statement, Statement},
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
		"select $1":                 {statements: 1, parameters: true},
		"commit work and chain":     {statements: 1, verb: commit, control: true, ends: true, chain: true},
		"commit and no chain":       {statements: 1, verb: commit, control: true, ends: true},
		"set a = 1; begin":          {statements: 2, verb: quiet, control: true, quiet: true},
		"set a = 1; select 1":       {statements: 2, verb: quiet},
		"select 1; commit":          {statements: 2, control: true, ends: true},
		"savepoint A":               {statements: 1, verb: savepoint, control: true, quiet: true, savepoint: "a", savepoints: true},
		`/* "b" */ savepoint "A" ;`: {statements: 1, verb: savepoint, control: true, quiet: true, savepoint: "A", savepoints: true},
		"release savepoint a":       {statements: 1, verb: release, control: true, quiet: true, savepoint: "a"},
	} {
		want.sql = sql
		require.Equal(t, want, parse(sql), sql)
	}
}
