package harness

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/stress"
)

// Config says what to run, where, and how much of it. Server and Workloads are required; the zero value of the rest is a good default.
type Config struct {
	Server    *server.Server
	Stages    []Stage // each workload runs at each of them; none: on an empty database
	Workloads []Workload

	Seed   int64         // the same seed generates the same inputs, on every machine
	Rounds int           // for a workload at a stage; default 60
	For    time.Duration // the same, in time; default 2 s. A negative control is given up only when both bounds are reached
	Keep   bool          // keep the database of a finding, in the state that broke the invariant

	// Clients is how many contend when the orders of their steps are explored. 0: in Explore 2; in Run 2, and 3 where that is quick.
	Clients int
	// Explore bounds the exploration of one workload at a stage.
	Explore explore.Config
	// Expected: Explore judges by what is expected of a workload, as Run does. Otherwise whatever is broken is a violation.
	Expected bool

	// Saved are runs with counterexamples, such as those that are kept in a repository: Run repeats them before anything else. One that is
	// reproduced is a finding, unless it is expected.
	Saved []history.Run

	// Repeats is how often Replay executes an order that was recorded; 0: 10.
	Repeats int

	// Progress is called before each workload at a stage, with how many are done. Nil: not called.
	Progress func(done, total int, what string)
}

// Stage is a state of the schema, such as the one after a migration.
type Stage struct {
	Version int64 // of the last migration applied; 0: none
	// Migrations are those applied, for the record.
	Migrations []history.Migration
	// From names a database of the server that the stage begins as a copy of, its rows included; empty: an empty one.
	From string
	// Apply brings a fresh database to the stage. It must close the connections that it opens. Nil: it is there already.
	Apply func(context.Context, *pgx.ConnConfig) error
}

// template makes the database that all those at the stage are clones of.
func (s Stage) template(ctx context.Context, srv *server.Server) (*server.Template, error) {
	return srv.TemplateOf(ctx, s.From, s.Apply)
}

// Schema returns a stage that is made by a script of SQL.
func Schema(sql string) Stage {
	return Stage{Apply: func(ctx context.Context, config *pgx.ConnConfig) error {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return errors.Join(err, conn.Close(ctx))
	}}
}

