package main

import (
	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/reproduce"
	"github.com/interlock-pg/interlock/harness/target"
	"github.com/interlock-pg/interlock/scenarios"
)

// targeted is an application whose own statements are to be raced.
type targeted struct {
	workload harness.Workload
	stage    harness.Stage
	set      migrationSet
	schema   string // what makes the tables where there are no migrations
	clients  int    // of the file
	listen   string // where an application that runs already has been told that Postgres is; empty: it is started, and told
}

// openTarget reads a target file, and what it names.
func openTarget(path string) (targeted, error) {
	t := targeted{set: migrationSet{target: path}}
	file, err := target.Load(path)
	if err != nil {
		return t, exit{exitUsage, err}
	}
	known := map[string]race.Invariant{}
	for _, inv := range scenarios.Invariants(0) {
		known[inv.Name] = inv
	}
	if t.workload, err = file.Workload(known); err != nil {
		return t, exit{exitUsage, err}
	}
	t.clients, t.listen = file.Count(), file.Listen()
	if err := t.tables(file); err != nil {
		return t, exit{exitUsage, err}
	}
	return t, nil
}

// tables reads where the tables of a file come from.
func (t *targeted) tables(file *target.File) (err error) {
	switch from := file.Database; {
	case from.Template != "":
		t.stage = harness.Stage{From: from.Template}
	case from.Schema != "":
		t.schema, err = file.SchemaSQL()
		t.stage = harness.Schema(t.schema)
	default:
		if t.set.Set, err = file.Migrations(); err != nil {
			return err
		}
		var stages []harness.Stage
		if stages, err = t.set.stages(from.At); err == nil {
			t.stage = stages[0]
		}
	}
	return err
}

// beginning returns what a race begins with that was recorded at a migration.
func (t targeted) beginning(at int64) reproduce.Race {
	switch {
	case t.stage.From != "":
		return reproduce.Race{Template: t.stage.From}
	case t.schema != "":
		return reproduce.Race{Schema: []string{t.schema}}
	}
	return t.set.beginning(at)
}
