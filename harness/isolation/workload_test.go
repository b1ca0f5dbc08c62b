package isolation_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/isolation"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// played explores the sessions of a spec.
func played(t *testing.T, text string, config explore.Config, invariants ...isolation.Invariant) history.Cell {
	in, err := isolation.NewInput("test.spec", text, invariants...)
	require.NoError(t, err)
	run, err := harness.Explore(t.Context(), harness.Config{
		Server: servertest.Server(t), Stages: []harness.Stage{{Apply: in.Apply}}, Workloads: []harness.Workload{in.Workload("test", "")},
		Clients: len(in.Spec().Sessions), Explore: config,
	})
	require.NoError(t, err)
	require.Len(t, run.Cells, 1)
	require.Empty(t, run.Cells[0].Explorations[0].Trouble)
	return run.Cells[0]
}

func TestASpecIsExplored(t *testing.T) {
	for name, c := range map[string]struct {
		spec     string
		outcomes []string
	}{
		"what a step is refused, and what that entails": {
			`setup { CREATE TABLE t (v int); }
			session a step a1 { SELECT 1/0; } step a2 { BEGIN; } step a3 { SELECT 1/0; } step a4 { SELECT 1; } step a5 { COMMIT; }
			session b step b1 { SELECT v FROM t; }`,
			[]string{"a 22012 at a1, 22012 at a3; b ok"},
		},
		"a deadlock": {
			`setup { CREATE TABLE t (k int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0), (2, 0); }
			session a setup { BEGIN; } step a1 { UPDATE t SET v = 1 WHERE k = 1; } step a2 { UPDATE t SET v = 1 WHERE k = 2; } step a3 { COMMIT; }
			session b setup { BEGIN; } step b1 { UPDATE t SET v = 2 WHERE k = 2; } step b2 { UPDATE t SET v = 2 WHERE k = 1; } step b3 { COMMIT; }`,
			[]string{"a 40P01 at a2; b ok", "a ok; b 40P01 at b2", "a ok; b ok"},
		},
		"what a session leaves open is no part of the next run": {
			`setup { CREATE TABLE t (v int); }
			session a setup { BEGIN; PREPARE p AS SELECT 1; } step a1 { INSERT INTO t VALUES (1); } step a2 { SELECT pg_advisory_lock(1); }
			session b setup { BEGIN; } step b1 { INSERT INTO t VALUES (2); } teardown { SELECT 1/0; }
			session c step c1 { SELECT count(*) FROM t; }`,
			[]string{"a ok; b ok; c ok"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, strategy := range []sched.Strategy{sched.Reduced, sched.All} {
				cell := played(t, c.spec, explore.Config{Strategy: strategy})
				require.Equal(t, c.outcomes, slices.Sorted(maps.Keys(cell.Explorations[0].Outcomes)), strategy)
				require.True(t, cell.Explorations[0].Complete, strategy)
				require.Equal(t, history.Held, cell.Verdict, strategy)
			}
		})
	}
}

// A schema that sessions change is as it was before each run, and every order is run: of those in which the table is not there yet, too.
func TestASpecThatAltersTheSchema(t *testing.T) {
	servertest.Slow(t)
	const spec = `setup { CREATE TABLE t (v int); }
		session a setup { BEGIN; } step a1 { CREATE TABLE made (v int); } step a2 { COMMIT; }
		session b step b1 { INSERT INTO t SELECT count(*) FROM made; }`
	cell := played(t, spec, explore.Config{}, isolation.Invariant{Name: "none", SQL: `SELECT * FROM t`})
	e := cell.Explorations[0]
	require.Equal(t, string(sched.All), e.Strategy)
	require.Equal(t, map[string]int{"a ok; b 42P01 at b1": 2, "a ok; b ok": 1}, e.Outcomes)
	require.Equal(t, history.Violated, cell.Verdict)
	require.Equal(t, 10, cell.Counterexamples[0].Reproduced)
}

func TestASpecThatIsCutShortIsUnknown(t *testing.T) {
	const spec = `setup { CREATE TABLE t (v int); } session a step a1 { UPDATE t SET v = 1; } session b step b1 { UPDATE t SET v = 2; }`
	require.Equal(t, history.Unknown, played(t, spec, explore.Config{Limit: 1}).Verdict)
	require.Equal(t, history.Held, played(t, spec, explore.Config{}).Verdict)
}

func TestInputErrors(t *testing.T) {
	_, err := isolation.NewInput("x.spec", "session a\nstep a1")
	require.ErrorContains(t, err, "x.spec:2:")
	_, err = isolation.NewInput("x.spec", "session a step a1 { } session a step a2 { }")
	require.EqualError(t, err, `x.spec: there are two sessions called "a"; try another name for one of them`)

	const spec = `setup { CREATE TABLE t (v int); } setup { INSERT INTO t VALUES ('x'); } session a step a1 { SELECT 1; }`
	config := servertest.Database(t, "").Config("test")
	in, err := isolation.NewInput("x.spec", spec)
	require.NoError(t, err)
	require.ErrorContains(t, in.Apply(t.Context(), config), "x.spec: its setup: ERROR: invalid input syntax")
	in, err = isolation.NewInput("x.spec", strings.ReplaceAll(spec, "TABLE t ", "TABLE u "), isolation.Invariant{Name: "I", SQL: "SELECT * FROM nothing"})
	require.NoError(t, err)
	require.ErrorContains(t, in.Apply(t.Context(), config), "22P02")
	in, err = isolation.NewInput("x.spec", "session a step a1 { SELECT 1; }", isolation.Invariant{Name: "I", SQL: "SELECT * FROM nothing"})
	require.NoError(t, err)
	require.ErrorContains(t, in.Apply(t.Context(), config), "invariant I: ERROR: relation \"nothing\" does not exist")
}

// The input of a race is in its run file, and makes the same race again.
func TestInputsSurviveTheRunFile(t *testing.T) {
	in, err := isolation.NewInput("x.spec", "session a step a1 { SELECT 1; }", isolation.Invariant{Name: "I", Says: "it holds", SQL: "SELECT 1"})
	require.NoError(t, err)
	w := in.Workload("x", "")
	input, ok := w.Contend(2, 1)
	require.True(t, ok)
	back, err := w.Decode(input.JSON())
	require.NoError(t, err)
	require.Equal(t, input, back)
	require.Equal(t, "it holds", w.Scenario(back).Invariants[0].Says)

	_, err = w.Decode([]byte(`{"file": "x.spec", "spec": "session"}`))
	require.ErrorContains(t, err, "x.spec:1:")
	_, err = w.Decode([]byte(`{}`))
	require.Error(t, err)
}
