package anomalies_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/isolation/anomalies"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m, func() error { return goleak.Find() }) }

// permitted is what PostgreSQL is known to permit, by name and level.
var permitted = []string{
	"PMP/read-committed", "P4/read-committed", "G-single/read-committed", "G2-item/read-committed", "G2/read-committed",
	"G2-item/repeatable-read", "G2/repeatable-read",
}

func matrix(t *testing.T, strategy sched.Strategy) history.Run {
	run, err := harness.Explore(t.Context(), harness.Config{
		Server: servertest.Server(t), Stages: []harness.Stage{{Apply: anomalies.Apply}}, Workloads: anomalies.Workloads(),
		Expected: true, Explore: explore.Config{Strategy: strategy},
	})
	require.NoError(t, err)
	return run
}

// Of every order of their steps, those anomalies are found that PostgreSQL permits, and the others are proven absent. The orders that are left out for
// being like another lose none, and nothing of what transactions are told.
func TestMatrix(t *testing.T) {
	servertest.Slow(t)
	reduced := matrix(t, sched.Reduced)
	all := reduced
	if servertest.Thorough() {
		all = matrix(t, sched.All)
	}
	require.Equal(t, history.Held, reduced.Verdict)
	require.Len(t, reduced.Cells, 30)
	var possible []string
	for i, cell := range reduced.Cells {
		require.True(t, cell.Explorations[0].Complete, cell.Name())
		require.True(t, cell.AsExpected, cell.Name())
		if cell.Verdict == history.Violated {
			possible = append(possible, cell.Name())
			x := cell.Counterexamples[0]
			require.Equal(t, x.Repeated, x.Reproduced, cell.Name())
			require.Positive(t, x.Order, cell.Name())
		}
		other := all.Cells[i]
		require.Equal(t, cell.Verdict, other.Verdict, cell.Name())
		require.Equal(t, outcomes(cell), outcomes(other), cell.Name())
	}
	require.ElementsMatch(t, permitted, possible)
}

func outcomes(c history.Cell) []string { return slices.Sorted(maps.Keys(c.Explorations[0].Outcomes)) }

// What is expected is what makes a run of the anomalies hold: with the opposite, it does not.
func TestAMatrixCanBeWrong(t *testing.T) {
	var two []race.Workload
	for _, w := range anomalies.Workloads() {
		if w.Name == "P4" && w.Variant != string(anomalies.Serializable) {
			two = append(two, w)
		}
	}
	two[0].Expect, two[1].Expect = two[1].Expect, two[0].Expect
	run, err := harness.Explore(t.Context(), harness.Config{
		Server: servertest.Server(t), Stages: []harness.Stage{{Apply: anomalies.Apply}}, Workloads: two, Expected: true,
	})
	require.NoError(t, err)
	require.Equal(t, history.Violated, run.Verdict)
	for _, cell := range run.Cells {
		require.False(t, cell.AsExpected, cell.Name())
	}
}

