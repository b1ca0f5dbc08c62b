package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/reproduce"
)

type replayCommand struct {
	File   string `arg:"" help:"A file that a run wrote, as interlock-out/sessions-none-at-1-S1.json; '-' is standard input."`
	As     string `help:"Print it for another tool instead: psql (a script for one terminal a client), spec (for isolationtester), or go (a regression test)." enum:",psql,spec,go" default:"" placeholder:"TOOL"`
	Times  int    `help:"How often a recorded order is executed." default:"10" placeholder:"N"`
	Target string `help:"The target file of a recorded application, if it is not where it was." placeholder:"FILE"`
	schema
}

func (c *replayCommand) Run(ctx context.Context, out *output, pg *postgres) error {
	if c.Times < 1 {
		return usage("--times %d: it must be at least 1", c.Times)
	}
	recorded, err := readRun(c.File)
	if err != nil {
		return err
	}
	today, err := c.today(recorded)
	if err != nil {
		return err
	}
	if c.As != "" {
		return c.print(out.stdout, recorded, today)
	}
	provider, err := pg.provider()
	if err != nil {
		return err
	}
	srv, err := provider.Start(ctx, pg.config(out))
	if err != nil {
		return err
	}
	result, err := harness.Replay(ctx, harness.Config{Server: srv, Stages: today.stages, Workloads: today.workloads, Repeats: c.Times}, recorded)
	today.set.describe(&result)
	result.Command = redactAll(os.Args)
	if err == nil {
		err = out.print(out.shown(result))
	}
	if err = errors.Join(err, srv.Stop(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	return verdict(result)
}

// today is what a recorded run is repeated on: what there is now of what it was made with.
type today struct {
	set       migrationSet
	workloads []harness.Workload
	stages    []harness.Stage
	beginning func(at int64) reproduce.Race // what a race begins with that was recorded at a migration
}

// today returns what a run is repeated on.
func (c *replayCommand) today(recorded history.Run) (today, error) {
	if c.Target == "" {
		c.Target = recorded.Target
	}
	if c.Target != "" {
		if c.Migrations != "" || c.Layout != "" {
			return today{}, usage("%s says on which migrations its application runs; try --target with another file, without --migrations and --layout", c.Target)
		}
		t, err := openTarget(c.Target)
		return today{t.set, []harness.Workload{t.workload}, []harness.Stage{t.stage}, t.beginning}, err
	}
	if c.Migrations == "" {
		c.Migrations, c.Layout = recorded.MigrationsDir, cmp.Or(c.Layout, recorded.Layout)
	}
	set, err := c.open()
	if err != nil {
		return today{}, err
	}
	workloads, err := selectWorkloads(nil, recorded.Bounds.Clients)
	if err != nil {
		return today{}, err
	}
	all := today{set: set, workloads: workloads, beginning: set.beginning}
	for _, version := range set.Versions() {
		all.stages = append(all.stages, set.stage(version))
	}
	for _, cell := range recorded.Cells {
		if len(cell.Counterexamples) == 0 {
			continue
		}
		if in, ok := recordedSpec(cell.Counterexamples[0]); ok {
			all.workloads, all.stages = append(all.workloads, in.Workload(cell.Scenario, cell.Variant)), append(all.stages, specStage(in))
		}
	}
	return all, nil
}

// print writes the counterexample of a run for another tool.
func (c *replayCommand) print(w io.Writer, recorded history.Run, now today) error {
	write := map[string]func(io.Writer, reproduce.Race) error{"psql": reproduce.Psql, "spec": reproduce.Spec, "go": reproduce.Go}[c.As]
	i := slices.IndexFunc(recorded.Cells, func(cell history.Cell) bool { return len(cell.Counterexamples) > 0 })
	if i < 0 {
		return usage("%s holds no counterexample; try one of the files that a violated run wrote beside its run.json", c.File)
	}
	cell, example := recorded.Cells[i], recorded.Cells[i].Counterexamples[0]
	r := now.beginning(cell.At)
	r.Name, r.Example = fmt.Sprintf("%s at %d", cell.Name(), cell.At), example
	if in, ok := recordedSpec(example); ok {
		r.Schema = in.Spec().Setups
	}
	if cell.At == 0 {
		r.Name = cell.Name()
	}
	for _, j := range cell.Invariants {
		if j.Invariant == example.Invariant {
			r.Says = j.Says
		}
	}
	if err := write(w, r); err != nil {
		return exit{exitUsage, err}
	}
	return nil
}
