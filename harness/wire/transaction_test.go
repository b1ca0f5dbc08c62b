package wire_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/wire"
)

// TestLevel: the level of a step is the one that the server says the transaction has.
func TestLevel(t *testing.T) {
	const probe = `select current_setting('transaction_isolation')`
	b := newBench(t, "", wire.Config{Split: true, Keep: 1})
	for _, script := range []string{
		"begin; ?; commit; ?",
		"begin isolation level serializable; ?; commit; ?",
		"start transaction read write, isolation level repeatable read; ?; commit; begin; ?; rollback",
		"begin isolation level read uncommitted; ?; rollback",
		"begin; set transaction isolation level serializable; ?; rollback; ?",
		"begin; set local transaction isolation level serializable; ?; rollback; ?",
		"begin; set transaction_isolation to 'repeatable read'; ?; commit; ?",
		"begin isolation level serializable; commit and chain; ?; commit; ?",
		"begin isolation level serializable; rollback and chain; set transaction isolation level repeatable read; ?; rollback; ?",
		"begin isolation level serializable; begin isolation level repeatable read; ?; commit",
		"begin; ?; set transaction isolation level serializable; rollback; ?", // too late, an error
		"begin; savepoint a; ?; set transaction isolation level serializable; rollback to a; ?; commit",
		"set session characteristics as transaction isolation level serializable; ?; begin; ?; commit; begin isolation level read committed; ?; commit; ?",
		"set default_transaction_isolation = 'repeatable read'; ?; reset default_transaction_isolation; ?",
		"set default_transaction_isolation = serializable; ?; set default_transaction_isolation to default; ?",
		"set session default_transaction_isolation = serializable; ?; reset all; ?",
		"set default_transaction_isolation = serializable; ?; discard all; ?",
		"set default_transaction_isolation = nonsense; ?",
		"begin; set default_transaction_isolation = serializable; ?; commit; ?",
		"begin; set default_transaction_isolation = serializable; ?; rollback; ?",
		"begin; set default_transaction_isolation = serializable; select 1/0; commit; ?",
		"begin; set local default_transaction_isolation = serializable; ?; commit; ?",
		"select set_config('default_transaction_isolation', 'serializable', false); ?; begin; ?; commit",
		"begin; select set_config('default_transaction_isolation', 'read committed', false); ?; commit; ?",
		"show transaction_isolation; ?; show default_transaction_isolation; ?",
		"begin /* isolation level serializable */ -- serializable\n; ?; commit",
	} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
			for _, ofSession := range []wire.Level{wire.ReadCommitted, wire.RepeatableRead} {
				name := strings.Join([]string{string(ofSession), mode.String(), script}, " ")
				t.Run(name, func(t *testing.T) {
					conn, s := b.connect(name, func(c *pgx.ConnConfig) {
						c.DefaultQueryExecMode = mode
						c.RuntimeParams["default_transaction_isolation"] = string(ofSession)
					})
					s.Open(true)
					for sql := range strings.SplitSeq(script, ";") {
						sql = strings.ReplaceAll(sql, "?", probe)
						if _, err := conn.Exec(t.Context(), sql); err != nil {
							require.Contains(t, "22012 22023 25001", code(err), sql) // meant to fail
						}
					}
					require.NoError(t, conn.Close(t.Context()))
					probes := 0
					for _, e := range b.all(s) {
						if e.Kind == wire.Answered && strings.TrimSpace(e.Step.SQL) == probe {
							if e.Step.Kind == wire.Statement {
								probes++
								require.Equal(t, []string{"current_setting"}, e.Result.Columns)
								require.Equal(t, strings.Replace(*e.Result.Values[0][0], "uncommitted", "committed", 1), string(e.Step.Level))
							} else {
								require.Nil(t, e.Result.Values)
							}
						}
					}
					require.Equal(t, strings.Count(script, "?"), probes)
				})
			}
		}
	}
}

// TestSavepoint: a step is known to have a savepoint in its transaction, and not to have one when it is certain that it was released.
func TestSavepoint(t *testing.T) {
	b := newBench(t, "", wire.Config{Split: true})
	for _, script := range []string{ // + and -: a probe that has one or not
		"-; begin; -; savepoint a; +; commit; -; begin; -; commit",
		"begin; savepoint a; +; release savepoint a; -; rollback",
		"begin; savepoint a; savepoint b; release a; -; rollback",
		"begin; savepoint a; savepoint b; release b; +; rollback; -",
		"begin; savepoint a; rollback to a; +; release a; -; commit",
		"begin; savepoint a; select 1/0; rollback to a; +; commit",
		"begin; savepoint a; release b; rollback to savepoint a; +; commit", // the release fails
		`begin; savepoint "A b"; +; release "A b"; -; commit`,
		"begin; savepoint a; +; commit and chain; -; commit",
		"begin; savepoint a| select 1; +; release a; +; commit", // in one string: not certain
	} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
			name := mode.String() + " " + script
			t.Run(name, func(t *testing.T) {
				conn, s := b.connect(name, func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = mode })
				s.Open(true)
				for sql := range strings.SplitSeq(script, ";") {
					args := []any{}
					sql, several := strings.ReplaceAll(sql, "|", ";"), strings.Contains(sql, "|")
					if several {
						args = append(args, pgx.QueryExecModeSimpleProtocol)
					}
					sql = strings.NewReplacer("+", "select '+'", "-", "select '-'").Replace(sql)
					if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
						require.Contains(t, "22012 3B001", code(err), sql) // meant to fail
					}
				}
				require.NoError(t, conn.Close(t.Context()))
				probes := 0
				for _, e := range b.all(s) {
					if e.Kind != wire.Answered || e.Step.Kind != wire.Statement {
						continue
					}
					switch strings.TrimSpace(e.Step.SQL) {
					case "select '+'":
						require.True(t, e.Step.Savepoint)
						probes++
					case "select '-'":
						require.False(t, e.Step.Savepoint)
						probes++
					}
				}
				require.Equal(t, strings.Count(script, "+")+strings.Count(script, "-"), probes)
			})
		}
	}
}
