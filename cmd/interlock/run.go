package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/reports"
)

type runCommand struct {
	Scenarios []string `arg:"" optional:"" help:"What to run, as sessions or sessions/advisory; all by default. 'interlock list' names them." name:"scenario"`
	Target    string   `help:"Run an application instead, in any language, as a target file tells (docs/TARGET.md): the orders of its own statements, then generated requests." placeholder:"FILE"`
	Faults    []string `help:"With --target: what may happen once in an interleaving, as interlock explore has it: lost-ack, disconnect, terminate, delay, restart." enum:"lost-ack,disconnect,terminate,delay,restart" placeholder:"FAULT,…"`
	schema
	At      int64         `help:"Stop at this migration, instead of running at each of them (or, of a directory of yours, at the last)." placeholder:"VERSION" group:"Migrations"`
	Seed    int64         `help:"Seed of the generated inputs; the same seed, the same inputs. Default: a new one, which is printed." placeholder:"N" group:"Bounds"`
	Rounds  int           `help:"Rounds of a scenario with a defence at a migration." default:"60" group:"Bounds"`
	For     time.Duration `help:"The longest that one may take. A negative control is given up only when both bounds are reached." default:"2s" group:"Bounds"`
	Clients int           `help:"The most clients at once. Default: 4; with --target those of the file." placeholder:"N" group:"Bounds"`
	Saved   string        `help:"Directory of counterexamples, such as files that an earlier run wrote, to be repeated first." default:"interlock-counterexamples" placeholder:"DIR"`
	Keep    bool          `help:"Keep the database of a finding, print its DSN, and, where the server is ours, keep it running until Ctrl-C."`
}

func (c *runCommand) Run(ctx context.Context, out *output, pg *postgres) error {
	set, config, err := c.config()
	if err != nil {
		return err
	}
	if config.Saved, err = loadSaved(c.Saved, config.Stages, config.Workloads, set); err != nil {
		return err
	}
	return play(ctx, out, pg, set, config, func(ctx context.Context, config harness.Config) (history.Run, error) {
		result, err := harness.Run(ctx, config)
		result.Bounds.Clients = c.Clients
		return result, err
	})
}

// mostContending is how many clients of Interlock's own scenarios there are at once by default.
const mostContending = 4

// config returns what the flags say, apart from what was saved.
func (c *runCommand) config() (migrationSet, harness.Config, error) {
	if c.Rounds < 1 || c.For <= 0 || c.Clients < 2 && c.Clients != 0 {
		return migrationSet{}, harness.Config{}, usage("--rounds must be at least 1, --for more than 0, and --clients at least 2: fewer race with nobody")
	}
	if c.Seed == 0 {
		c.Seed = rand.Int64N(1_000_000) + 1
	}
	config := harness.Config{Seed: c.Seed, Rounds: c.Rounds, For: c.For, Keep: c.Keep}
	if c.Target != "" {
		set, err := c.application(&config)
		return set, config, err
	}
	if len(c.Faults) > 0 {
		return migrationSet{}, config, usage("--faults go with --target; try: interlock explore SCENARIO --faults %s", strings.Join(c.Faults, ","))
	}
	c.Clients = cmp.Or(c.Clients, mostContending)
	set, err := c.open()
	if err != nil {
		return set, config, err
	}
	if config.Stages, err = set.stages(c.At); err != nil {
		return set, config, err
	}
	workloads, err := selectWorkloads(c.Scenarios, c.Clients)
	config.Workloads = set.expectations(workloads)
	return set, config, err
}

// application has the run ask an application. All of its invariants must hold.
func (c *runCommand) application(config *harness.Config) (migrationSet, error) {
	switch {
	case len(c.Scenarios) > 0 || c.Migrations != "" || c.Layout != "" || c.At != 0:
		return migrationSet{}, usage("--target says what to run, and on which migrations; try it alone")
	case c.Clients != 0:
		return migrationSet{}, usage("--target says how many clients there are; try changing the copies of a client in the file, or interlock explore --target with --clients")
	}
	t, err := openTarget(c.Target)
	if err != nil {
		return t.set, err
	}
	c.Clients = t.clients
	config.Workloads, config.Stages, config.Clients = []harness.Workload{t.workload}, []harness.Stage{t.stage}, t.clients
	config.Explore.Faults = faults(c.Faults)
	return t.set, nil
}

// loadSaved reads the counterexamples of a directory, which need not be there. Those of scenarios and migrations that exist, but are not selected,
// are left out, and so are those of applications other than the one that is selected.
func loadSaved(dir string, stages []harness.Stage, selected []harness.Workload, set migrationSet) ([]history.Run, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, usage("--saved %s: %w", dir, err)
	}
	all, err := selectWorkloads(nil, 0)
	if err != nil {
		return nil, err
	}
	in := func(workloads []harness.Workload, cell history.Cell) bool {
		return slices.ContainsFunc(workloads, func(w harness.Workload) bool { return w.FullName() == cell.Name() })
	}
	var runs []history.Run
	for _, path := range paths {
		run, err := readRun(path)
		if err != nil {
			return nil, err
		}
		run.Cells = slices.DeleteFunc(run.Cells, func(cell history.Cell) bool {
			if set.target != "" || run.Target != "" {
				return !in(selected, cell) && (set.target == "" || run.Target != set.target)
			}
			staged := slices.ContainsFunc(stages, func(s harness.Stage) bool { return s.Version == cell.At })
			return !in(selected, cell) && in(all, cell) || !staged && slices.Contains(set.Versions(), cell.At)
		})
		for i := range run.Cells {
			for j := range run.Cells[i].Counterexamples {
				run.Cells[i].Counterexamples[j].File = path
				run.Cells[i].Counterexamples[j].Again = "interlock replay " + quote(path)
			}
		}
		runs = append(runs, run)
	}
	return runs, nil
}

