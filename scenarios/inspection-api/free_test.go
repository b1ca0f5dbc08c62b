package inspectionapi_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/load"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// A run of each service finds what production does wrong, with an order that repeats, and nothing in the fixed form.
func TestRun(t *testing.T) {
	servertest.Slow(t)
	for _, test := range []struct {
		file    string
		verdict history.Verdict
		slow    bool
	}{
		{"load/go-production.yaml", history.Violated, false},
		{"load/go-fixed.yaml", history.Held, true},
		{"go-production-sessions.yaml", history.Violated, true},
		{"go-fixed-sessions.yaml", history.Held, true},
		{"node-production.yaml", history.Violated, true},
		{"node-fixed.yaml", history.Held, true},
	} {
		t.Run(test.file, func(t *testing.T) {
			if test.slow {
				servertest.Slow(t)
			}
			if _, err := exec.LookPath("npm"); err != nil && strings.HasPrefix(test.file, "node") {
				t.Skipf("there is no npm: %v; try: install Node 20", err)
			}
			workload, stage, clients := openTarget(t, test.file)
			run, err := harness.Run(t.Context(), harness.Config{
				Server: servertest.Server(t), Workloads: []harness.Workload{workload}, Stages: []harness.Stage{stage}, Seed: 1, Rounds: 20,
			})
			require.NoError(t, err)
			cell := run.Cells[0]
			require.Empty(t, cell.Trouble)
			require.Equal(t, test.verdict, run.Verdict)
			require.Equal(t, clients, cell.Explorations[0].Clients)
			if test.verdict == history.Held {
				require.Positive(t, cell.Coverage.Outcomes["created"])
				return
			}
			require.NotNil(t, cell.Counterexamples[0].Interleaving)
			require.Equal(t, 2, cell.Counterexamples[0].Clients)
			require.Equal(t, cell.Counterexamples[0].Repeated, cell.Counterexamples[0].Reproduced)
		})
	}
}

// Production's form and the fixed one are measured side by side.
func TestLoad(t *testing.T) {
	servertest.Slow(t)
	config := harness.LoadConfig{Server: servertest.Server(t), Load: load.Config{
		Clients: []int{4}, For: time.Millisecond, Slice: 100 * time.Millisecond, Warmup: 100 * time.Millisecond, Seed: 1,
	}}
	for i, file := range []string{"load/go-production.yaml", "load/go-fixed.yaml"} {
		workload, stage, _ := openTarget(t, file)
		config.Measure = append(config.Measure, harness.Measured{Workload: workload, Stage: stage, Whose: file, Base: i == 0})
	}
	run, err := harness.Load(t.Context(), config)
	require.NoError(t, err)
	require.Len(t, run.Load.Arms, 2)
	for _, a := range run.Load.Arms {
		require.Empty(t, a.Trouble)
		require.Positive(t, a.Operations)
		require.Equal(t, "created", a.Kinds[len(a.Kinds)-1].Outcome)
		require.Positive(t, a.Looks)
	}
	require.NotNil(t, run.Load.Arms[1].Cost)
	require.Equal(t, history.Held, run.Load.Arms[1].Verdict, "the fixed form, %+v", run.Load.Arms[1].Violations)
}
