package main

import (
	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/target"
	"github.com/interlock-pg/interlock/migrations"
	"github.com/interlock-pg/interlock/scenarios"
)

// targeted is an application whose own statements are to be raced.
type targeted struct {
	workload harness.Workload
	stage    harness.Stage
	set      migrationSet
	clients  int    // of the file
	listen   string // where an application that runs already has been told that Postgres is; empty: it is started, and told
}

// openTarget reads a target file.
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
	if file.Database.Schema != "" {
		sql, err := file.Database.SchemaSQL()
		if err != nil {
			return t, exit{exitUsage, err}
		}
		t.stage = harness.Schema(sql)
		return t, nil
	}
	if t.set.Set, err = migrations.Open(file.Database.Migrations, file.Database.Layout); err != nil {
		return t, exit{exitUsage, err}
	}
	stages, err := t.set.stages(file.Database.At)
	if err != nil {
		return t, err
	}
	t.stage = stages[0]
	return t, nil
}