func (c Config) check() error {
	var errs []error
	if c.Server == nil {
		errs = append(errs, errors.New("field Server is missing; start one with a provider below harness/server"))
	}
	if len(c.Workloads) == 0 {
		errs = append(errs, errors.New("field Workloads is empty; name at least one"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("harness.Config: %w", err)
	}
	return nil
}

func (c Config) stress() stress.Config {
	return stress.Config{Seed: c.Seed, Rounds: c.Rounds, For: c.For}.Resolve()
}

// Run plays every workload at every stage and returns what happened. The error says why the run could not be made or finished; the run
// returned with it holds what there was until then. Findings are no error: they are in the run's verdict.
func Run(ctx context.Context, config Config) (history.Run, error) {
	if err := config.check(); err != nil {
		return history.Run{}, err
	}
	if len(config.Stages) == 0 {
		config.Stages = []Stage{Schema("")}
	}
	run := begin(config, history.KindRun)
	err := config.saved(ctx, &run)
	if err == nil {
		err = config.cells(ctx, &run, config.cell)
	}
	finish(&run, err)
	return run, err
}

// player plays one workload at one stage.
type player func(ctx context.Context, on *ground, w Workload, at int64) (history.Cell, error)

// cells fills in the cells of the run, stage by stage for each workload.
func (c Config) cells(ctx context.Context, run *history.Run, play player) (err error) {
	if err := describeServer(ctx, c.Server, &run.Server); err != nil {
		return err
	}
	grounds := make([]*ground, len(c.Stages))
	for i, stage := range c.Stages {
		template, err := stage.template(ctx, c.Server)
		if err != nil {
			return err
		}
		grounds[i] = newGround(template)
		defer func() { err = errors.Join(err, grounds[i].close(context.WithoutCancel(ctx))) }()
		for _, m := range stage.Migrations {
			if !slices.ContainsFunc(run.Migrations, func(have history.Migration) bool { return have.Version == m.Version }) {
				run.Migrations = append(run.Migrations, m)
			}
		}
	}
	total := len(c.Workloads) * len(c.Stages)
	for _, w := range c.Workloads {
		for i, stage := range c.Stages {
			if c.Progress != nil {
				c.Progress(len(run.Cells), total, fmt.Sprintf("%s at %d", w.FullName(), stage.Version))
			}
			cell, err := play(ctx, grounds[i], w, stage.Version)
			if err != nil {
				return err
			}
			run.Cells = append(run.Cells, cell)
		}
	}
	return nil
}

// begin starts the record of a run.
func begin(config Config, kind history.Kind) history.Run {
	bounds := config.stress()
	return history.Run{
		Format: history.Format, Kind: kind, Tool: Tool(), Started: time.Now(), Seed: config.Seed, Verdict: history.Unknown,
		Bounds: history.Bounds{Rounds: bounds.Rounds, For: history.Duration(bounds.For)},
		Server: history.Server{
			Provider: config.Server.Provider, Where: config.Server.Where, Release: config.Server.Release, Ready: history.Duration(config.Server.Ready),
		},
	}
}

// finish closes the record and judges the whole.
func finish(run *history.Run, trouble error) {
	run.Elapsed = history.Since(run.Started)
	run.Verdict = history.Held
	for _, cell := range slices.Concat(run.Replayed, run.Cells) {
		run.Verdict = history.Worst(run.Verdict, meaning(run.Kind, cell))
	}
	if trouble != nil {
		run.Trouble = trouble.Error()
		if errors.Is(trouble, context.Canceled) {
			run.Trouble = "interrupted"
		}
		run.Verdict = history.Worst(run.Verdict, history.Unknown)
	}
}

// meaning returns what a cell means for its run: held, when it is as it must be, and violated when it is not. A negative control that was not
// caught is as bad as an invariant that was broken.
func meaning(kind history.Kind, cell history.Cell) history.Verdict {
	switch {
	case kind != history.KindRun:
		return cell.Verdict
	case cell.AsExpected:
		return history.Held
	case cell.Trouble != "" && !slices.ContainsFunc(cell.Invariants, func(j history.Judgement) bool {
		return j.Expected == history.MustHold && j.Verdict == history.Violated // which was repeated: trouble does not undo it
	}):
		return history.Unknown
	}
	verdict, wrong := history.Held, false
	for _, j := range cell.Invariants {
		switch {
		case j.AsExpected():
		case j.Verdict == history.Unknown:
			verdict, wrong = history.Worst(verdict, history.Unknown), true
		default:
			verdict, wrong = history.Violated, true
		}
	}
	if !wrong { // a control of which it is not known what it breaks
		return history.Violated
	}
	return verdict
}

// Tool describes this build of Interlock.
func Tool() history.Tool {
	tool := history.Tool{Version: "(devel)", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return tool
	}
	const module = "github.com/interlock-pg/interlock"
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path == module && m.Version != "" {
			tool.Version = m.Version
		}
	}
	return tool
}

// describeServer records the settings that differ from what a server has by itself.
func describeServer(ctx context.Context, s *server.Server, into *history.Server) error {
	conn, err := pgx.ConnectConfig(ctx, s.Config("", "settings"))
	if err != nil {
		return fmt.Errorf("reading the server's settings: %w", err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `select name, current_setting(name) from pg_settings
		where source in ('command line', 'configuration file', 'environment variable') and name !~ '(directory|directories|_file)$' order by 1`)
	if err != nil {
		return fmt.Errorf("reading the server's settings: %w", err)
	}
	into.Settings = map[string]string{}
	var name, setting string
	_, err = pgx.ForEachRow(rows, []any{&name, &setting}, func() error {
		into.Settings[name] = setting
		return nil
	})
	return err
}