// play starts a server, has make make a run on it, and writes and prints that.
func play(ctx context.Context, out *output, pg *postgres, set migrationSet, config harness.Config, make func(context.Context, harness.Config) (history.Run, error)) error {
	provider, err := pg.provider()
	if err != nil {
		return err
	}
	if err := writable(out.Out); err != nil {
		return err
	}
	srv, err := provider.Start(ctx, pg.config(out))
	if err != nil {
		return err
	}
	progress := out.progress()
	config.Server, config.Progress = srv, progress.Update
	result, err := make(ctx, config)
	progress.Close()
	set.describe(&result)
	err = errors.Join(err, out.finish(&result))
	if config.Keep && srv.Owned && err == nil && kept(result) {
		fmt.Fprintln(out.stderr, "The server keeps running for you to look at the database; Ctrl-C ends it.")
		<-ctx.Done()
	}
	err = errors.Join(err, srv.Stop(context.WithoutCancel(ctx)))
	if err != nil {
		return err
	}
	return verdict(result)
}

func kept(run history.Run) bool {
	for _, cell := range run.Cells {
		for _, e := range cell.Counterexamples {
			if e.Database != "" {
				return true
			}
		}
	}
	return false
}

// verdict turns a finished run into an exit code.
func verdict(run history.Run) error {
	switch run.Verdict {
	case history.Held:
		return nil
	case history.Violated:
		return exit{exitViolated, nil}
	default:
		return exit{exitUnknown, nil}
	}
}

func readRun(path string) (history.Run, error) {
	run, err := history.Load(path)
	if err != nil {
		return run, exit{exitUsage, err}
	}
	return run, nil
}

// writable makes the directory, so that a run does not find out at its end that its reports have nowhere to go.
func writable(dir string) error {
	probe := filepath.Join(dir, ".writable")
	err := history.WriteFile(probe, func(io.Writer) error { return nil })
	if err == nil {
		err = os.Remove(probe)
	}
	return err
}

// progress shows a run's progress on standard error.
func (o *output) progress() *reports.Progress {
	if o.Quiet {
		return reports.NewProgress(io.Discard, false)
	}
	return reports.NewProgress(o.stderr, isTerminal(o.stderr))
}

// finish writes the run's reports to the output directory and prints it.
func (o *output) finish(run *history.Run) error {
	run.Command = redactAll(os.Args)
	if err := o.writeCounterexamples(run); err != nil {
		return errors.Join(o.print(o.shown(*run)), err)
	}
	shown := o.shown(*run)
	reported := []string{"junit.xml", "summary.md", "report.html"}
	renderers := []reports.Renderer{reports.JUnit, reports.Markdown, reports.HTML}
	if run.Gate != nil {
		reported, renderers = append(reported, "findings.sarif"), append(renderers, reports.SARIF)
	}
	file := filepath.Join(o.Out, "run.json")
	err := errors.Join(history.Save(file, *run), o.render(o.HTML, reports.HTML, shown))
	for i, name := range reported {
		err = errors.Join(err, o.render(filepath.Join(o.Out, name), renderers[i], shown))
	}
	if err == nil && !o.Quiet {
		defer fmt.Fprintf(o.stderr, "Reports: %s · %s\n", file, strings.Join(reported, " · "))
	}
	return errors.Join(o.print(shown), err)
}

// writeCounterexamples writes each counterexample to a run file of its own, and notes in the run how it is repeated.
func (o *output) writeCounterexamples(run *history.Run) error {
	for i := range run.Cells {
		cell := &run.Cells[i]
		for j := range cell.Counterexamples {
			e := &cell.Counterexamples[j]
			name := strings.ReplaceAll(cell.Name(), "/", "-")
			if cell.At != 0 {
				name += fmt.Sprintf("-at-%d", cell.At)
			}
			e.File = filepath.Join(o.Out, fileName(name+"-"+e.Invariant)+".json")
			e.Again = "interlock replay " + quote(e.File)
			alone, only := *run, *cell
			only.Rounds, only.Counterexamples = nil, []history.Counterexample{*e}
			alone.Cells, alone.Findings = []history.Cell{only}, nil
			if err := history.Save(e.File, alone); err != nil {
				return err
			}
		}
	}
	return nil
}

// fileName makes of a text what is the name of a file on every system. What differs stays different.
func fileName(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == '%' || strings.ContainsRune(`/\:*?"<>|`, r) || !unicode.IsPrint(r) || i == 0 && r == '.':
			for _, c := range []byte(string(r)) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// quote makes a path safe to paste into a shell.
func quote(path string) string {
	if strings.ContainsAny(path, " '\"$&|;<>()*?[]{}!`\\~#\t\n") {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

// print shows the run on standard output, and as annotations where GitHub reads them.
func (o *output) print(run history.Run) error {
	if os.Getenv("GITHUB_ACTIONS") == "true" {
		if err := reports.Annotations(o.stderr, run); err != nil {
			return err
		}
	}
	switch {
	case o.JSON:
		return reports.JSON(o.stdout, run)
	case o.Quiet:
		_, err := fmt.Fprintln(o.stdout, run.Verdict)
		return err
	}
	if areAnomalies(run) {
		return matrix(o.stdout, run)
	}
	return reports.Console(o.style())(o.stdout, run)
}
