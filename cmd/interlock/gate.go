package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/ddl"
	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/gate"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/repair"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/migrations"
	"github.com/interlock-pg/interlock/scenarios"
)

type gateCommand struct {
	schema

	Base string `help:"Judge the migrations that are not in this git revision. Default: those that the branch adds to main." xor:"which" placeholder:"REV" group:"Which migrations"`
	From string `help:"Judge this version and all after it." xor:"which" placeholder:"VERSION" group:"Which migrations"`
	All  bool   `help:"Judge all of them." xor:"which" group:"Which migrations"`

	Rows     int           `help:"Rows to generate in each table." default:"10000" placeholder:"N" group:"Trials"`
	Data     string        `help:"SQL that fills the database before the migration, instead of generated rows; as pg_dump --data-only writes it." type:"existingfile" placeholder:"FILE" group:"Trials"`
	MaxStall time.Duration `help:"The longest that a client may wait for a migration." default:"500ms" group:"Trials"`
	Skip     []string      `help:"Trials to leave out, of: ${trials}." placeholder:"TRIAL" group:"Trials"`
	Seed     int64         `help:"Seed of the generated rows." default:"1" placeholder:"N" group:"Trials"`
}

func (c *gateCommand) Run(ctx context.Context, out *output, pg *postgres) error {
	set, err := c.open()
	if err != nil {
		return err
	}
	if c.Rows < 1 || c.MaxStall <= 0 {
		return usage("--rows and --max-stall must be more than 0")
	}
	var skip []history.TrialName
	for _, name := range c.Skip {
		trial := history.TrialName(name)
		if !slices.Contains(history.Trials(), trial) || trial == history.TrialEmpty || trial == history.TrialPopulated {
			return usage("--skip %s: there is no such trial, or the others need it%s; try one of %s", name, didYouMean(name, trials()), names(trials()))
		}
		skip = append(skip, trial)
	}
	versions, base, err := c.versions(ctx, out, set)
	if err != nil {
		return err
	}
	var rows string
	if c.Data != "" {
		read, err := os.ReadFile(c.Data)
		if err != nil {
			return exit{exitUsage, err}
		}
		rows = string(read)
	}
	if len(versions) == 0 {
		fmt.Fprintf(out.stderr, "No migration to judge: %s. To judge all: --all\n", base)
		return nil
	}
	provider, err := pg.provider()
	if err != nil {
		return err
	}
	go ddl.Prepare()
	srv, err := provider.Start(ctx, pg.config(out))
	if err != nil {
		return err
	}
	progress := out.progress()
	run, trouble := harness.Gate(ctx, gate.Config{
		Server: srv, Set: set.Set, Versions: versions, Base: base, Rows: c.Rows, Data: rows, MaxStall: c.MaxStall, Seed: c.Seed, Skip: skip,
		Domain: domain(srv), Progress: progress.Update,
	})
	progress.Close()
	var data gate.DataError
	if errors.As(trouble, &data) {
		return errors.Join(exit{exitUsage, data}, srv.Stop(context.WithoutCancel(ctx)))
	}
	if trouble == nil || len(run.Gate.Migrations) > 0 {
		trouble = errors.Join(trouble, out.finish(&run))
	}
	if err := errors.Join(trouble, srv.Stop(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	return verdict(run)
}

// trials are those that can be left out.
func trials() []string {
	var names []string
	for _, t := range history.Trials()[2:] {
		names = append(names, string(t))
	}
	return names
}

// versions returns which migrations are to be judged, and why these.
func (c *gateCommand) versions(ctx context.Context, out *output, set migrationSet) (versions []int64, base string, err error) {
	after := func(keep func(migrations.Migration) bool) {
		for _, m := range set.Migrations {
			if keep(m) {
				versions = append(versions, m.Version)
			}
		}
	}
	switch {
	case c.All || set.own && c.From == "" && c.Base == "":
		after(func(migrations.Migration) bool { return true })
		return versions, "all", nil
	case c.From != "":
		i := slices.IndexFunc(set.Migrations, func(m migrations.Migration) bool {
			return fmt.Sprint(m.Version) == c.From || m.Ref == c.From || filepath.Base(m.Path) == c.From
		})
		if i < 0 {
			return nil, "", usage("--from %s: there is no such migration; try one of %s", c.From, strings.Trim(fmt.Sprint(set.Versions()), "[]"))
		}
		after(func(m migrations.Migration) bool { return m.Version >= set.Migrations[i].Version })
		return versions, "those from " + c.From + " on", nil
	case set.own:
		return nil, "", usage("--base goes with --migrations DIR")
	}
	rev, why := c.Base, "those that are not in "+c.Base
	if rev == "" {
		rev, why = mainline(ctx, set.Dir)
	}
	if rev != "" {
		known, err := git(ctx, set.Dir, "ls-tree", "-r", "-z", "--name-only", rev)
		if err != nil {
			return nil, "", usage("--base %s: %v; try a revision that this checkout has (in CI, fetch all of the history)", rev, err)
		}
		files := strings.Split(known, "\x00")
		if edited, err := git(ctx, set.Dir, "diff", "--name-only", "--diff-filter=M", "--relative", rev, "--", "."); err == nil && edited != "" {
			fmt.Fprintf(out.stderr, "Changed since %s, and not judged again, though where it is applied already it stays as it was: %s\n", rev,
				strings.Join(strings.Fields(edited), ", "))
		}
		after(func(m migrations.Migration) bool {
			path, err := filepath.Rel(set.Dir, m.Path)
			return err != nil || !slices.Contains(files, filepath.ToSlash(path))
		})
	}
	if len(versions) == 0 && c.Base == "" {
		last := set.Migrations[len(set.Migrations)-1]
		if rev != "" {
			why = "there are no new ones since " + strings.TrimPrefix(why, "those that are new since ")
		}
		return []int64{last.Version}, "the last one (" + why + ")", nil
	}
	return versions, why, nil
}

// mainline returns the revision at which the checkout has left the main branch. None: why says why.
func mainline(ctx context.Context, dir string) (rev, why string) {
	if _, err := git(ctx, dir, "rev-parse", "--git-dir"); err != nil {
		return "", "this is no git checkout"
	}
	for _, branch := range []string{"origin/HEAD", "origin/main", "origin/master", "main", "master"} {
		if base, err := git(ctx, dir, "merge-base", "HEAD", branch); err == nil {
			return strings.TrimSpace(base), "those that are new since " + branch
		}
	}
	return "", "this checkout knows no main branch; try --base"
}

// git runs git in a directory.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	var out, trouble bytes.Buffer
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &trouble
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(trouble.String()))
	}
	return out.String(), nil
}

