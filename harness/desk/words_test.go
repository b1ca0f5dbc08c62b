package desk

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/wire"
)

func TestStatement(t *testing.T) {
	for _, c := range []struct {
		step wire.Step
		want string
	}{
		{wire.Step{Kind: wire.Statement, SQL: "select 1", Level: wire.ReadCommitted}, "select 1"},
		{wire.Step{Kind: wire.Statement, SQL: " select -- one\n\t1 ;\n"}, "select 1"},
		{wire.Step{Kind: wire.Statement, SQL: "select '\x1b[2J\u202e'"}, "select '\ufffd[2J\ufffd'"},
		{wire.Step{Kind: wire.Statement, SQL: "select 1", Level: wire.Serializable}, "select 1 (serializable)"},
		{wire.Step{Kind: wire.Statement, SQL: "select 1", Passed: []string{"begin", "set x = 1;"}}, "begin; set x = 1; select 1"},
		{
			wire.Step{Kind: wire.Statement, SQL: "select $1, $2, $3", Parameters: []wire.Parameter{
				{Text: "a\nb"}, {Null: true}, {Binary: []byte{0, 0, 0, 7}, Type: 23},
			}},
			"select $1, $2, $3 · $1 = 'a b', $2 = NULL, $3 = '7'",
		},
		{wire.Step{Kind: wire.Commit, SQL: "insert into t values (1)"}, "commit"},
		{wire.Step{Kind: wire.Commit, SQL: "commit", Passed: []string{"begin"}}, "begin; commit"},
		{wire.Step{Kind: wire.Rollback, SQL: "abort"}, "rollback"},
		{wire.Step{Kind: wire.RollbackTo, SQL: "rollback to a"}, "rollback to a"},
		{wire.Step{Kind: wire.Prepare, SQL: "select 1"}, "prepare select 1"},
		{wire.Step{Kind: wire.Whole, SQL: "begin; select 1; commit"}, "begin; select 1; commit"},
	} {
		require.Equal(t, c.want, statement(c.step))
	}
}

func TestResult(t *testing.T) {
	for _, c := range []struct {
		kind wire.Kind
		r    wire.Result
		want string
	}{
		{wire.Statement, wire.Result{Tag: "INSERT 0 1", Rows: 1}, "INSERT 0 1"},
		{wire.Statement, wire.Result{Rows: 50, Suspended: true}, "50 rows, and there are more"},
		{wire.Statement, wire.Result{SQLState: "22012", Message: "division\nby zero"}, "22012: division by zero"},
		{wire.Statement, wire.Result{SQLState: "57014", Canceled: true}, "cancelled while it was held: the server did not get it"},
		{wire.Statement, wire.Result{Lost: true}, "the connection ended without an answer: whether it took place is not known"},
		{wire.Commit, wire.Result{}, "committed"},
		{wire.Commit, wire.Result{Tag: "ROLLBACK"}, "rolled back"},
		{wire.Commit, wire.Result{SQLState: "40001", Message: "no"}, "40001: no"},
		{wire.Rollback, wire.Result{Tag: "ROLLBACK"}, "rolled back"},
		{wire.RollbackTo, wire.Result{Tag: "ROLLBACK"}, "ROLLBACK"},
		{wire.Bind, wire.Result{}, "done"},
	} {
		require.Equal(t, c.want, result(wire.Step{Kind: c.kind}, c.r))
	}
}

func TestShortened(t *testing.T) {
	require.Equal(t, "äöü", shortened("äöü", 3))
	require.Equal(t, "äö…", shortened("äöüß", 3))
}
