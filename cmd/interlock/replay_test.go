package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
)

// latches is a run in which an application's counterexample was found, on the tables that its target file says.
func latches(t *testing.T, database string) (file string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"schema.sql": "create table latches (name text);\n", "migrations/1_one.sql": "create table first (name text);\n",
		"migrations/2_two.sql": "create table latches (name text);\n", "migrations/3_fix.sql": "create unique index on latches (name);\n",
		"latches.yaml": "name: latches\ndatabase: {" + database + "}\nclients: [{command: [job], copies: 2}]\n",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	step := history.Step{Number: 1, Client: "A", Kind: "statement", SQL: "insert into latches values ('m')", Outcome: history.Answered, Autocommit: true}
	run := history.Run{Format: history.Format, Kind: history.KindExplore, Verdict: history.Violated, Target: filepath.Join(dir, "latches.yaml")}
	run.Cells = []history.Cell{{Scenario: "latches", Counterexamples: []history.Counterexample{{
		Invariant: "one", Query: "select 1", Interleaving: &history.Interleaving{Clients: []string{"A"}, Steps: []history.Step{step}},
	}}}}
	if database == "migrations: migrations" {
		run.Cells[0].At = 2
	}
	file = filepath.Join(dir, "run.json")
	require.NoError(t, history.Save(file, run))
	return file
}

// A counterexample of an application is printed with the application's tables, as they were where it was recorded.
func TestReplayPrintsTheTablesOfATarget(t *testing.T) {
	for database, want := range map[string]string{
		"schema: schema.sql":     "create table latches (name text)",
		"migrations: migrations": "create table latches (name text)",
		"template: latches":      "latches",
	} {
		file := latches(t, database)
		for _, tool := range []string{"psql", "spec", "go"} {
			var stdout, stderr bytes.Buffer
			require.Equal(t, exitHeld, run(t.Context(), []string{"replay", file, "--as", tool}, &stdout, &stderr), stderr.String())
			require.Contains(t, stdout.String(), want)
			require.NotContains(t, stdout.String(), "inspection_sessions")
			require.NotContains(t, stdout.String(), "unique index")
			if database == "template: latches" {
				require.NotContains(t, stdout.String(), "create table")
			}
		}
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitUsage, run(t.Context(), []string{"replay", file, "--migrations", filepath.Dir(file)}, &stdout, &stderr))
		require.Contains(t, stderr.String(), "says on which migrations its application runs; try --target with another file, without --migrations")
	}
}
