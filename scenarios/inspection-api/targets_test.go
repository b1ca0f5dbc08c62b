package inspectionapi_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/target"
	"github.com/interlock-pg/interlock/migrations"
	"github.com/interlock-pg/interlock/scenarios"
)

// expectation is what must come of a target file, in the orders with a fault or in those without.
type expectation struct {
	name   string
	fault  history.Fault
	broken []string
	slow   bool // left to make check: an exploration begins with two seconds of rehearsal
}

// targets are the target files of each service, and the invariants that the README says they break.
var targets = []expectation{
	{name: "production", broken: []string{"S2", "S4"}},
	{name: "fixed", slow: true},
	{name: "unindexed-sessions", broken: []string{"S1", "S4"}, slow: true},
	{name: "production-sessions", broken: []string{"no-500"}, slow: true},
	{name: "fixed-sessions", slow: true},
	{name: "retrying", slow: true},
	{name: "retrying", fault: history.LostAck, broken: []string{"S4"}, slow: true},
	{name: "idempotent", slow: true},
	{name: "idempotent", fault: history.LostAck, slow: true},
	{name: "retrying-sessions", slow: true},
	{name: "retrying-sessions", fault: history.LostAck, broken: []string{"S1"}},
	{name: "idempotent-sessions", slow: true},
	{name: "idempotent-sessions", fault: history.LostAck, slow: true},
}

// Every target file is explored, and does what the README says. Not in parallel: all of a service's files build the same program.
func TestTargets(t *testing.T) {
	for _, language := range []string{"go", "node"} {
		t.Run(language, func(t *testing.T) {
			if language == "node" {
				servertest.Slow(t)
				if _, err := exec.LookPath("npm"); err != nil {
					t.Skipf("there is no npm: %v; try: install Node 20", err)
				}
			}
			for _, want := range targets {
				t.Run(strings.TrimSuffix(want.name+" "+string(want.fault), " "), func(t *testing.T) {
					if want.slow {
						servertest.Slow(t)
					}
					run := exploreTarget(t, language+"-"+want.name+".yaml", want.fault)
					require.Empty(t, run.Trouble)
					require.Len(t, run.Cells, 1)
					cell := run.Cells[0]
					require.Empty(t, cell.Trouble)
					var broken []string
					for _, judged := range cell.Invariants {
						if judged.Verdict == history.Violated {
							broken = append(broken, judged.Invariant)
						}
					}
					require.Equal(t, want.broken, broken)
					require.NotEmpty(t, cell.Explorations)
					switch complete := cell.Explorations[0].Complete; {
					case want.broken != nil:
						require.Equal(t, history.Violated, cell.Verdict)
					case complete:
						require.Equal(t, history.Held, cell.Verdict)
					default:
						require.Equal(t, history.Unknown, cell.Verdict, "not every order was run")
					}
					for _, searched := range cell.Explorations {
						require.NotZero(t, searched.Executed)
						if want.fault == "" {
							require.True(t, searched.Complete, "%+v", searched)
						} else {
							require.GreaterOrEqual(t, searched.Preemptions, 1, "%+v", searched)
						}
					}
				})
			}
		})
	}
	files, err := filepath.Glob("*.yaml")
	require.NoError(t, err)
	for _, file := range files {
		if file == "openapi.yaml" {
			continue
		}
		_, name, _ := strings.Cut(strings.TrimSuffix(file, ".yaml"), "-")
		known := slices.ContainsFunc(targets, func(e expectation) bool { return e.name == name })
		require.True(t, known, "%s is not explored; add it to targets", file)
	}
}

// exploreTarget goes through the orders of a target file's clients: all of them or, with a fault, those with one preemption.
func exploreTarget(t *testing.T, path string, fault history.Fault) history.Run {
	t.Helper()
	workload, stage, clients := openTarget(t, path)
	search := explore.Config{Strategy: sched.All, For: 2 * time.Minute}
	if fault != "" {
		search.Preemptions, search.Faults = 1, []history.Fault{fault}
	}
	run, err := harness.Explore(t.Context(), harness.Config{
		Server: servertest.Server(t), Workloads: []harness.Workload{workload}, Stages: []harness.Stage{stage}, Explore: search, Clients: clients,
	})
	require.NoError(t, err)
	return run
}

// openTarget reads a target file.
func openTarget(t *testing.T, path string) (_ harness.Workload, _ harness.Stage, clients int) {
	t.Helper()
	file, err := target.Load(path)
	require.NoError(t, err)
	known := map[string]harness.Invariant{}
	for _, invariant := range scenarios.Invariants(0) {
		known[invariant.Name] = invariant
	}
	workload, err := file.Workload(known)
	require.NoError(t, err)
	set, err := migrations.Open(file.Database.Migrations, file.Database.Layout)
	require.NoError(t, err)
	stage := harness.Stage{Version: file.Database.At, Apply: func(ctx context.Context, config *pgx.ConnConfig) error {
		_, err := set.Apply(ctx, config, file.Database.At)
		return err
	}}
	return workload, stage, file.Count()
}