// domain is what Interlock knows of the inspection service.
func domain(srv *server.Server) *gate.Domain {
	return &gate.Domain{
		Fits: scenarios.Fits,
		Fill: scenarios.Fill,
		Repair: func(ctx context.Context, database *pgx.ConnConfig) (string, error) {
			config := repair.Config{Rules: scenarios.RepairRules(scenarios.Window, scenarios.KeepNewest), Batch: 500}
			plan, err := repair.Find(ctx, config, database)
			if err != nil || len(plan.Repair.Groups) == 0 {
				return "", err
			}
			done, err := repair.Apply(ctx, config, *plan.Repair, false, database)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("interlock repair --apply: %d groups resolved, each row archived first", len(done.Repair.Groups)), nil
		},
		Prove: func(ctx context.Context, before, after gate.Apply) (seen, broken []string, err error) {
			at := func(workloads []harness.Workload, apply gate.Apply) ([]history.Cell, error) {
				run, err := harness.Explore(ctx, harness.Config{
					Server: srv, Workloads: workloads, Seed: 1, Stages: []harness.Stage{{Apply: apply}}, Explore: explore.Config{AtEnd: true},
				})
				return run.Cells, err
			}
			workloads := scenarios.Workloads(scenarios.Options{})
			now, err := at(workloads, after)
			if err != nil {
				return nil, nil, err
			}
			var worse []harness.Workload // or as bad as before
			for i, cell := range now {
				seen = append(seen, cell.Name()+": "+outcome(cell))
				if cell.Verdict != history.Held && !scenarios.IsControl(workloads[i]) { // a control is no measure
					worse = append(worse, workloads[i])
				}
			}
			if before == nil || len(worse) == 0 {
				return seen, nil, nil
			}
			was, err := at(worse, before)
			for i, cell := range was {
				j := slices.IndexFunc(workloads, func(w harness.Workload) bool { return w.FullName() == worse[i].FullName() })
				if cell.Verdict == history.Held {
					broken = append(broken, fmt.Sprintf("%s held before the migration (%s); after it: %s", cell.Name(), outcome(cell), outcome(now[j])))
				}
			}
			return seen, broken, err
		},
	}
}

// outcome says what exploring a scenario came to.
func outcome(cell history.Cell) string {
	orders := 0
	for _, e := range cell.Explorations {
		orders += e.Executed
	}
	var broken []string
	for _, j := range cell.Invariants {
		if j.Verdict == history.Violated {
			broken = append(broken, j.Invariant)
		}
	}
	if len(broken) > 0 {
		return fmt.Sprintf("%d orders executed; broken: %s", orders, strings.Join(broken, ", "))
	}
	return fmt.Sprintf("%d orders executed; all invariants hold", orders)
}
