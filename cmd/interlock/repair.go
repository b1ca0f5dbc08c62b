package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/repair"
	"github.com/interlock-pg/interlock/scenarios"
)

type repairCommand struct {
	DryRun bool   `help:"Plan, and write the plan to --out, a file that ends in .json or a directory." xor:"what" required:""`
	Apply  bool   `help:"Cancel what must go; archive it first." xor:"what" required:""`
	Undo   string `help:"Restore what a repair changed and nobody has changed since." xor:"what" required:"" placeholder:"ID"`

	Yes    bool          `help:"Apply without asking."`
	Keep   string        `help:"Which of the open sessions of a device is kept: ${enum}." enum:"${keeps}" default:"newest"`
	Window time.Duration `help:"How far apart two schedules of a device must be." default:"30m"`
	Batch  int           `help:"Devices in one transaction." default:"500" placeholder:"N"`
	Plan   string        `help:"Apply this plan, and leave alone what has changed since." placeholder:"FILE"`
}

func (c *repairCommand) Run(ctx context.Context, out *output, pg *postgres) error {
	database, err := c.validate(pg)
	if err != nil {
		return err
	}
	var plan history.Run
	if c.Plan != "" {
		if plan, err = readRun(c.Plan); err != nil {
			return err
		}
		if plan.Repair == nil || plan.Repair.ID != "" {
			return usage("%s is no plan; try: interlock repair --dry-run --out plan.json", c.Plan)
		}
		c.Keep, c.Window = plan.Repair.Keep, time.Duration(plan.Repair.Window)
	}
	progress := out.progress()
	defer progress.Close()
	config := repair.Config{Rules: scenarios.RepairRules(c.Window, scenarios.Keep(c.Keep)), Batch: c.Batch, Progress: progress.Update}

	if c.Undo != "" {
		run, err := repair.Undo(ctx, config, c.Undo, database)
		progress.Close()
		return c.finish(out, run, err, "undo.json")
	}
	if c.Plan == "" {
		if plan, err = repair.Find(ctx, config, database); err != nil {
			return err
		}
	}
	if c.DryRun {
		return c.finish(out, plan, nil, "plan.json")
	}
	if len(plan.Repair.Groups) == 0 {
		return c.finish(out, plan, nil, "repair.json")
	}
	if !c.Yes && !agreed(out, *plan.Repair, c.Keep) {
		return usage("nothing was changed")
	}
	run, err := repair.Apply(ctx, config, *plan.Repair, c.Plan != "", database)
	progress.Close()
	return c.finish(out, run, err, "repair.json")
}

func (c *repairCommand) validate(pg *postgres) (*pgx.ConnConfig, error) {
	switch {
	case !isDSN(pg.Postgres):
		return nil, usage("repair is for a database of yours; try: interlock repair --dry-run --postgres postgres://user@host/database")
	case c.Window <= 0 || c.Batch <= 0:
		return nil, usage("--window and --batch must be more than 0")
	case c.Plan != "" && !c.Apply:
		return nil, usage("--plan goes with --apply")
	case c.Apply && !c.Yes && !isTerminal(os.Stdin):
		return nil, usage("--apply asks before it changes anything, and there is no terminal to ask on; try --dry-run, then --apply --yes")
	}
	database, err := pgx.ParseConfig(pg.Postgres)
	if err != nil {
		return nil, exit{exitUsage, err}
	}
	return database, nil
}

// agreed asks whether to go on.
func agreed(out *output, plan history.Repair, keep string) bool {
	rows := 0
	for _, g := range plan.Groups {
		rows += len(g.Cancel)
	}
	fmt.Fprintf(out.stderr, "%s: %d groups break an invariant, and %d rows would be cancelled (keep: %s). Each is archived first. Go on? [y/N] ",
		redact(plan.Database), len(plan.Groups), rows, keep)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return err == nil && (answer == "y" || answer == "yes")
}

// finish writes and prints what there is, also of a repair that was cut short, and says what comes next.
func (c *repairCommand) finish(out *output, run history.Run, trouble error, name string) error {
	if run.Repair == nil || trouble != nil && run.Repair.ID == "" {
		return trouble
	}
	run.Tool, run.Command = harness.Tool(), redactAll(os.Args)
	run.Repair.Keep, run.Repair.Window = c.Keep, history.Duration(c.Window)
	path := filepath.Join(out.Out, name)
	if filepath.Ext(out.Out) == ".json" {
		path = out.Out
	}
	err := out.saveAndPrint(path, run)
	switch r := run.Repair; {
	case out.Quiet:
	case r.Undone != nil:
	case r.ID != "":
		fmt.Fprintf(out.stderr, "Archived in %s. Undo: interlock repair --postgres … --undo %s\n", repair.Archive, r.ID)
	case c.DryRun && len(r.Groups) > 0:
		fmt.Fprintf(out.stderr, "Plan: %s. Apply it: interlock repair --postgres … --apply --plan %[1]s\n", path)
	}
	if err = errors.Join(trouble, err); err != nil {
		return err
	}
	return verdict(run)
}