// Each query finds what its anomaly leaves behind, which PostgreSQL itself does not show of all of them, and does not find what is left by less: by
// transactions that run one after another, or by half of the anomaly.
func TestQueries(t *testing.T) {
	row := func(id, value string) string { return `UPDATE test SET value = ` + value + ` WHERE id = ` + id + `;` }
	read := func(who, what, value string) string {
		return `INSERT INTO seen VALUES ('` + who + `', '` + what + `', ` + value + `);`
	}
	for name, c := range map[string]struct{ breaks, holds []string }{
		"G0": {
			breaks: []string{row("1", "11") + row("2", "22"), row("1", "12") + row("2", "21")},
			holds:  []string{row("1", "11") + row("2", "21"), row("1", "12") + row("2", "22")},
		},
		"G1a": {
			breaks: []string{read("T2", "row 1", "101")},
			holds:  []string{read("T2", "row 1", "10")},
		},
		"G1b": {
			breaks: []string{read("T2", "row 1", "101") + row("1", "11")},
			holds:  []string{read("T2", "row 1", "10"), read("T2", "row 1", "11") + row("1", "11")},
		},
		"G1c": {
			breaks: []string{read("T1", "row 2", "22") + read("T2", "row 1", "11")},
			holds:  []string{read("T1", "row 2", "22") + read("T2", "row 1", "10"), read("T1", "row 2", "20") + read("T2", "row 1", "10")},
		},
		"OTV": {
			breaks: []string{
				read("T3", "row 1", "11") + read("T3", "row 2", "20"), read("T3", "row 1", "12") + read("T3", "row 2", "21"),
				read("T3", "row 1", "12") + read("T3", "row 2", "20"),
			},
			holds: []string{
				read("T3", "row 1", "11") + read("T3", "row 2", "21"), read("T3", "row 1", "10") + read("T3", "row 2", "21"), // the second is read skew
			},
		},
		"PMP": {
			breaks: []string{read("T1", "first", "0") + read("T1", "second", "1")},
			holds:  []string{read("T1", "first", "0") + read("T1", "second", "0"), read("T1", "first", "1") + read("T1", "second", "1")},
		},
		"P4": {
			breaks: []string{read("T1", "row 1", "10") + read("T2", "row 1", "10") + row("1", "11")},
			holds:  []string{read("T1", "row 1", "10") + row("1", "11"), read("T1", "row 1", "10") + read("T2", "row 1", "11") + row("1", "12")},
		},
		"G-single": {
			breaks: []string{read("T1", "row 1", "10") + read("T1", "row 2", "25"), read("T1", "row 1", "5") + read("T1", "row 2", "20")},
			holds:  []string{read("T1", "row 1", "10") + read("T1", "row 2", "20"), read("T1", "row 1", "5") + read("T1", "row 2", "25")},
		},
		"G2-item": {
			breaks: []string{read("T1", "row 2", "20") + read("T2", "row 1", "10") + row("1", "11") + row("2", "22")},
			holds: []string{
				read("T1", "row 2", "20") + read("T2", "row 1", "11"), read("T1", "row 2", "22") + read("T2", "row 1", "10"), read("T1", "row 2", "20"),
			},
		},
		"G2": {
			breaks: []string{read("T1", "matches", "0") + read("T2", "matches", "0")},
			holds:  []string{read("T1", "matches", "0") + read("T2", "matches", "1"), read("T1", "matches", "0")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := slices.IndexFunc(anomalies.All(), func(a anomalies.Anomaly) bool { return a.Name == name })
			a := anomalies.All()[i]
			conn, err := servertest.Database(t, a.Race(anomalies.ReadCommitted).Spec().Setup()).Connect(t.Context(), "test")
			require.NoError(t, err)
			defer conn.Close(t.Context())
			offending := func(left string) int {
				tx, err := conn.Begin(t.Context())
				require.NoError(t, err)
				_, err = tx.Exec(t.Context(), left, pgx.QueryExecModeSimpleProtocol)
				require.NoError(t, err)
				rows, err := race.Invariant{Name: a.Name, SQL: a.SQL}.Offending(t.Context(), conn)
				require.NoError(t, err)
				require.NoError(t, tx.Rollback(t.Context()))
				return rows.Total
			}
			for _, left := range c.breaks {
				require.Positive(t, offending(left), left)
			}
			for _, left := range append(c.holds, "") {
				require.Zero(t, offending(left), left)
			}
		})
	}
}

// All specs begin with the same tables, and all their sessions are one transaction at the level.
func TestSpecs(t *testing.T) {
	setup := anomalies.All()[0].Race(anomalies.Serializable).Spec().Setups
	for _, a := range anomalies.All() {
		for _, level := range anomalies.Levels() {
			spec := a.Race(level).Spec()
			require.Equal(t, setup, spec.Setups, a.Name)
			require.Empty(t, spec.Permutations, a.Name)
			for _, s := range spec.Sessions {
				require.Contains(t, s.Setup, "BEGIN ISOLATION LEVEL "+level.SQL()+";", a.Name)
				require.Regexp(t, `COMMIT|ROLLBACK`, s.Steps[len(s.Steps)-1].SQL, a.Name)
			}
		}
	}
}
