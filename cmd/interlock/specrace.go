package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/isolation"
)

// isSpec reports whether an argument is the name of a spec's file, and not of a scenario.
func isSpec(name string) bool { return strings.HasSuffix(name, ".spec") }

// spec has the run explore the sessions of a spec.
func (c *exploreCommand) spec(out *output, config *harness.Config) error {
	path := c.Scenarios[0]
	text, err := os.ReadFile(path)
	if err != nil {
		return exit{exitUsage, err}
	}
	invariants, err := c.invariants()
	if err != nil {
		return err
	}
	in, err := isolation.NewInput(path, string(text), invariants...)
	if err != nil {
		return exit{exitUsage, err}
	}
	if len(in.Spec().Permutations) > 0 && !out.Quiet {
		fmt.Fprintf(out.stderr, "The permutations that %s lists are not used: the orders to run are found.\n", path)
	}
	config.Stages = []harness.Stage{specStage(in)}
	config.Workloads = []harness.Workload{in.Workload(strings.TrimSuffix(filepath.Base(path), ".spec"), "")}
	config.Clients = len(in.Spec().Sessions)
	return nil
}

// invariantName is what can be a part of a file's name on every system.
var invariantName = regexp.MustCompile(`^[\w.-]+$`)

func (c *exploreCommand) invariants() ([]isolation.Invariant, error) {
	var all []isolation.Invariant
	for _, text := range c.Invariants {
		name, sql, _ := strings.Cut(text, "=")
		name, sql = strings.TrimSpace(name), strings.TrimSpace(sql)
		switch {
		case !invariantName.MatchString(name) || sql == "":
			return nil, usage(`--invariant %q: it must be a short name and a query; try --invariant "total=SELECT … HAVING sum(value) <> 30"`, text)
		case slices.ContainsFunc(all, func(inv isolation.Invariant) bool { return inv.Name == name }):
			return nil, usage("--invariant %s is there twice; try another name for one of them", name)
		}
		all = append(all, isolation.Invariant{Name: name, SQL: sql})
	}
	return all, nil
}

// specStage is the state of the schema that a spec begins with.
func specStage(in isolation.Input) harness.Stage {
	return harness.Stage{Apply: func(ctx context.Context, config *pgx.ConnConfig) error {
		err := in.Apply(ctx, config)
		if err != nil && ctx.Err() == nil {
			return exit{exitUsage, err}
		}
		return err
	}}
}

// recordedSpec returns the spec of which a counterexample was recorded; false: it is of another scenario.
func recordedSpec(x history.Counterexample) (isolation.Input, bool) {
	var in isolation.Input
	err := json.Unmarshal(x.Round.Input, &in)
	return in, err == nil
}
