package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/reproduce"
	"github.com/interlock-pg/interlock/migrations"
	"github.com/interlock-pg/interlock/scenarios"
)

// schema says which migrations the scenarios run on.
type schema struct {
	Migrations string `help:"Directory of migrations to apply instead of Interlock's own." placeholder:"DIR" group:"Migrations"`
	Layout     string `help:"The tool that the directory is laid out for (${layouts}), where it is not recognised." placeholder:"TOOL" group:"Migrations"`
}

// history is a set of migrations, and whose it is.
type migrationSet struct {
	migrations.Set
	own    bool   // Interlock's own: what each of them does to each scenario is known
	target string // the file of the application that they are of; empty: Interlock's own scenarios are run on them
}

// open reads the migrations.
func (s schema) open() (migrationSet, error) {
	if s.Migrations == "" {
		if s.Layout != "" {
			return migrationSet{}, usage("--layout goes with --migrations DIR; try naming the directory")
		}
		return migrationSet{Set: migrations.Embedded(), own: true}, nil
	}
	set, err := migrations.Open(s.Migrations, migrations.Layout(s.Layout))
	if err != nil {
		return migrationSet{}, exit{exitUsage, err}
	}
	return migrationSet{Set: set}, nil
}

// stages returns the states of the schema to run at: each of Interlock's own migrations, or the last one of a user's; with at, that one.
func (m migrationSet) stages(at int64) ([]harness.Stage, error) {
	versions := m.Versions()
	switch {
	case at != 0 && !slices.Contains(versions, at):
		return nil, usage("--at %d: there is no such migration; try one of %s", at, strings.Trim(fmt.Sprint(versions), "[]"))
	case at != 0:
		versions = []int64{at}
	case !m.own:
		versions = versions[len(versions)-1:]
	}
	var stages []harness.Stage
	for _, version := range versions {
		stages = append(stages, m.stage(version))
	}
	return stages, nil
}

func (m migrationSet) stage(version int64) harness.Stage {
	stage := harness.Stage{Version: version}
	for _, one := range m.UpTo(version) {
		stage.Migrations = append(stage.Migrations, history.Migration{
			Version: one.Version, Label: one.Label(), Path: one.Path, Checksum: one.Checksum,
		})
	}
	stage.Apply = func(ctx context.Context, config *pgx.ConnConfig) error {
		applied, err := m.Apply(ctx, config, version)
		if err != nil {
			return err
		}
		for i, a := range applied {
			if i < len(stage.Migrations) {
				stage.Migrations[i].Took = history.Duration(a.Duration)
			}
		}
		if m.own || m.target != "" {
			return nil
		}
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		return errors.Join(scenarios.Fits(ctx, conn), conn.Close(ctx))
	}
	return stage
}

// beginning returns what a race begins with that was recorded at a migration.
func (m migrationSet) beginning(at int64) reproduce.Race {
	return reproduce.Race{Schema: m.Scripts(at)}
}

// expectations adapts what is expected to a user's own migrations: every defence must hold, and every negative control must break something.
func (m migrationSet) expectations(workloads []harness.Workload) []harness.Workload {
	if m.own {
		return workloads
	}
	out := slices.Clone(workloads)
	for i := range out {
		if scenarios.IsControl(out[i]) {
			out[i].Expect = func(int64) harness.Expectation { return harness.Expectation{Control: true} }
		} else {
			out[i].Expect = nil
		}
	}
	return out
}

// describe notes in a run which migrations it was made with.
func (m migrationSet) describe(run *history.Run) {
	run.Target = m.target
	if !m.own {
		run.MigrationsDir, run.Layout = m.Dir, string(m.Layout)
	}
}
